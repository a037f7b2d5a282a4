//! Devices that speak MQTT, by a client that is not ours, and the backend that talks to them.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use azure_core::time::OffsetDateTime;
use iothub::{
    ConnectionString, Credential, HubErrorCode, ModuleId, Result,
    models::{DirectMethodRequest, FeedbackStatus, JsonText, Module, TwinPatch},
    service::{CloudToDeviceMessage, Target},
};
use iothub_emulator::Event as HubEvent;
use iothub_transport_amqp::Carrier;
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, Publish, QoS};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto},
};

use crate::hub::{Backend, Hub, code};

/// A device with the MQTT client of another project.
struct Device {
    client: AsyncClient,
    events: EventLoop,
    waiting: VecDeque<Publish>,
}

impl Device {
    /// Connects as a device, or as `device/module` as a module.
    async fn connect(hub: &Hub, id: &str, clean_session: bool) -> Self {
        let text = hub.emulator.connection_string("device").unwrap();
        let ConnectionString { host, credential, .. } = text.parse().unwrap();
        let Credential::SharedAccessKey(key) = credential else {
            panic!("the connection string holds a key")
        };
        let token = key.sign(host.name(), OffsetDateTime::now_utc() + Duration::from_secs(3600));
        let mut options = MqttOptions::new(id, "127.0.0.1", plain_port(hub).await);
        options.set_credentials(
            format!("{}/{id}/?api-version=2021-04-12", host.name()),
            token.secret().secret().to_owned(),
        );
        options.set_clean_session(clean_session);
        options.set_manual_acks(true);
        let (client, events) = AsyncClient::new(options, 10);
        let mut device = Self {
            client,
            events,
            waiting: VecDeque::new(),
        };
        device.until(|packet| matches!(packet, Incoming::ConnAck(_))).await;
        device
    }

    async fn subscribe(&mut self, filter: &str) {
        self.client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        self.until(|packet| matches!(packet, Incoming::SubAck(_))).await;
    }

    async fn unsubscribe(&mut self, filter: &str) {
        self.client.unsubscribe(filter).await.unwrap();
        self.until(|packet| matches!(packet, Incoming::UnsubAck(_))).await;
    }

    /// Publishes, and waits until the hub has it.
    async fn publish(&mut self, topic: &str, payload: &str) {
        self.client
            .publish(topic, QoS::AtLeastOnce, false, payload)
            .await
            .unwrap();
        self.until(|packet| matches!(packet, Incoming::PubAck(_))).await;
    }

    /// The next message that comes.
    async fn next(&mut self) -> Publish {
        while self.waiting.is_empty() {
            self.poll().await;
        }
        self.waiting.pop_front().unwrap()
    }

    /// Says that it has a message.
    async fn confirm(&mut self, message: &Publish) {
        self.client.ack(message).await.unwrap();
        // Whoever hears the answer to this knows that the hub has heard of the message.
        self.publish("$iothub/twin/GET/?$rid=0", "").await;
    }

    /// Answers the next method with its own name and payload.
    async fn answer(&mut self, status: u16) {
        let request = self.next().await;
        let (name, id) = request
            .topic
            .strip_prefix("$iothub/methods/POST/")
            .and_then(|rest| rest.split_once("/?$rid="))
            .unwrap();
        let payload = std::str::from_utf8(&request.payload).unwrap();
        let answer = format!(r#"{{"ran":"{name}","with":{payload}}}"#);
        self.publish(&format!("$iothub/methods/res/{status}/?$rid={id}"), &answer)
            .await;
    }

    async fn twin(&mut self) -> Value {
        self.subscribe("$iothub/twin/res/#").await;
        self.publish("$iothub/twin/GET/?$rid=1", "").await;
        let answer = self.next().await;
        assert_eq!(answer.topic, "$iothub/twin/res/200/?$rid=1");
        serde_json::from_slice(&answer.payload).unwrap()
    }

    async fn until(&mut self, is_it: impl Fn(&Incoming) -> bool) {
        while !self.poll().await.is_some_and(|packet| is_it(&packet)) {}
    }

    async fn poll(&mut self) -> Option<Incoming> {
        match self.events.poll().await.unwrap() {
            Event::Incoming(Incoming::Publish(publish)) => {
                self.waiting.push_back(publish);
                None
            }
            Event::Incoming(packet) => Some(packet),
            Event::Outgoing(_) => None,
        }
    }
}

/// A port of this machine from where one connection goes on to the hub, in TLS, which the client does not speak.
async fn plain_port(hub: &Hub) -> u16 {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(hub.emulator.root_certificate().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hub_port = hub.emulator.mqtts_port();
    tokio::spawn(async move {
        let (mut plain, _) = listener.accept().await.unwrap();
        let tcp = TcpStream::connect(("127.0.0.1", hub_port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        // However it ends, both ends see it.
        let _ = tokio::io::copy_bidirectional(&mut plain, &mut tls).await;
    });
    port
}

async fn stage() -> (Hub, Backend, Target) {
    let hub = Hub::with_a_lamp().await;
    let text = hub.emulator.connection_string("iothubowner").unwrap();
    let ConnectionString { credential, .. } = text.parse().unwrap();
    let backend = hub.backend(credential, Carrier::Tls);
    (hub, backend, Target::Device("lamp".parse().unwrap()))
}

const METHODS: &str = "$iothub/methods/POST/#";
const MESSAGES: &str = "devices/lamp/messages/devicebound/#";
const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";

#[tokio::test]
async fn devices_and_modules_answer_methods_whatever_the_payload() -> Result<()> {
    let (hub, backend, lamp) = stage().await;
    let bulb = ModuleId::new("lamp".parse()?, "bulb")?;
    backend.registry.create_module(&Module::new(bulb.clone()), None).await?;
    for (id, target) in [("lamp", lamp), ("lamp/bulb", Target::Module(bulb))] {
        let mut device = Device::connect(&hub, id, true).await;
        device.subscribe(METHODS).await;
        for payload in [
            "null",
            "true",
            "1.50",
            r#""2026-01-01T00:00:00.000+00:00""#,
            "[1, [null]]",
            r#"{ "é": {} }"#,
        ] {
            let payload: JsonText = serde_json::from_str(payload).unwrap();
            let method = DirectMethodRequest::new("blink").with_payload(payload.clone());
            let (answer, ()) = tokio::join!(
                backend.service.invoke_method(&target, &method, None),
                device.answer(207)
            );
            let answer = answer?.into_model()?;
            let expected = format!(r#"{{"ran":"blink","with":{}}}"#, payload.as_str());
            assert_eq!(
                (answer.status, answer.payload.as_ref().map(JsonText::as_str)),
                (207, Some(&*expected))
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_device_that_does_not_listen_is_not_online() -> Result<()> {
    let (hub, backend, lamp) = stage().await;
    let method = DirectMethodRequest::new("blink");
    let refused = async || {
        let error = backend.service.invoke_method(&lamp, &method, None).await.unwrap_err();
        code(&error).cloned()
    };
    assert_eq!(refused().await, Some(HubErrorCode::DeviceNotOnline), "nobody is there");
    let mut device = Device::connect(&hub, "lamp", true).await;
    assert_eq!(refused().await, Some(HubErrorCode::DeviceNotOnline), "nobody listens");
    device.subscribe(METHODS).await;
    let (answer, ()) = tokio::join!(backend.service.invoke_method(&lamp, &method, None), device.answer(200));
    answer?;
    device.unsubscribe(METHODS).await;
    assert_eq!(
        refused().await,
        Some(HubErrorCode::DeviceNotOnline),
        "nobody listens any more"
    );
    Ok(())
}

#[tokio::test]
async fn after_a_method_that_was_not_answered_the_next_one_is() -> Result<()> {
    let (hub, backend, lamp) = stage().await;
    let mut device = Device::connect(&hub, "lamp", true).await;
    device.subscribe(METHODS).await;
    let method = DirectMethodRequest::new("blink").with_response_timeout(Duration::from_secs(300));
    let silence = async {
        device.next().await;
        hub.emulator.clock().advance(Duration::from_secs(300));
    };
    let (answer, ()) = tokio::join!(backend.service.invoke_method(&lamp, &method, None), silence);
    assert_eq!(code(&answer.unwrap_err()), Some(&HubErrorCode::GatewayTimeout));
    let (answer, ()) = tokio::join!(backend.service.invoke_method(&lamp, &method, None), device.answer(200));
    assert_eq!(answer?.into_model()?.status, 200);
    Ok(())
}

#[tokio::test]
async fn desired_properties_arrive_at_once_or_when_the_device_is_back() -> Result<()> {
    let (hub, backend, _) = stage().await;
    let id = "lamp".parse()?;
    let mut device = Device::connect(&hub, "lamp", true).await;
    device.subscribe(DESIRED).await;
    let time = "2026-01-01T00:00:00.000+00:00";
    for (version, value) in [(2, json!(time)), (3, json!({ "deep": [1.0, true] }))] {
        let patch = TwinPatch::new().set_desired("value", value.clone());
        backend.registry.update_twin(&id, &patch, None).await?;
        let change = device.next().await;
        assert_eq!(
            change.topic,
            format!("$iothub/twin/PATCH/properties/desired/?$version={version}")
        );
        let change: Value = serde_json::from_slice(&change.payload).unwrap();
        assert_eq!(change, json!({ "value": value, "$version": version }));
    }
    drop(device);
    let gone = |event: &HubEvent| matches!(event, HubEvent::Disconnected { .. });
    hub.emulator.journal().wait_for(gone).await;
    let patch = TwinPatch::new().set_desired("late", time);
    backend.registry.update_twin(&id, &patch, None).await?;
    let mut device = Device::connect(&hub, "lamp", true).await;
    let desired = &device.twin().await["desired"];
    assert_eq!((&desired["late"], &desired["$version"]), (&json!(time), &json!(4)));
    Ok(())
}

#[tokio::test]
async fn what_a_device_reports_adds_up() -> Result<()> {
    let (hub, backend, _) = stage().await;
    let mut device = Device::connect(&hub, "lamp", true).await;
    device.subscribe("$iothub/twin/res/#").await;
    for (version, patch) in [
        (2, r#"{"on":true,"level":{"now":1}}"#),
        (3, r#"{"level":{"max":9},"on":null}"#),
    ] {
        device
            .publish("$iothub/twin/PATCH/properties/reported/?$rid=r", patch)
            .await;
        let answer = device.next().await;
        assert_eq!(answer.topic, format!("$iothub/twin/res/204/?$rid=r&$version={version}"));
    }
    let twin = backend.registry.get_twin(&"lamp".parse()?, None).await?.into_model()?;
    assert_eq!(
        twin.reported().get::<Value>("level")?,
        Some(json!({ "now": 1, "max": 9 }))
    );
    assert_eq!(twin.reported().get::<Value>("on")?, None);
    Ok(())
}

#[tokio::test]
async fn a_message_counts_as_delivered_when_the_device_has_confirmed_it() -> Result<()> {
    let (hub, backend, lamp) = stage().await;
    let mut device = Device::connect(&hub, "lamp", false).await;
    device.subscribe(MESSAGES).await;
    let message = CloudToDeviceMessage::new("on");
    let deliver = async {
        let first = device.next().await;
        assert_eq!((&*first.payload, first.dup), (&b"on"[..], false));
        // The connection breaks before the device has said that it has the message.
        drop(device);
        let mut device = Device::connect(&hub, "lamp", false).await;
        let again = device.next().await;
        assert_eq!((&*again.payload, again.dup, again.pkid), (&b"on"[..], true, first.pkid));
        device.confirm(&again).await;
        // Feedback is told when it has been collected for a while.
        hub.emulator.clock().advance(Duration::from_secs(16));
        device
    };
    let (confirmed, mut device) = tokio::join!(backend.service.send_and_confirm(&lamp, message, None), deliver);
    assert_eq!(confirmed?.record.status, FeedbackStatus::Success);

    device.unsubscribe(MESSAGES).await;
    let message = CloudToDeviceMessage {
        expiry_time: Some(OffsetDateTime::now_utc() + Duration::from_secs(600)),
        ..CloudToDeviceMessage::new("off")
    };
    let pass = async {
        let queued = |event: &HubEvent| matches!(event, HubEvent::Queued { sequence: 2, .. });
        hub.emulator.journal().wait_for(queued).await;
        hub.emulator.clock().advance(Duration::from_secs(601));
        let expired = |event: &HubEvent| matches!(event, HubEvent::Settled { sequence: 2, .. });
        hub.emulator.journal().wait_for(expired).await;
        hub.emulator.clock().advance(Duration::from_secs(16));
    };
    let (confirmed, ()) = tokio::join!(backend.service.send_and_confirm(&lamp, message, None), pass);
    assert_eq!(confirmed?.record.status, FeedbackStatus::Expired);
    Ok(())
}

//! Devices over AMQP and TLS: who they are, by a token in the security layer or by a certificate.

use std::{collections::HashMap, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use fe2o3_amqp::{Connection, Receiver, Sender, Session, connection::ConnectionHandle, connection::OpenError};
use fe2o3_amqp_types::{
    definitions::Fields,
    messaging::{ApplicationProperties, Body, Message},
    primitives::Value,
};
use iothub_emulator::{AmqpEvent, Emulator, EmulatorOptions, Event, Target};
use ring::{digest::SHA256, hmac};
use serde_json::json;

use crate::{
    amqp::{connect, plain},
    certificates::{Authority, create, self_signed, thumbprint},
    client::{Client, Identity, tls_as},
};

/// A token of a device or module, signed with its own key.
pub(crate) fn device_token(emulator: &Emulator, target: &Target) -> String {
    let module = target
        .module()
        .map(|id| format!("%2Fmodules%2F{id}"))
        .unwrap_or_default();
    let resource = format!("localhost%2Fdevices%2F{}{module}", target.device());
    token_for(emulator, target, &resource)
}

/// The same, with the resource written in this way.
pub(crate) fn token_for(emulator: &Emulator, target: &Target, resource: &str) -> String {
    let text = emulator.device_connection_string(target).unwrap();
    let (_, key) = text.split_once(";SharedAccessKey=").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(key).unwrap());
    let signature = BASE64_STANDARD.encode(hmac::sign(&key, format!("{resource}\n4102444800").as_bytes()));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("SharedAccessSignature sr={resource}&sig={signature}&se=4102444800")
}

async fn send(connection: &mut ConnectionHandle<()>, address: &str) -> Result<(), String> {
    let mut session = Session::begin(connection).await.unwrap();
    let mut sender = Sender::attach(&mut session, "s", address)
        .await
        .map_err(|error| error.to_string())?;
    let message = Message::builder().data(&b"on"[..]).build();
    sender.send(message).await.unwrap().accepted_or("not accepted").unwrap();
    Ok(())
}

#[tokio::test]
async fn devices_and_modules_sign_in_by_name_and_token() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let lamp = emulator.add_device("lamp").unwrap().target().clone();
    let mut owner = Client::new(&emulator, "iothubowner").await;
    let body = json!({"deviceId": "lamp", "moduleId": "bulb"}).to_string();
    let created = owner.put("/devices/lamp/modules/bulb", None, &body).await;
    assert_eq!(created.outcome(), "200");
    let bulb = emulator.module("lamp", "bulb").unwrap().target().clone();

    for (target, user, address) in [
        (&lamp, "lamp@sas.localhost", "/devices/lamp/messages/events"),
        (
            &bulb,
            "lamp/modules/bulb@sas.localhost",
            "/devices/lamp/modules/bulb/messages/events",
        ),
    ] {
        let token = device_token(&emulator, target);
        let mut connection = connect(&emulator, plain(user, token)).await.unwrap();
        send(&mut connection, address).await.unwrap();
    }
    let sources: Vec<_> = emulator.telemetry().iter().map(|event| event.source.clone()).collect();
    assert_eq!(sources, [lamp.clone(), bulb.clone()]);

    // The name of another, and the device in the place of its module.
    let refused = connect(&emulator, plain("other@sas.localhost", device_token(&emulator, &lamp))).await;
    assert!(matches!(refused, Err(OpenError::SaslError { .. })), "{refused:?}");
    let mut connection = connect(&emulator, plain("lamp@sas.localhost", device_token(&emulator, &lamp)))
        .await
        .unwrap();
    let refused = send(&mut connection, "/devices/lamp/modules/bulb/messages/events").await;
    assert!(refused.unwrap_err().contains("UnauthorizedAccess"));
}

async fn connect_as(emulator: &Emulator, identity: &Identity) -> ConnectionHandle<()> {
    let stream = tls_as(emulator, emulator.host().amqps_port(), b"", Some(identity)).await;
    Connection::builder()
        .container_id("client")
        .hostname("localhost")
        .scheme("amqp")
        .open_with_stream(stream)
        .await
        .unwrap()
}

#[tokio::test]
async fn devices_come_with_certificates() {
    let authority = Authority::new("plant");
    let options = EmulatorOptions {
        device_authorities: vec![authority.pem.clone()],
        ..EmulatorOptions::default()
    };
    let emulator = Emulator::start(options).await.unwrap();
    let mut owner = Client::new(&emulator, "iothubowner").await;
    let own = self_signed("whatever");
    let thumbprints = json!({"primaryThumbprint": thumbprint(&own, &SHA256)});
    let by_thumbprint = json!({"type": "selfSigned", "x509Thumbprint": thumbprints});
    create(&mut owner, "/devices/lamp", by_thumbprint).await;
    create(&mut owner, "/devices/hall", json!({"type": "certificateAuthority"})).await;

    let issued = authority.issue("hall");
    for (identity, device, lets_in) in [
        (&own, "lamp", true),
        (&issued, "hall", true),
        (&own, "hall", false),
        (&issued, "lamp", false),
    ] {
        let mut connection = connect_as(&emulator, identity).await;
        let sent = send(&mut connection, &format!("/devices/{device}/messages/events")).await;
        assert_eq!(sent.is_ok(), lets_in, "{device}: {sent:?}");
    }
    assert_eq!(emulator.telemetry().len(), 2);
}

#[tokio::test]
async fn a_device_names_its_model_and_receives_what_a_service_sends() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let lamp = emulator.add_device("lamp").unwrap().target().clone();
    let token = device_token(&emulator, &lamp);
    let mut connection = connect(&emulator, plain("lamp@sas.localhost", token)).await.unwrap();
    let mut session = Session::begin(&mut connection).await.unwrap();
    let mut properties = Fields::default();
    let model = "dtmi:com:example:Lamp;1";
    properties.insert("com.microsoft:model-id".into(), Value::from(model));
    properties.insert("com.microsoft:client-version".into(), Value::from("test/1"));
    let _events = Sender::builder()
        .name("TelemetrySenderLink")
        .target("/devices/lamp/messages/events")
        .properties(properties)
        .attach(&mut session)
        .await
        .unwrap();
    let mut owner = Client::new(&emulator, "iothubowner").await;
    let twin = owner.get("/twins/lamp").await.json();
    assert_eq!(twin["modelId"], model);
    assert_eq!(twin["connectionState"], "Connected");

    let mut messages = Receiver::attach(
        &mut session,
        "TelemetryReceiverLink",
        "/devices/lamp/messages/deviceBound",
    )
    .await
    .unwrap();
    let mut service = crate::amqp::Service::connect(&emulator).await;
    let properties = fe2o3_amqp_types::messaging::Properties::default();
    service.send("lamp", "m1", Some("full"), properties, "on").await;
    let delivery = messages.recv::<Body<Value>>().await.unwrap();
    assert_eq!(delivery.delivery_tag().len(), 16);
    messages.accept(&delivery).await.unwrap();
    service.close().await;
    session.end().await.unwrap();
    connection.close().await.unwrap();
}

/// A message that asks for a fault, in the words of SDKs.
fn asking_for(fault: &str, delay: &str) -> Message<fe2o3_amqp_types::messaging::Data> {
    let properties = ApplicationProperties::builder()
        .insert("AzIoTHub_FaultOperationType", fault)
        .insert("AzIoTHub_FaultOperationCloseReason", "boom")
        .insert("AzIoTHub_FaultOperationDelayInSecs", delay);
    Message::builder()
        .application_properties(properties.build())
        .data(Vec::new())
        .build()
}

/// Every link of a device, on one session.
struct Links {
    connection: ConnectionHandle<()>,
    _session: fe2o3_amqp::session::SessionHandle<()>,
    telemetry: Sender,
    senders: HashMap<&'static str, Sender>,
    receivers: HashMap<&'static str, Receiver>,
}

impl Links {
    async fn attach(emulator: &Emulator) -> Self {
        let target = emulator.add_device("lamp").unwrap().target().clone();
        let profile = plain("lamp@sas.localhost", device_token(emulator, &target));
        let mut connection = connect(emulator, profile).await.unwrap();
        let mut session = Session::begin(&mut connection).await.unwrap();
        let address = |below| format!("/devices/lamp/{below}");
        let telemetry = Sender::attach(&mut session, "telemetry", address("messages/events"))
            .await
            .unwrap();
        let (mut senders, mut receivers) = (HashMap::new(), HashMap::new());
        for below in ["twin", "methods/devicebound"] {
            let sender = Sender::attach(&mut session, format!("{below}-s"), address(below))
                .await
                .unwrap();
            senders.insert(below, sender);
        }
        for below in ["twin", "methods/devicebound", "messages/devicebound"] {
            let receiver = Receiver::attach(&mut session, format!("{below}-r"), address(below))
                .await
                .unwrap();
            receivers.insert(below, receiver);
        }
        Self {
            connection,
            _session: session,
            telemetry,
            senders,
            receivers,
        }
    }
}

async fn obedient() -> Emulator {
    let options = EmulatorOptions::from_toml("hub = { fault_injection = true }").unwrap();
    Emulator::start(options).await.unwrap()
}

#[tokio::test]
async fn a_device_has_the_link_broken_that_it_names() {
    for (fault, below, sends) in [
        ("KillAmqpC2DLink", "messages/devicebound", false),
        ("KillAmqpTwinLinkReq", "twin", true),
        ("KillAmqpTwinLinkResp", "twin", false),
        ("KillAmqpMethodReqLink", "methods/devicebound", false),
        ("KillAmqpMethodRespLink", "methods/devicebound", true),
    ] {
        let emulator = obedient().await;
        let mut links = Links::attach(&emulator).await;
        let asked = links.telemetry.send(asking_for(fault, "0")).await.unwrap();
        asked.accepted_or("not accepted").unwrap();
        let why = match sends {
            true => format!("{:?}", links.senders.get_mut(below).unwrap().on_detach().await),
            false => {
                let received = links.receivers.get_mut(below).unwrap().recv::<Value>().await;
                format!("{:?}", received.unwrap_err())
            }
        };
        assert!(why.contains("boom"), "{fault}: {why}");
        // The others are as they were.
        let asked = links
            .telemetry
            .send(Message::builder().data(Vec::new()).build())
            .await
            .unwrap();
        asked.accepted_or("not accepted").unwrap();
        assert_eq!(emulator.telemetry().len(), 1, "a wish is no telemetry");
        let detached = |event: &Event| matches!(event, Event::Amqp { event: AmqpEvent::Detached { address, .. }, .. } if address.ends_with(below));
        assert_eq!(emulator.journal().count(detached), 1, "{fault}");
    }
}

#[tokio::test]
async fn a_device_has_its_session_or_connection_broken_after_a_delay() {
    for (fault, what) in [
        ("KillAmqpD2CLink", "Detached"),
        ("KillAmqpSession", "Ended"),
        ("KillAmqpConnection", "Closed"),
        ("ShutDownAmqp", "Closed"),
        ("KillTcp", "Gone"),
    ] {
        let emulator = obedient().await;
        let mut links = Links::attach(&emulator).await;
        let asked = links.telemetry.send(asking_for(fault, "60")).await.unwrap();
        asked.accepted_or("not accepted").unwrap();
        let happened =
            |event: &Event| matches!(event, Event::Amqp { event, .. } if format!("{event:?}").starts_with(what));
        assert_eq!(emulator.journal().count(happened), 0, "{fault}");
        emulator.clock().advance(Duration::from_secs(60));
        emulator.journal().wait_for(happened).await;
        if what == "Closed" || what == "Gone" {
            let why = format!("{:?}", links.connection.on_close().await);
            assert_eq!(why.contains("boom"), fault == "KillAmqpConnection", "{fault}: {why}");
        }
    }
}

use fe2o3_amqp_types::{
    definitions::{ReceiverSettleMode, Role, SenderSettleMode},
    messaging::{DeliveryState, MessageId},
    primitives::{SimpleValue, Value},
};
use iothub_emulator::{Emulator, EmulatorOptions, Target};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{
    bytes::{
        annotations, application_properties, binary, data, fields, frame, int, null, properties, source, string,
        target, ubyte, uint, uuid,
    },
    dotnet_service::{attach_cbs, put_token},
    peer::{ACCEPTED, Attaching, Peer, REJECTED, RELEASED, annotation, body, property},
};
use crate::{amqp::Service, amqp_devices::token_for, client::Client};

async fn hub() -> (Emulator, Client) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    for id in ["lamp", "hall#2"] {
        emulator.add_device(id).unwrap();
    }
    let owner = Client::new(&emulator, "iothubowner").await;
    (emulator, owner)
}

/// A connection of a pool of devices, which gives up after two minutes of silence.
async fn connect(emulator: &Emulator) -> Peer {
    let mut peer = Peer::without_sasl(emulator).await;
    peer.open("1d2c3b4a5f6e47888990a0b0c0d0e0f0", 65_536, uint(120_000))
        .await;
    attach_cbs(&mut peer).await;
    peer
}

/// Puts the token of a device, by its name with the id percent-encoded, and begins its session.
async fn admit(peer: &mut Peer, emulator: &Emulator, id: &str, channel: u16) {
    let encoded = id.replace('#', "%23");
    let target: Target = emulator.device(id).unwrap().target().clone();
    // The id is encoded for the audience, and the audience for the token.
    let resource = format!("localhost%2Fdevices%2F{}", encoded.replace('%', "%25"));
    let token = token_for(emulator, &target, &resource);
    put_token(peer, channel.into(), &format!("localhost/devices/{encoded}"), &token).await;
    peer.begin(channel).await;
}

/// A link of a device by the name of its role alone. The other end is called like the device.
struct Link<'a> {
    name: &'a str,
    handle: u32,
    receives: bool,
    modes: [Vec<u8>; 2],
    address: &'a str,
    /// What a pair of links has in common.
    pair: Option<&'a str>,
}

impl Link<'_> {
    fn attaching(&self) -> Attaching<'_> {
        let address = format!("amqps://localhost:5671{}", self.address);
        let mut link = vec![
            ("com.microsoft:client-version", string(".NET/1.42.3 (.NET 8.0)")),
            ("com.microsoft:api-version", string("2020-09-30")),
        ];
        if let Some(pair) = self.pair {
            link.push(("com.microsoft:channel-correlation-id", string(pair)));
        }
        let (source, target) = match self.receives {
            true => (source(&address), target("lamp")),
            false => (source("lamp"), target(&address)),
        };
        Attaching {
            name: self.name,
            handle: self.handle,
            receives: self.receives,
            modes: self.modes.clone(),
            source,
            target,
            properties: fields(&link),
        }
    }
}

fn telemetry(address: &str) -> Link<'_> {
    Link {
        name: "TelemetrySenderLink",
        handle: 0,
        receives: false,
        modes: [null(), null()],
        address,
        pair: None,
    }
}

fn messages(address: &str) -> Link<'_> {
    Link {
        name: "TelemetryReceiverLink",
        handle: 1,
        receives: true,
        modes: [null(), ubyte(1)],
        address,
        pair: None,
    }
}

/// A link of a pair, on which everything is settled as it is sent.
fn paired<'a>(name: &'a str, handle: u32, address: &'a str, pair: &'a str) -> Link<'a> {
    Link {
        name,
        handle,
        receives: name.ends_with("ReceiverLink"),
        modes: [ubyte(1), ubyte(0)],
        address,
        pair: Some(pair),
    }
}

#[tokio::test]
async fn dotnet_devices_share_a_connection_and_the_names_of_their_links() {
    let (emulator, _) = hub().await;
    let mut peer = connect(&emulator).await;
    for (channel, id, path) in [(1, "lamp", "lamp"), (2, "hall#2", "hall%232")] {
        admit(&mut peer, &emulator, id, channel).await;
        let address = format!("/devices/{path}/messages/events");
        peer.attach(channel, telemetry(&address).attaching()).await;
        let address = format!("/devices/{path}/messages/deviceBound");
        let attached = peer.attach(channel, messages(&address).attaching()).await;
        assert_eq!(attached.rcv_settle_mode, ReceiverSettleMode::Second);
        peer.grant(channel, 1, 0, 50).await;
    }
    let mut service = Service::connect(&emulator).await;
    for (channel, id) in [(2, "hall#2"), (1, "lamp")] {
        let about = properties(&[string("m1"), null(), null(), null(), null(), string("c1")]);
        let own = application_properties(&[("k", string("v"))]);
        let message = [about, own, data(id.as_bytes())].concat();
        let tag = Uuid::from_u128(7).to_bytes_le();
        peer.send(channel, 0, (0, &tag, false), &message).await;
        let settled = peer.disposition().await;
        assert!(
            settled.role == Role::Receiver && settled.first == 0 && settled.settled,
            "{settled:?}"
        );
        assert!(matches!(settled.state, Some(DeliveryState::Accepted(_))));

        service
            .send(&id.replace('#', "%23"), id, None, Default::default(), "on")
            .await;
        let reply = peer.reply().await;
        assert_eq!(reply.channel, channel, "{reply:?}");
    }
    let events = emulator.telemetry();
    let seen: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.source.device(),
                &event.message.body[..],
                event.message.message_id.as_deref(),
            )
        })
        .collect();
    let expected = [("hall#2", &b"hall#2"[..], Some("m1")), ("lamp", b"lamp", Some("m1"))];
    assert_eq!(seen, expected);
    service.close().await;
    peer.leave(1, 0).await;
}

#[tokio::test]
async fn a_dotnet_device_sends_a_batch_of_whole_messages() {
    let (emulator, _) = hub().await;
    let mut peer = connect(&emulator).await;
    admit(&mut peer, &emulator, "lamp", 1).await;
    peer.attach(1, telemetry("/devices/lamp/messages/events").attaching())
        .await;
    let part = |text: &str| {
        let own = application_properties(&[("n", string(text))]);
        data(&[own, data(text.as_bytes())].concat())
    };
    let transfer = [uint(0), uint(0), binary(&[7; 16]), uint(0x8001_3700)];
    peer.write(frame(1, 0x14, &transfer, &[part("one"), part("two")].concat()))
        .await;
    let settled = peer.disposition().await;
    assert!(matches!(settled.state, Some(DeliveryState::Accepted(_))), "{settled:?}");
    let bodies: Vec<_> = emulator
        .telemetry()
        .iter()
        .map(|event| (event.message.body.clone(), event.message.properties[0].1.clone()))
        .collect();
    assert_eq!(
        bodies,
        [("one".into(), "one".to_owned()), ("two".into(), "two".to_owned())]
    );
    peer.leave(1, 0).await;
}

#[tokio::test]
async fn a_dotnet_device_hears_accepted_for_each_word_and_of_a_lock_that_was_lost() {
    let (emulator, _) = hub().await;
    let mut peer = connect(&emulator).await;
    admit(&mut peer, &emulator, "lamp", 1).await;
    let address = "/devices/lamp/messages/deviceBound";
    peer.attach(1, messages(address).attaching()).await;
    let mut service = Service::connect(&emulator).await;
    for id in ["complete", "reject", "late"] {
        service.send("lamp", id, Some("full"), Default::default(), "on").await;
    }
    service.close().await;

    let outcomes = [
        ("complete", ACCEPTED),
        ("reject", REJECTED),
        ("late", RELEASED),
        ("late", ACCEPTED),
    ];
    for (count, (id, outcome)) in (0..).zip(outcomes) {
        peer.grant(1, 1, count, 1).await;
        let (transfer, message) = peer.delivery().await;
        let about = message.properties.as_ref().unwrap();
        assert_eq!(about.message_id, Some(MessageId::String(id.into())));
        assert_eq!(about.to.as_deref(), Some("/devices/lamp/messages/devicebound"));
        assert_eq!(property(&message, "colour"), Some(&SimpleValue::String("red".into())));
        let tag: [u8; 16] = transfer.delivery_tag.unwrap().to_vec().try_into().unwrap();
        let token = Uuid::from_bytes_le(tag).to_string();
        assert_eq!(annotation(&message, "x-opt-lock-token"), Some(&Value::String(token)));
        let deliveries = u8::from(count == 3);
        assert_eq!(
            annotation(&message, "iothub-deliverycount"),
            Some(&Value::Ubyte(deliveries))
        );
        assert!(matches!(
            annotation(&message, "iothub-enqueuedtime"),
            Some(Value::Timestamp(_))
        ));
        assert!(matches!(
            annotation(&message, "x-opt-sequence-number"),
            Some(Value::Ulong(_))
        ));

        let is_late = count == 3;
        if is_late {
            emulator.clock().advance(std::time::Duration::from_secs(61));
        }
        let delivery = transfer.delivery_id.unwrap();
        peer.settle(1, delivery, false, outcome).await;
        let answer = peer.disposition().await;
        assert!(
            answer.role == Role::Sender && answer.first == delivery && answer.settled,
            "{answer:?}"
        );
        match answer.state {
            Some(DeliveryState::Accepted(_)) if !is_late => {}
            Some(DeliveryState::Rejected(rejected)) if is_late => {
                let condition = serde_amqp::to_value(&rejected.error.unwrap().condition).unwrap();
                assert_eq!(condition, Value::Symbol("com.microsoft:message-lock-lost".into()));
            }
            other => panic!("{id}: {other:?}"),
        }
    }
    peer.leave(1, 1).await;
}

#[tokio::test]
async fn a_dotnet_device_answers_a_method_by_the_guid_of_its_request() {
    let (emulator, mut owner) = hub().await;
    let mut peer = connect(&emulator).await;
    admit(&mut peer, &emulator, "lamp", 1).await;
    let (address, pair) = (
        "/devices/lamp/methods/deviceBound",
        "methods:9c5e3b0a-7d5f-4c6e-8a55-0f1e2d3c4b5a",
    );
    let answers = paired("MethodsSenderLink", 0, address, pair);
    peer.attach(1, answers.attaching()).await;
    let requests = paired("MethodsReceiverLink", 1, address, pair);
    let attached = peer.attach(1, requests.attaching()).await;
    assert_eq!(attached.snd_settle_mode, SenderSettleMode::Settled);
    peer.grant(1, 1, 0, 50).await;

    let call = r#"{"methodName":"blink","payload":{ "n": 1.0 }}"#;
    let invoke = owner.call("POST", "/twins/lamp/methods", &[], call);
    let device = async {
        let (transfer, request) = peer.delivery().await;
        assert_eq!(transfer.settled, Some(true));
        let name = property(&request, "IoThub-methodname");
        assert_eq!(name, Some(&SimpleValue::String("blink".into())));
        assert_eq!(body(&request), br#"{ "n": 1.0 }"#);
        let id = match request.properties.unwrap().correlation_id {
            Some(MessageId::Uuid(id)) => id.into_inner(),
            other => panic!("{other:?}"),
        };
        let nulls = [null(), null(), null(), null(), null(), uuid(id)];
        let status = application_properties(&[("IoThub-status", int(207))]);
        let answer = [properties(&nulls), status, data(b"[ 1.50 ]")].concat();
        peer.send(1, 0, (0, &[9; 16], true), &answer).await;
    };
    let (reply, ()) = tokio::join!(invoke, device);
    assert_eq!(reply.body, r#"{"status":207,"payload":[ 1.50 ]}"#);
    peer.leave(1, 1).await;
}

/// Sends a request about the twin, and gives its answer.
async fn ask(
    peer: &mut Peer,
    number: u32,
    id: &str,
    request: (&str, Option<&str>, &[u8]),
) -> (Option<Value>, Option<Value>, Vec<u8>) {
    let (operation, resource, payload) = request;
    let about = annotations(&[
        ("operation", string(operation)),
        ("resource", resource.map_or_else(null, string)),
        ("version", null()),
    ]);
    let about_id = properties(&[null(), null(), null(), null(), null(), string(id)]);
    let section = if payload.is_empty() { Vec::new() } else { data(payload) };
    peer.send(
        1,
        0,
        (number, &[number as u8; 16], true),
        &[about, about_id, section].concat(),
    )
    .await;
    let (transfer, answer) = peer.delivery().await;
    assert_eq!(transfer.settled, Some(true));
    let correlation = answer.properties.as_ref().unwrap().correlation_id.clone();
    assert_eq!(correlation, Some(MessageId::String(id.into())));
    let [status, version] = ["status", "version"].map(|name| annotation(&answer, name).cloned());
    (status, version, body(&answer))
}

#[tokio::test]
async fn a_dotnet_device_reads_its_twin_by_annotations() {
    let (emulator, mut owner) = hub().await;
    let mut peer = connect(&emulator).await;
    admit(&mut peer, &emulator, "lamp", 1).await;
    let (address, pair) = ("/devices/lamp/twin", "twin:2f1d9c7a-3b6e-4d58-9a0b-c1d2e3f40516");
    peer.attach(1, paired("TwinSenderLink", 0, address, pair).attaching())
        .await;
    peer.attach(1, paired("TwinReceiverLink", 1, address, pair).attaching())
        .await;
    peer.grant(1, 1, 0, 50).await;

    let (get, patch) = (
        "Getb3a5c1d0-9f7e-4e0a-8c3b-000000000001",
        "Patchb3a5c1d0-9f7e-4e0a-8c3b-000000000002",
    );
    let (status, _, document) = ask(&mut peer, 0, get, ("GET", None, b"")).await;
    assert_eq!(status, Some(Value::Int(200)));
    let twin: Json = serde_json::from_slice(&document).unwrap();
    assert_eq!(twin, json!({"desired": {"$version": 1}, "reported": {"$version": 1}}));

    let reported = Some("/properties/reported");
    let (status, version, _) = ask(&mut peer, 1, patch, ("PATCH", reported, br#"{"on":true}"#)).await;
    assert_eq!((status, version), (Some(Value::Int(204)), Some(Value::Long(2))));
    let (status, ..) = ask(&mut peer, 2, patch, ("PATCH", reported, b"{")).await;
    assert_eq!(status, Some(Value::Int(400)));

    let notifications = Some("/notifications/twin/properties/desired");
    let put = "Putb3a5c1d0-9f7e-4e0a-8c3b-000000000003";
    let (status, ..) = ask(&mut peer, 3, put, ("PUT", notifications, b"")).await;
    assert!(matches!(status, Some(Value::Int(200..300))), "{status:?}");
    let desired = r#"{"properties":{"desired":{"colour":"red"}}}"#;
    assert_eq!(owner.call("PATCH", "/twins/lamp", &[], desired).await.status, 200);
    let (_, change) = peer.delivery().await;
    assert!(
        change
            .properties
            .as_ref()
            .is_none_or(|about| about.correlation_id.is_none())
    );
    let change: Json = serde_json::from_slice(&body(&change)).unwrap();
    assert_eq!(change, json!({"colour": "red", "$version": 2}));
    peer.leave(1, 1).await;
}

#[tokio::test]
async fn a_dotnet_device_is_refused_a_link_by_an_attach_and_a_detach() {
    let (emulator, _) = hub().await;
    let mut peer = connect(&emulator).await;
    admit(&mut peer, &emulator, "lamp", 1).await;
    // A refused link is attached, and detached with what is wrong.
    let refused = telemetry("/devices/nobody/messages/events");
    peer.write(refused.attaching().encode(1)).await;
    let attach = peer.reply().await;
    let detach = peer.reply().await;
    assert!(format!("{:?}", attach.performative).starts_with("Attach"), "{attach:?}");
    let said = format!("{:?}", detach.performative);
    assert!(
        said.starts_with("Detach") && said.contains("UnauthorizedAccess"),
        "{said}"
    );
}

use fe2o3_amqp_types::{
    definitions::Role,
    messaging::{DeliveryState, MessageId},
    performatives::Performative,
    primitives::{SimpleValue, Value},
};
use iothub_emulator::{Emulator, EmulatorOptions};
use serde_json::{Value as Json, json};

use super::{
    bytes::{
        annotations, application_properties, data, fields, frame, int, null, properties, sasl, source, string, symbol,
        target, ubyte, uint, uuid, value,
    },
    peer::{ACCEPTED, Attaching, Peer, Reply, annotation, body, property},
};
use crate::{amqp::Service, amqp_devices::device_token, client, client::Client};

const MAX_FRAME_SIZE: u32 = 4096;
const CBS: u16 = 0;
const MESSAGES: u16 = 1;

async fn hub() -> (Emulator, Client) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    emulator.add_device("lamp").unwrap();
    let owner = Client::new(&emulator, "iothubowner").await;
    (emulator, owner)
}

/// A client with small frames and an anonymous security layer, that has put this token.
async fn connect(emulator: &Emulator, audience: &str, token: &str) -> Peer {
    let mut peer = Peer::connect(emulator).await;
    peer.exchange(b"AMQP\x03\x01\x00\x00").await;
    let mechanisms = peer.frame().await;
    assert!(
        mechanisms.windows(9).any(|part| part == b"ANONYMOUS"),
        "{mechanisms:02x?}"
    );
    peer.write(sasl(0x41, &[symbol("ANONYMOUS")])).await;
    let outcome = peer.frame().await;
    assert_eq!(outcome[4..12], [2, 1, 0, 0, 0x00, 0x53, 0x44, 0xC0]);
    assert_eq!(outcome[14..16], [0x50, 0], "the code of the outcome");
    peer.exchange(b"AMQP\x00\x01\x00\x00").await;
    // The library says half of the 230 seconds after which it gives up.
    peer.open("3f0a", MAX_FRAME_SIZE, uint(115_000)).await;

    peer.begin(CBS).await;
    for (handle, name, receives) in [(0, "cbs-sender", false), (1, "cbs-receiver", true)] {
        let link = Attaching {
            name,
            handle,
            receives,
            modes: [ubyte(if receives { 0 } else { 1 }), ubyte(0)],
            source: source("$cbs"),
            target: target("$cbs"),
            properties: fields(&[("com.microsoft:api-version", string("2021-04-12"))]),
        };
        peer.attach(CBS, link).await;
    }
    peer.grant(CBS, 1, 0, 1).await;
    let id = [0x5F; 16];
    let request = [
        properties(&[uuid(id), null(), string("$cbs"), null(), string("cbs")]),
        application_properties(&[
            ("operation", string("put-token")),
            ("type", string("servicebus.windows.net:sastoken")),
            ("name", string(audience)),
        ]),
        value(&string(token)),
    ];
    // Not settled by itself: the request is accepted before its answer comes.
    peer.send(CBS, 0, (0, b"0", false), &request.concat()).await;
    let settled = peer.disposition().await;
    assert!(
        settled.role == Role::Receiver && settled.first == 0 && settled.settled,
        "{settled:?}"
    );
    assert!(matches!(settled.state, Some(DeliveryState::Accepted(_))));
    let (transfer, answer) = peer.delivery().await;
    let correlation = answer.properties.as_ref().unwrap().correlation_id.clone();
    assert_eq!(correlation, Some(MessageId::Uuid(id.into())));
    assert_eq!(property(&answer, "status-code"), Some(&SimpleValue::Int(200)));
    assert!(matches!(
        property(&answer, "status-description"),
        Some(SimpleValue::String(_))
    ));
    peer.settle(CBS, transfer.delivery_id.unwrap(), true, ACCEPTED).await;
    peer.begin(MESSAGES).await;
    peer
}

/// A link of a client that leaves to the other end to settle nothing.
fn link<'a>(name: &'a str, handle: u32, address: &str, properties: &[(&str, Vec<u8>)]) -> Attaching<'a> {
    let receives = name.contains("eceiver");
    let mut all = vec![("com.microsoft:api-version", string("2021-04-12"))];
    all.extend(properties.iter().cloned());
    Attaching {
        name,
        handle,
        receives,
        modes: [ubyte(0), ubyte(0)],
        source: source(address),
        target: target(address),
        properties: fields(&all),
    }
}

#[tokio::test]
async fn a_java_service_gets_a_full_batch_of_feedback_in_frames_of_its_size() {
    let (emulator, _) = hub().await;
    let token = client::token(&emulator, "service", 4_102_444_800);
    let mut peer = connect(&emulator, "localhost", &token).await;
    let sender = link("sender", 0, "/messages/devicebound", &[]);
    peer.attach(MESSAGES, sender).await;
    let feedback = "/messages/servicebound/feedback";
    peer.attach(MESSAGES, link("cloudToDeviceMessageFeedbackReceiver", 1, feedback, &[]))
        .await;
    peer.grant(MESSAGES, 1, 0, 1).await;
    let lamp = emulator.device("lamp").unwrap();
    for number in 0..64 {
        let id = format!("message-{number}");
        let to = string("/devices/lamp/messages/devicebound");
        let message = [
            properties(&[string(&id), null(), to, null(), null(), string("c1")]),
            application_properties(&[("iothub-ack", string("full"))]),
            data(b""),
        ];
        let tag = number.to_string();
        peer.send(MESSAGES, 0, (number, tag.as_bytes(), false), &message.concat())
            .await;
        let settled = peer.disposition().await;
        assert!(matches!(settled.state, Some(DeliveryState::Accepted(_))), "{settled:?}");
        assert_eq!((settled.first, settled.settled), (number, true));
        lamp.recv().await.complete().unwrap();
        if number == 49 {
            // Half of the credit is used up, so there is more.
            let more = peer.flow().await;
            assert!(more.link_credit >= Some(50), "{more:?}");
        }
    }

    let mut frames: Vec<Reply> = vec![peer.reply().await];
    let is_last = |reply: &Reply| matches!(&reply.performative, Performative::Transfer(part) if !part.more);
    while !is_last(frames.last().unwrap()) {
        frames.push(peer.reply().await);
    }
    assert!(frames.len() > 1, "{} frames", frames.len());
    let largest = frames.iter().map(|frame| frame.size).max();
    assert!(largest <= Some(MAX_FRAME_SIZE as usize), "{largest:?}");
    let Performative::Transfer(first) = &frames[0].performative else {
        panic!("{:?}", frames[0]);
    };
    let id = first.delivery_id.unwrap();
    let whole: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.to_vec()).collect();
    let start = whole.windows(2).position(|pair| pair == b"[{").unwrap();
    let records: Json = serde_json::from_slice(&whole[start..]).unwrap();
    let ids: Vec<_> = records
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["originalMessageId"].clone())
        .collect();
    let expected: Vec<Json> = (0..64).map(|number| format!("message-{number}").into()).collect();
    assert_eq!(ids, expected);
    peer.settle(MESSAGES, id, true, ACCEPTED).await;
    peer.leave(MESSAGES, 0).await;
}

#[tokio::test]
async fn a_java_device_receives_answers_and_reads_its_twin_unsettled() {
    let (emulator, mut owner) = hub().await;
    let target = emulator.device("lamp").unwrap().target().clone();
    let token = device_token(&emulator, &target);
    let mut peer = connect(&emulator, "localhost/devices/lamp", &token).await;
    let suffix = "b6f0c5de-7d4b-4c62-8d4a-2f6d0a9f3c11";
    let pair = |kind: &str| {
        [(
            "com.microsoft:channel-correlation-id",
            string(&format!("{kind}:{suffix}")),
        )]
    };
    let own = [("com.microsoft:channel-correlation-id", string("lamp"))];
    let (events, bound) = ("/devices/lamp/messages/events", "/devices/lamp/messages/devicebound");
    let (methods, twin) = ("/devices/lamp/methods/devicebound", "/devices/lamp/twin");
    for (name, handle, address, properties) in [
        ("sender_link_telemetry-1", 0, events, &own),
        ("receiver_link_telemetry-1", 1, bound, &own),
        ("sender_link_methods-1", 2, methods, &pair("methods")),
        ("receiver_link_methods-1", 3, methods, &pair("methods")),
        ("sender_link_twin-1", 4, twin, &pair("twin")),
        ("receiver_link_twin-1", 5, twin, &pair("twin")),
    ] {
        peer.attach(MESSAGES, link(name, handle, address, properties)).await;
        if name.starts_with("receiver") {
            peer.grant(MESSAGES, handle, 0, 50).await;
        }
    }

    let telemetry = [
        properties(&[string("m1")]),
        application_properties(&[("k", string("v"))]),
        data(b"on"),
    ];
    peer.send(MESSAGES, 0, (0, b"0", false), &telemetry.concat()).await;
    assert!(matches!(
        peer.disposition().await.state,
        Some(DeliveryState::Accepted(_))
    ));
    assert_eq!(emulator.telemetry()[0].message.message_id.as_deref(), Some("m1"));

    let mut service = Service::connect(&emulator).await;
    service.send("lamp", "m2", None, Default::default(), "off").await;
    service.close().await;
    let (transfer, message) = peer.delivery().await;
    assert_eq!((transfer.handle.0, body(&message)), (1, b"off".to_vec()));
    peer.settle(MESSAGES, transfer.delivery_id.unwrap(), true, ACCEPTED)
        .await;

    let call = r#"{"methodName":"blink","payload":[1]}"#;
    let invoke = owner.call("POST", "/twins/lamp/methods", &[], call);
    let device = async {
        let (transfer, request) = peer.delivery().await;
        let name = property(&request, "IoThub-methodname");
        assert_eq!(
            (transfer.handle.0, name),
            (3, Some(&SimpleValue::String("blink".into())))
        );
        peer.settle(MESSAGES, transfer.delivery_id.unwrap(), true, ACCEPTED)
            .await;
        let Some(MessageId::Uuid(id)) = request.properties.unwrap().correlation_id else {
            panic!("no uuid");
        };
        let about = properties(&[null(), null(), null(), null(), null(), uuid(id.into_inner())]);
        let status = application_properties(&[("IoThub-status", int(200))]);
        peer.send(MESSAGES, 2, (1, b"1", false), &[about, status, data(b"{}")].concat())
            .await;
        assert!(matches!(
            peer.disposition().await.state,
            Some(DeliveryState::Accepted(_))
        ));
    };
    let (reply, ()) = tokio::join!(invoke, device);
    assert_eq!(reply.json(), json!({"status": 200, "payload": {}}));

    let get = [
        annotations(&[("operation", string("GET"))]),
        properties(&[null(), null(), null(), null(), null(), string("0b9d7c5e-get")]),
        data(b""),
    ];
    peer.send(MESSAGES, 4, (2, b"2", false), &get.concat()).await;
    // The answer and the word on the request may come in either order.
    let (mut settled, mut answered) = (false, false);
    while !(settled && answered) {
        let reply = peer.reply().await;
        match &reply.performative {
            Performative::Disposition(word) => settled = word.settled && word.first == 2,
            Performative::Transfer(transfer) if transfer.handle.0 == 5 => answered = true,
            other => panic!("{other:?}"),
        }
    }
    peer.grant(MESSAGES, 5, 1, 50).await;
    let subscribe = [
        annotations(&[
            ("operation", string("PUT")),
            ("resource", string("/notifications/twin/properties/desired")),
        ]),
        properties(&[null(), null(), null(), null(), null(), string("0b9d7c5e-put")]),
        data(b""),
    ];
    peer.send(MESSAGES, 4, (3, b"3", true), &subscribe.concat()).await;
    let (_, answer) = peer.delivery().await;
    assert_eq!(annotation(&answer, "status"), Some(&Value::Int(200)));
    let desired = r#"{"properties":{"desired":{"colour":"red"}}}"#;
    assert_eq!(owner.call("PATCH", "/twins/lamp", &[], desired).await.status, 200);
    let (_, change) = peer.delivery().await;
    // By this, and not by what is missing, it knows what the message is.
    assert_eq!(
        annotation(&change, "resource"),
        Some(&Value::String("/properties/desired".into()))
    );
    peer.leave(MESSAGES, 0).await;
}

#[tokio::test]
async fn who_gives_up_after_some_silence_hears_empty_frames_before() {
    let (emulator, _) = hub().await;
    let mut peer = Peer::without_sasl(&emulator).await;
    let started = std::time::Instant::now();
    peer.open("3f0a", MAX_FRAME_SIZE, uint(400)).await;
    for _ in 0..3 {
        assert_eq!(peer.frame().await[..], [0, 0, 0, 8, 2, 0, 0, 0]);
    }
    assert!(started.elapsed().as_millis() >= 400, "no more often than is needed");
    peer.write(frame(0, 0x18, &[], &[])).await;
}

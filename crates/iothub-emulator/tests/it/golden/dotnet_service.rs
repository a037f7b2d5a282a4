use fe2o3_amqp_types::{
    definitions::{ReceiverSettleMode, Role},
    messaging::{DeliveryState, MessageId},
    primitives::{SimpleValue, Value},
};
use iothub_emulator::{Emulator, EmulatorOptions};
use serde_json::Value as Json;

use super::{
    bytes::{
        application_properties, binary, data, double, fields, null, properties, source, string, symbol, target,
        timestamp, ubyte, uint, ulong, value,
    },
    peer::{ACCEPTED, Attaching, Peer, RELEASED, annotation, body, property},
};
use crate::client;

const CBS: u16 = 0;
const MESSAGES: u16 = 1;
const FAR: u64 = 4_102_444_800;

async fn hub() -> Emulator {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    for id in ["lamp", "hall#2"] {
        emulator.add_device(id).unwrap();
    }
    emulator
}

/// Attaches the pair of links on which tokens are put: both settle on sending, and the answers go to a made-up address.
pub(super) async fn attach_cbs(peer: &mut Peer) {
    peer.begin(CBS).await;
    let settled = || [ubyte(1), ubyte(0)];
    let timeout = || fields(&[("com.microsoft:timeout", uint(60_000))]);
    let requests = Attaching {
        name: "cbs1:sender",
        handle: 0,
        receives: false,
        modes: settled(),
        source: source("cbs1"),
        target: target("$cbs"),
        properties: timeout(),
    };
    peer.attach(CBS, requests).await;
    let answers = Attaching {
        name: "cbs1:receiver",
        handle: 1,
        receives: true,
        modes: settled(),
        source: source("$cbs"),
        target: target("cbs1"),
        properties: timeout(),
    };
    peer.attach(CBS, answers).await;
    peer.grant(CBS, 1, 0, 50).await;
}

/// Puts a token and reads the answer as the client does, without asking whether something is there.
pub(super) async fn put_token(peer: &mut Peer, number: u32, name: &str, token: &str) {
    let id = u64::from(number);
    let request = [
        properties(&[ulong(id), null(), null(), null(), string("cbs1")]),
        application_properties(&[
            ("operation", string("put-token")),
            ("type", string("servicebus.windows.net:sastoken")),
            ("name", string(name)),
            ("expiration", timestamp(4_102_444_800_000)),
        ]),
        value(&string(token)),
    ];
    peer.send(CBS, 0, (number, &number.to_le_bytes(), true), &request.concat())
        .await;
    let (transfer, answer) = peer.delivery().await;
    assert_eq!(transfer.settled, Some(true));
    assert_eq!(property(&answer, "status-code"), Some(&SimpleValue::Int(200)));
    assert_eq!(
        property(&answer, "status-description"),
        Some(&SimpleValue::String("OK".into()))
    );
    assert_eq!(answer.properties.unwrap().correlation_id, Some(MessageId::Ulong(id)));
}

/// A service that has put its token.
async fn service(emulator: &Emulator) -> Peer {
    let mut peer = Peer::without_sasl(emulator).await;
    peer.open("0c6be1a1b2c34d5e8f90112233445566", 65_536, null()).await;
    attach_cbs(&mut peer).await;
    let token = client::token(emulator, "service", FAR);
    put_token(&mut peer, 1, "amqps://localhost:5671/", &token).await;
    peer.begin(MESSAGES).await;
    peer
}

/// Attaches the link for messages to all devices, without a source.
async fn attach_sender(peer: &mut Peer) {
    let sender = Attaching {
        name: "5a1f3c0e9d8b4a7686f0aabbccddeeff",
        handle: 0,
        receives: false,
        modes: [null(), null()],
        source: null(),
        target: target("amqps://localhost:5671/messages/deviceBound"),
        properties: fields(&[
            (
                "com.microsoft:client-version",
                string("Microsoft.Azure.Devices/1.40.0 (.NET)"),
            ),
            ("com.microsoft:timeout", double(59_998.25)),
        ]),
    };
    peer.attach(MESSAGES, sender).await;
}

/// Sends a message with an id and a body, or neither.
async fn send(peer: &mut Peer, number: u32, to: &str, text: Option<&str>) -> Option<DeliveryState> {
    let id = text.map_or_else(null, string);
    let mut message = properties(&[
        id,
        binary(b"me"),
        string(to),
        null(),
        null(),
        null(),
        symbol("application/json"),
        symbol("utf-8"),
        timestamp(4_102_444_800_500),
    ]);
    message.extend(application_properties(&[
        ("iothub-ack", string("full")),
        ("iothub-creation-time-utc", string("2026-01-01T00:00:00.0000000Z")),
        ("k", string("v")),
    ]));
    message.extend(text.map(|text| data(text.as_bytes())).unwrap_or_default());
    peer.send(MESSAGES, 0, (number, &number.to_le_bytes(), false), &message)
        .await;
    let settled = peer.disposition().await;
    assert!(
        settled.role == Role::Receiver && settled.first == number && settled.settled,
        "{settled:?}"
    );
    settled.state
}

const TO_LAMP: &str = "/devices/lamp/messages/deviceBound";

#[tokio::test]
async fn a_dotnet_service_sends_on_a_link_without_a_source_and_renews_its_token() {
    let emulator = hub().await;
    let mut peer = service(&emulator).await;
    attach_sender(&mut peer).await;
    let accepted = |state| matches!(state, Some(DeliveryState::Accepted(_)));
    assert!(accepted(send(&mut peer, 0, TO_LAMP, Some("on")).await));
    assert!(accepted(
        send(&mut peer, 1, "/devices/hall%232/messages/deviceBound", None).await
    ));
    let refused = send(&mut peer, 2, "/devices/nobody/messages/deviceBound", Some("on")).await;
    let Some(DeliveryState::Rejected(rejected)) = refused else {
        panic!("{refused:?}");
    };
    let condition = serde_amqp::to_value(&rejected.error.unwrap().condition).unwrap();
    assert_eq!(condition, Value::Symbol("amqp:not-found".into()));
    // The same pair of links takes the next token, and the link for messages is as it was.
    let token = client::token(&emulator, "service", FAR - 1);
    put_token(&mut peer, 2, "amqps://localhost:5671/", &token).await;
    assert!(accepted(send(&mut peer, 3, TO_LAMP, Some("off")).await));

    let lamp = emulator.device("lamp").unwrap();
    let message = lamp.recv().await.complete().unwrap();
    assert_eq!(
        (&message.body[..], message.message_id.as_deref()),
        (&b"on"[..], Some("on"))
    );
    assert_eq!(message.user_id.as_deref(), Some(&b"me"[..]));
    assert_eq!(message.content_type.as_deref(), Some("application/json"));
    assert_eq!(message.expiry.unwrap().unix_timestamp(), 4_102_444_800);
    assert_eq!(message.creation_time.as_deref(), Some("2026-01-01T00:00:00.0000000Z"));
    assert_eq!(message.properties, [("k".to_owned(), "v".to_owned())]);
    let empty = emulator.device("hall#2").unwrap().recv().await.complete().unwrap();
    assert_eq!((&empty.body[..], &empty.message_id), (&b""[..], &None));
    assert_eq!(lamp.recv().await.complete().unwrap().body, "off");
    peer.leave(MESSAGES, 0).await;
}

#[tokio::test]
async fn a_dotnet_service_settles_feedback_second_by_a_tag_that_is_a_guid() {
    let emulator = hub().await;
    let mut peer = service(&emulator).await;
    attach_sender(&mut peer).await;
    send(&mut peer, 0, TO_LAMP, Some("m1")).await;
    emulator.device("lamp").unwrap().recv().await.complete().unwrap();
    emulator.clock().advance(std::time::Duration::from_secs(15));

    let receiver = Attaching {
        name: "7c9e6679742540de944be07fc1f90ae7",
        handle: 1,
        receives: true,
        modes: [null(), ubyte(1)],
        source: source("amqps://localhost:5671/messages/serviceBound/feedback"),
        target: null(),
        properties: fields(&[("com.microsoft:timeout", double(60_000.0))]),
    };
    let attached = peer.attach(MESSAGES, receiver).await;
    assert_eq!(attached.rcv_settle_mode, ReceiverSettleMode::Second);
    let mut tokens = Vec::new();
    for (count, outcome) in [(0, RELEASED), (1, ACCEPTED)] {
        // One credit for each call. Before it, nothing comes.
        peer.has_nothing(MESSAGES, 1, count).await;
        peer.grant(MESSAGES, 1, count, 1).await;
        let (transfer, batch) = peer.delivery().await;
        assert_ne!(transfer.settled, Some(true));
        let tag: [u8; 16] = transfer.delivery_tag.unwrap().to_vec().try_into().unwrap();
        tokens.push(tag);
        assert!(matches!(
            annotation(&batch, "iothub-enqueuedtime"),
            Some(Value::Timestamp(_))
        ));
        let about = batch.properties.as_ref().unwrap();
        assert_eq!(about.user_id.as_ref().unwrap().as_slice(), b"localhost");
        let kind = about.content_type.as_ref().unwrap();
        assert_eq!(kind.as_str(), "application/vnd.microsoft.iothub.feedback.json");
        let records: Json = serde_json::from_slice(&body(&batch)).unwrap();
        let record = &records[0];
        for (field, expected) in [
            ("originalMessageId", "m1"),
            ("deviceId", "lamp"),
            ("statusCode", "Success"),
            ("description", "Success"),
        ] {
            assert_eq!(record[field], expected, "{records}");
        }
        assert!(record["deviceGenerationId"].is_string() && record["enqueuedTimeUtc"].is_string());

        // Whatever it says, it waits to hear `accepted` before it lets go.
        let id = transfer.delivery_id.unwrap();
        peer.settle(MESSAGES, id, false, outcome).await;
        let confirmed = peer.disposition().await;
        assert!(
            confirmed.role == Role::Sender && confirmed.settled && confirmed.first == id,
            "{confirmed:?}"
        );
        assert!(
            matches!(confirmed.state, Some(DeliveryState::Accepted(_))),
            "{confirmed:?}"
        );
    }
    assert_ne!(tokens[0], tokens[1]);
    // It was completed, so there is nothing for another call.
    peer.drains(MESSAGES, 1, 2).await;
    peer.leave(MESSAGES, 1).await;
}

#[tokio::test]
async fn a_dotnet_service_that_waits_for_files_is_told_every_field_as_a_text() {
    let emulator = hub().await;
    let mut peer = service(&emulator).await;
    let receiver = Attaching {
        name: "16fd2706c0a24c5d9b0e1a2b3c4d5e6f",
        handle: 0,
        receives: true,
        modes: [null(), ubyte(1)],
        source: source("amqps://localhost:5671/messages/serviceBound/filenotifications"),
        target: null(),
        properties: null(),
    };
    peer.attach(MESSAGES, receiver).await;
    emulator.device("lamp").unwrap().upload("a.txt", "hello").unwrap();
    peer.grant(MESSAGES, 0, 0, 1).await;
    let (transfer, message) = peer.delivery().await;
    assert_eq!(transfer.delivery_tag.unwrap().len(), 16);
    let kind = message.properties.as_ref().unwrap().content_type.as_ref().unwrap();
    assert_eq!(kind.as_str(), "application/vnd.microsoft.iothub.filenotification.json");
    let file: Json = serde_json::from_slice(&body(&message)).unwrap();
    for field in ["deviceId", "blobUri", "blobName", "lastUpdatedTime", "enqueuedTimeUtc"] {
        assert!(file[field].is_string(), "{file}");
    }
    assert_eq!(
        (&file["blobName"], &file["blobSizeInBytes"]),
        (&"lamp/a.txt".into(), &5.into())
    );
    let id = transfer.delivery_id.unwrap();
    peer.settle(MESSAGES, id, false, ACCEPTED).await;
    assert!(peer.disposition().await.settled);
    peer.leave(MESSAGES, 0).await;
}

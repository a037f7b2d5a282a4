//! Devices as peers, by the engine that the clients are built on.

use std::time::Duration;

use bytes::Bytes;
use fe2o3_amqp::{Delivery, Receiver, Sendable, Sender, Session, link::receiver::CreditMode, session::SessionHandle};
use fe2o3_amqp_types::{
    definitions::{Fields, ReceiverSettleMode, SenderSettleMode},
    messaging::{
        ApplicationProperties, Body, Data, Message, MessageAnnotations, MessageId, Modified, Properties,
        annotations::OwnedKey, message::__private::Serializable,
    },
    primitives::SimpleValue,
};
use serde_amqp::{Value, primitives::Symbol};
use serde_json::json;
use uuid::Uuid;

use super::{
    client::{Client, detached, sign_for, verdict},
    hub,
};
use crate::hub::{
    C2dMessage, Event, Grant, Hub, Outcome, Target,
    authentication::{Authentication, Key},
    identity_request::DeviceRequest,
    if_match::IfMatch,
    method_call::MethodCall,
    twin::Write,
    twin_request::TwinRequest,
};

const LATER: i64 = 4_102_444_800;

/// A hub with devices whose keys are known.
fn hub_with(ids: &[&str]) -> Hub {
    let hub = hub();
    for id in ids {
        put_device(&hub, id, None, false);
    }
    hub
}

fn put_device(hub: &Hub, id: &str, condition: Option<&str>, disabled: bool) {
    let key = || Key::parse("AAECAwQFBgcICQoLDA0ODw==").unwrap();
    let request = DeviceRequest {
        disabled,
        status_reason: None,
        authentication: Authentication::Sas(Box::new([key(), key()])),
        edge: false,
        scope: None,
        parents: Vec::new(),
    };
    let condition = IfMatch::parse(condition);
    hub.put_device(&Grant::unlimited(), &id.parse().unwrap(), &condition, request)
        .unwrap();
}

fn device(id: &str) -> Target {
    Target::parse(id, None).unwrap()
}

fn token(id: &str) -> String {
    sign_for(&format!("localhost%2Fdevices%2F{id}"), LATER)
}

/// A connection of its own for one device.
async fn connect(hub: &Hub, id: &str) -> Client {
    let mut client = Client::connect(hub).await;
    assert_eq!(client.put_token(&token(id)).await, 200);
    client
}

async fn sender(session: &mut SessionHandle<()>, name: &str, address: &str) -> Sender {
    Sender::attach(session, name, address).await.unwrap()
}

async fn receiver(session: &mut SessionHandle<()>, name: &str, address: &str) -> Receiver {
    Receiver::attach(session, name, address).await.unwrap()
}

fn send_to(hub: &Hub, id: &str, body: &'static str) {
    let message = C2dMessage {
        body: Bytes::from_static(body.as_bytes()),
        message_id: Some(body.to_owned()),
        ..C2dMessage::default()
    };
    hub.send_to_device(&device(id), message).unwrap();
}

fn body(delivery: &Delivery<Body<Value>>) -> Vec<u8> {
    match delivery.body() {
        Body::Data(data) => data.iter().flat_map(|data| data.0.to_vec()).collect(),
        Body::Empty => Vec::new(),
        other => panic!("{other:?}"),
    }
}

fn annotation<'a>(delivery: &'a Delivery<Body<Value>>, name: &str) -> Option<&'a Value> {
    let annotations = delivery.message().message_annotations.as_ref()?;
    annotations.0.get(&OwnedKey::Symbol(Symbol::from(name)))
}

/// What ends a link on which nothing is received any more.
async fn receiver_detached(receiver: &mut Receiver) -> String {
    format!("{:?}", receiver.recv::<Body<Value>>().await.unwrap_err())
}

async fn next(receiver: &mut Receiver) -> Delivery<Body<Value>> {
    receiver.recv().await.unwrap()
}

fn settled(hub: &Hub) -> Vec<Outcome> {
    let entries = hub.journal().entries();
    let settled = entries.into_iter().filter_map(|entry| match entry.event {
        Event::Settled { outcome, .. } => Some(outcome),
        _ => None,
    });
    settled.collect()
}

#[tokio::test]
async fn telemetry_comes_alone_and_in_batches() {
    let hub = hub_with(&["d1"]);
    let mut client = connect(&hub, "d1").await;
    let mut events = sender(
        &mut client.session,
        "TelemetrySenderLink",
        "amqps://localhost:5671/devices/d1/messages/events",
    )
    .await;
    let properties = Properties::builder()
        .message_id("m1".to_owned())
        .correlation_id(MessageId::Ulong(7))
        .content_type("application/json")
        .content_encoding("utf-8")
        .build();
    let single = Message::builder()
        .properties(properties)
        .message_annotations(
            MessageAnnotations::builder()
                .insert("dt-subject", "thermostat1")
                .insert("x-opt-other", 3_u8)
                .build(),
        )
        .application_properties(
            ApplicationProperties::builder()
                .insert("level", "high")
                .insert("count", 3_i32)
                .insert("iothub-creation-time-utc", "2026-01-01T00:00:00Z")
                .build(),
        )
        .data(&b"{}"[..])
        .build();
    assert_eq!(verdict(events.send(single).await.unwrap()), "accepted");

    let part = |text: &str| serde_amqp::to_vec(&Serializable(message(text))).unwrap();
    let parts = ["one", "two", "three"].map(part);
    let batch = Message::builder().data_batch(parts).build();
    let batch = Sendable::builder().message(batch).message_format(0x8001_3700).build();
    assert_eq!(verdict(events.send(batch).await.unwrap()), "accepted");

    let odd = Sendable::builder().message(message("x")).message_format(7).build();
    assert_eq!(verdict(events.send(odd).await.unwrap()), "com.microsoft:argument-error");
    let large = Message::builder().data(vec![0; 256 * 1024 + 1]).build();
    assert_eq!(
        verdict(events.send(large).await.unwrap()),
        "amqp:link:message-size-exceeded"
    );

    let kept = hub.telemetry().events();
    let bodies: Vec<_> = kept.iter().map(|event| event.message.body.clone()).collect();
    assert_eq!(bodies, ["{}", "one", "two", "three"]);
    let first = &kept[0].message;
    assert_eq!(kept[0].source, device("d1"));
    assert_eq!(
        (first.message_id.as_deref(), first.correlation_id.as_deref()),
        (Some("m1"), Some("7"))
    );
    assert_eq!(first.content_type.as_deref(), Some("application/json"));
    assert_eq!(first.component.as_deref(), Some("thermostat1"));
    assert_eq!(first.creation_time.as_deref(), Some("2026-01-01T00:00:00Z"));
    let mut properties = first.properties.clone();
    properties.sort();
    assert_eq!(
        properties,
        [("count".into(), "3".into()), ("level".into(), "high".into())]
    );
}

fn message(text: &str) -> Message<Data> {
    Message::builder().data(text.as_bytes().to_vec()).build()
}

#[tokio::test]
async fn messages_are_completed_rejected_and_given_back() {
    let hub = hub_with(&["d1"]);
    let mut client = connect(&hub, "d1").await;
    let mut messages = Receiver::builder()
        .name("TelemetryReceiverLink")
        .source("/devices/d1/messages/deviceBound")
        .receiver_settle_mode(ReceiverSettleMode::Second)
        .attach(&mut client.session)
        .await
        .unwrap();
    for body in ["complete", "reject", "release"] {
        send_to(&hub, "d1", body);
    }
    let mut deliveries = Vec::new();
    for text in ["complete", "reject", "release"] {
        let delivery = next(&mut messages).await;
        assert_eq!(body(&delivery), text.as_bytes());
        assert_eq!(annotation(&delivery, "iothub-deliverycount"), Some(&Value::Ubyte(0)));
        assert!(matches!(
            annotation(&delivery, "iothub-enqueuedtime"),
            Some(Value::Timestamp(_))
        ));
        assert!(matches!(
            annotation(&delivery, "x-opt-sequence-number"),
            Some(Value::Ulong(_))
        ));
        // The lock token is the tag, read as .NET reads a GUID.
        let tag: [u8; 16] = delivery.delivery_tag().to_vec().try_into().unwrap();
        let token = Uuid::from_bytes_le(tag).to_string();
        assert_eq!(annotation(&delivery, "x-opt-lock-token"), Some(&Value::String(token)));
        deliveries.push(delivery);
    }
    messages.accept(&deliveries[0]).await.unwrap();
    messages.reject(&deliveries[1], None).await.unwrap();
    messages.release(&deliveries[2]).await.unwrap();
    let again = next(&mut messages).await;
    assert_eq!(body(&again), b"release");
    assert_eq!(annotation(&again, "iothub-deliverycount"), Some(&Value::Ubyte(1)));
    let modified = Modified {
        delivery_failed: Some(true),
        undeliverable_here: Some(true),
        message_annotations: None,
    };
    messages.modify(&again, modified).await.unwrap();
    let again = next(&mut messages).await;
    assert_eq!(annotation(&again, "iothub-deliverycount"), Some(&Value::Ubyte(2)));
    messages.accept(&again).await.unwrap();
    let completed = |event: &Event| {
        matches!(
            event,
            Event::Settled {
                sequence: 3,
                outcome: Outcome::Completed,
                ..
            }
        )
    };
    hub.journal().wait_for(completed).await;
    let expected = [
        Outcome::Completed,
        Outcome::Rejected,
        Outcome::Abandoned,
        Outcome::Abandoned,
        Outcome::Completed,
    ];
    assert_eq!(settled(&hub), expected);
}

#[tokio::test]
async fn what_a_link_holds_when_it_ends_comes_again() {
    let hub = hub_with(&["d1"]);
    let mut client = connect(&hub, "d1").await;
    let mut messages = receiver(&mut client.session, "r", "/devices/d1/messages/devicebound").await;
    send_to(&hub, "d1", "on");
    assert_eq!(body(&next(&mut messages).await), b"on");
    drop(client);
    let mut client = connect(&hub, "d1").await;
    let mut messages = receiver(&mut client.session, "r", "/devices/d1/messages/devicebound").await;
    let again = next(&mut messages).await;
    assert_eq!(annotation(&again, "iothub-deliverycount"), Some(&Value::Ubyte(1)));
}

#[tokio::test]
async fn methods_go_out_on_one_link_and_come_back_on_another() {
    let hub = hub_with(&["d1"]);
    let mut client = connect(&hub, "d1").await;
    let address = "/devices/d1/methods/deviceBound";
    let pair = || -> Fields {
        let mut fields = Fields::default();
        fields.insert("com.microsoft:channel-correlation-id".into(), Value::from("methods:1"));
        fields.insert("com.microsoft:api-version".into(), Value::from("2020-09-30"));
        fields
    };
    let mut answers = Sender::builder()
        .name("MethodsSenderLink")
        .target(address)
        .sender_settle_mode(SenderSettleMode::Settled)
        .properties(pair())
        .attach(&mut client.session)
        .await
        .unwrap();
    let mut requests = Receiver::builder()
        .name("MethodsReceiverLink")
        .source(address)
        .sender_settle_mode(SenderSettleMode::Settled)
        .properties(pair())
        .attach(&mut client.session)
        .await
        .unwrap();
    for as_text in [false, true] {
        let call = MethodCall::parse(br#"{"methodName":"blink","payload":{ "n":1.0 }}"#).unwrap();
        let service = hub.clone();
        let invoked =
            tokio::spawn(async move { service.invoke_method(&Grant::unlimited(), &device("d1"), call).await });
        let request = next(&mut requests).await;
        assert_eq!(body(&request), br#"{ "n":1.0 }"#);
        let name = request
            .message()
            .application_properties
            .as_ref()
            .unwrap()
            .0
            .get("IoThub-methodname");
        assert_eq!(name, Some(&SimpleValue::String("blink".into())));
        let id = request.message().properties.as_ref().unwrap().correlation_id.clone();
        let Some(MessageId::Uuid(uuid)) = &id else {
            panic!("{id:?}");
        };
        let id = match as_text {
            true => MessageId::String(Uuid::from_slice(uuid.as_inner()).unwrap().to_string()),
            false => MessageId::Uuid(uuid.clone()),
        };
        let answer = Message::builder()
            .properties(Properties::builder().correlation_id(id).build())
            .application_properties(
                ApplicationProperties::builder()
                    .insert("IoThub-status", 207_i32)
                    .build(),
            )
            .data(&br#"[ 1.50 ]"#[..])
            .build();
        answers.send(answer).await.unwrap();
        let answer = invoked.await.unwrap().unwrap();
        assert_eq!((answer.status, &answer.payload[..]), (207, &b"[ 1.50 ]"[..]));
    }
    // A second link of the device takes the methods over.
    let mut other = Session::begin(&mut client.connection).await.unwrap();
    let _newer = receiver(&mut other, "MethodsReceiverLink", address).await;
    let ended = receiver_detached(&mut requests).await;
    assert!(ended.contains("Stolen"), "{ended}");
}

#[tokio::test]
async fn a_twin_is_read_reported_and_watched() {
    let hub = hub_with(&["d1"]);
    let mut client = connect(&hub, "d1").await;
    let address = "/devices/d1/twin";
    let mut requests = sender(&mut client.session, "TwinSenderLink", address).await;
    let mut replies = receiver(&mut client.session, "TwinReceiverLink", address).await;
    let cases = [
        ("GET", None, " ", 200),
        ("PATCH", Some("/properties/reported"), r#"{"on":true}"#, 204),
        ("PATCH", Some("/properties/reported"), "nonsense", 400),
        ("PUT", NOTIFICATIONS, "", 200),
        ("POST", Some("/properties/desired"), "{}", 400),
    ];
    for (operation, resource, text, status) in cases {
        requests.send(twin_request(operation, resource, text)).await.unwrap();
        let reply = next(&mut replies).await;
        assert_eq!(
            annotation(&reply, "status"),
            Some(&Value::Int(status)),
            "{operation} {text}"
        );
        let id = reply.message().properties.as_ref().unwrap().correlation_id.clone();
        assert_eq!(id, Some(MessageId::String(format!("{operation}1"))));
        match (operation, status) {
            ("GET", _) => {
                let twin: serde_json::Value = serde_json::from_slice(&body(&reply)).unwrap();
                assert_eq!(twin, json!({"desired": {"$version": 1}, "reported": {"$version": 1}}));
            }
            ("PATCH", 204) => assert_eq!(annotation(&reply, "version"), Some(&Value::Long(2))),
            _ => {}
        }
        replies.accept(&reply).await.unwrap();
    }

    set_level(&hub, "d1");
    let change = next(&mut replies).await;
    let patch: serde_json::Value = serde_json::from_slice(&body(&change)).unwrap();
    assert_eq!(patch, json!({"level": 3, "$version": 2}));
    assert_eq!(
        annotation(&change, "resource"),
        Some(&Value::from("/properties/desired"))
    );
    assert!(
        change
            .message()
            .properties
            .as_ref()
            .is_none_or(|properties| properties.correlation_id.is_none())
    );

    requests.send(twin_request("DELETE", NOTIFICATIONS, "")).await.unwrap();
    assert_eq!(annotation(&next(&mut replies).await, "status"), Some(&Value::Int(200)));
    set_level(&hub, "d1");
    requests.send(twin_request("GET", None, "")).await.unwrap();
    let reply = next(&mut replies).await;
    assert_eq!(
        annotation(&reply, "status"),
        Some(&Value::Int(200)),
        "no notification comes before it"
    );
}

#[tokio::test]
async fn who_asks_again_for_changes_of_a_twin_misses_none() {
    let hub = hub_with(&["d1"]);
    let mut client = connect(&hub, "d1").await;
    let address = "/devices/d1/twin";
    let mut requests = sender(&mut client.session, "TwinSenderLink", address).await;
    let replies = Receiver::builder().name("TwinReceiverLink").source(address);
    let replies = replies.credit_mode(CreditMode::Manual).attach(&mut client.session);
    let mut replies = replies.await.unwrap();
    requests.send(twin_request("PUT", NOTIFICATIONS, "")).await.unwrap();
    set_level(&hub, "d1");
    requests.send(twin_request("PUT", NOTIFICATIONS, "")).await.unwrap();
    // Only now may anything come: two answers, and the change in between.
    replies.set_credit(3).await.unwrap();
    let mut bodies = Vec::new();
    for _ in 0..3 {
        bodies.push(body(&next(&mut replies).await));
    }
    let told = bodies.iter().filter(|body| body.starts_with(b"{")).count();
    assert_eq!(told, 1, "{bodies:?}");
}

fn twin_request(operation: &str, resource: Option<&str>, body: &str) -> Message<Data> {
    let mut annotations = MessageAnnotations::builder().insert("operation", operation);
    if let Some(resource) = resource {
        annotations = annotations.insert("resource", resource);
    }
    Message::builder()
        .message_annotations(annotations.build())
        .properties(Properties::builder().correlation_id(format!("{operation}1")).build())
        .data(body.as_bytes().to_vec())
        .build()
}

/// Sets a desired property.
fn set_level(hub: &Hub, id: &str) {
    let request = TwinRequest::parse(br#"{"properties":{"desired":{"level":3}}}"#).unwrap();
    let grant = Grant::unlimited();
    hub.write_twin(&grant, &device(id), IfMatch::Absent, &request, Write::Merge)
        .unwrap();
}

const NOTIFICATIONS: Option<&str> = Some("/notifications/twin/properties/desired");

#[tokio::test]
async fn many_devices_share_a_connection_and_the_names_of_links() {
    let ids: Vec<String> = (0..20).map(|n| format!("d{n}")).collect();
    let hub = hub_with(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let mut client = Client::connect(&hub).await;
    let mut links = Vec::new();
    for id in &ids {
        assert_eq!(client.put_token(&token(id)).await, 200);
        let mut session = Session::begin(&mut client.connection).await.unwrap();
        let events = format!("/devices/{id}/messages/events");
        let events = sender(&mut session, "TelemetrySenderLink", &events).await;
        let messages = format!("/devices/{id}/messages/deviceBound");
        let messages = receiver(&mut session, "TelemetryReceiverLink", &messages).await;
        links.push((session, events, messages));
    }
    for (id, (_, events, messages)) in ids.iter().zip(&mut links) {
        assert_eq!(verdict(events.send(message(id)).await.unwrap()), "accepted");
        let text: &'static str = id.clone().leak();
        send_to(&hub, id, text);
        let delivery = next(messages).await;
        assert_eq!(body(&delivery), id.as_bytes());
        messages.accept(&delivery).await.unwrap();
    }
    let mut seen: Vec<_> = hub
        .telemetry()
        .events()
        .iter()
        .map(|event| event.source.clone())
        .collect();
    let mut expected: Vec<_> = ids.iter().map(|id| device(id)).collect();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);

    // A device goes when the last of its links does, and leaves the others alone.
    let (mut session, events, messages) = links.remove(0);
    events.close().await.unwrap();
    messages.close().await.unwrap();
    session.end().await.unwrap();
    let gone = |event: &Event| matches!(event, Event::Disconnected { target, .. } if *target == device("d0"));
    hub.journal().wait_for(gone).await;
    assert_eq!(
        hub.journal().count(|event| matches!(event, Event::Disconnected { .. })),
        1
    );
}

#[tokio::test]
async fn a_device_is_only_itself() {
    let hub = hub_with(&["d1", "d2"]);
    let mut client = connect(&hub, "d1").await;
    for address in [
        "/devices/d2/messages/events",
        "/devices/d1/modules/m/messages/events",
        "/devices/D1/messages/events",
        "/devices/nobody/messages/events",
    ] {
        assert_eq!(client.refusal(address).await, "amqp:unauthorized-access", "{address}");
    }
    assert_eq!(client.refusal("/devices/d1/nothing").await, "amqp:not-found");
    assert_eq!(
        client.refusal("/messages/devicebound").await,
        "amqp:unauthorized-access"
    );
    // Nobody was connected by any of it.
    assert_eq!(hub.journal().count(|event| matches!(event, Event::Connected { .. })), 0);
}

#[tokio::test]
async fn a_newer_connection_takes_over_and_a_lost_identity_ends_it() {
    let hub = hub_with(&["d1"]);
    let events = "/devices/d1/messages/events";
    let mut first = connect(&hub, "d1").await;
    let mut older = sender(&mut first.session, "s", events).await;
    let mut waiting = receiver(&mut first.session, "r", "/devices/d1/messages/devicebound").await;
    send_to(&hub, "d1", "held");
    assert_eq!(body(&next(&mut waiting).await), b"held");

    let mut second = connect(&hub, "d1").await;
    let mut newer = sender(&mut second.session, "s", events).await;
    assert_eq!(detached(&mut older).await, "amqp:link:stolen");
    let ended = receiver_detached(&mut waiting).await;
    assert!(ended.contains("Stolen"), "{ended}");
    assert_eq!(verdict(newer.send(message("on")).await.unwrap()), "accepted");
    // What the older one held is given back, and the newer one gets it.
    let mut messages = receiver(&mut second.session, "r", "/devices/d1/messages/devicebound").await;
    assert_eq!(body(&next(&mut messages).await), b"held");

    put_device(&hub, "d1", Some("*"), true);
    assert_eq!(detached(&mut newer).await, "amqp:unauthorized-access");
    put_device(&hub, "d1", Some("*"), false);
    let mut third = connect(&hub, "d1").await;
    let mut links = sender(&mut third.session, "s", events).await;
    hub.delete_device(&Grant::unlimited(), "d1", &IfMatch::Any).unwrap();
    assert_eq!(detached(&mut links).await, "amqp:not-found");
}

#[tokio::test]
async fn a_token_that_expires_takes_only_the_links_of_its_device() {
    let hub = hub_with(&["d1", "d2"]);
    let mut client = Client::connect(&hub).await;
    let soon = hub.clock().now().unix_timestamp() + 3600;
    for (id, expiry) in [("d1", soon), ("d2", LATER)] {
        let token = sign_for(&format!("localhost%2Fdevices%2F{id}"), expiry);
        assert_eq!(client.put_token(&token).await, 200);
    }
    let mut first = sender(&mut client.session, "1", "/devices/d1/messages/events").await;
    let mut second = sender(&mut client.session, "2", "/devices/d2/messages/events").await;
    hub.clock().advance(Duration::from_secs(4000));
    assert_eq!(detached(&mut first).await, "amqp:unauthorized-access");
    assert_eq!(verdict(second.send(message("on")).await.unwrap()), "accepted");
    let gone = |event: &Event| matches!(event, Event::Disconnected { target, .. } if *target == device("d1"));
    drop(first);
    hub.journal().wait_for(gone).await;
}

//! What goes over the wire, as Microsoft's device SDKs need it.

use fe2o3_amqp_types::{messaging::Properties, primitives::Timestamp};
use iothub_emulator::{Event, Outcome};
use serde_json::{Value, json};

use super::{
    connected, hub,
    raw::{puback, publish, publish_acknowledged, subscribe, unsubscribe},
};
use crate::{amqp::Service, client::Client};

#[tokio::test]
async fn a_device_pings_and_is_heard() {
    let emulator = hub().await;
    let mut lamp = connected(&emulator, "lamp").await;
    lamp.send([0xC0, 0]).await;
    assert_eq!(lamp.packet().await, [0xD0, 0]);
    lamp.send([0xE0, 0]).await;
    lamp.is_closed().await;
}

#[tokio::test]
async fn a_subscription_is_granted_at_least_once_at_most() {
    let emulator = hub().await;
    let mut lamp = connected(&emulator, "lamp").await;
    for (qos, granted) in [(0, 0), (1, 1), (2, 1)] {
        lamp.send(subscribe(7, "$iothub/methods/POST/#", qos)).await;
        assert_eq!(lamp.packet().await, [0x90, 3, 0, 7, granted]);
    }
    lamp.send(unsubscribe(8, "$iothub/methods/POST/#")).await;
    assert_eq!(lamp.packet().await, [0xB0, 2, 0, 8]);
}

#[tokio::test]
async fn a_message_to_a_device_has_the_topic_that_every_sdk_can_read() {
    let emulator = hub().await;
    let mut service = Service::connect(&emulator).await;
    let properties = Properties::builder()
        .correlation_id("c/1".to_owned())
        .content_type("text/plain")
        .absolute_expiry_time(Timestamp::from_milliseconds(4_102_444_800_500))
        .build();
    service.send("lamp", "m&1", Some("full"), properties, "on").await;
    let mut lamp = connected(&emulator, "lamp").await;
    lamp.send(subscribe(1, "devices/lamp/messages/devicebound/#", 1)).await;
    assert_eq!(lamp.packet().await, [0x90, 3, 0, 1, 1]);
    let topic = "devices/lamp/messages/devicebound/%24.to=%2Fdevices%2Flamp%2Fmessages%2Fdevicebound&%24.mid=m%261\
                 &%24.cid=c%2F1&%24.exp=2100-01-01T00%3A00%3A00.5000000Z&%24.ct=text%2Fplain&iothub-ack=full&colour=red";
    assert_eq!(lamp.publish().await, (0x32, topic.to_owned(), b"\x00\x01on".to_vec()));
    lamp.send(puback(1)).await;
    let completed = |event: &Event| {
        matches!(
            event,
            Event::Settled {
                outcome: Outcome::Completed,
                ..
            }
        )
    };
    emulator.journal().wait_for(completed).await;
}

#[tokio::test]
async fn a_message_without_properties_has_a_bag_all_the_same() {
    let emulator = hub().await;
    let mut lamp = connected(&emulator, "lamp").await;
    lamp.send(subscribe(1, "devices/lamp/messages/devicebound/#", 0)).await;
    lamp.packet().await;
    let mut service = Service::connect(&emulator).await;
    service.send("lamp", "", None, Properties::default(), "").await;
    let topic = "devices/lamp/messages/devicebound/%24.to=%2Fdevices%2Flamp%2Fmessages%2Fdevicebound&colour=red";
    assert_eq!(lamp.publish().await, (0x30, topic.to_owned(), vec![]));
    // Nobody confirms what is sent once: it is done when it is sent.
    let completed = |event: &Event| {
        matches!(
            event,
            Event::Settled {
                outcome: Outcome::Completed,
                ..
            }
        )
    };
    emulator.journal().wait_for(completed).await;
}

#[tokio::test]
async fn a_method_comes_as_it_was_invoked_and_is_answered_by_its_request_id() {
    let emulator = hub().await;
    let mut client = Client::new(&emulator, "service").await;
    let mut lamp = connected(&emulator, "lamp").await;
    lamp.send(subscribe(1, "$iothub/methods/POST/#", 0)).await;
    lamp.packet().await;
    let body = r#"{"methodName":"blink","payload":{ "n": 1.0 }}"#;
    let invoke = client.call("POST", "/twins/lamp/methods", &[], body);
    let device = async {
        let (first, topic, payload) = lamp.publish().await;
        let request = topic.strip_prefix("$iothub/methods/POST/blink/?$rid=").unwrap();
        assert!(
            request.len() <= 8 && request.bytes().all(|b| b.is_ascii_hexdigit()),
            "{topic}"
        );
        assert_eq!((first, &*payload), (0x30, &br#"{ "n": 1.0 }"#[..]));
        let answer = format!("$iothub/methods/res/207/?$rid={request}");
        lamp.send(publish("$iothub/methods/res/200/?$rid=0", "late")).await;
        lamp.send(publish(&answer, "[ 1.50 ]")).await;
    };
    let (reply, ()) = tokio::join!(invoke, device);
    assert_eq!(reply.body, r#"{"status":207,"payload":[ 1.50 ]}"#);
}

#[tokio::test]
async fn a_twin_is_read_and_reported_to() {
    let emulator = hub().await;
    let mut lamp = connected(&emulator, "lamp").await;
    // Without a subscription nobody would hear an answer.
    lamp.send(publish("$iothub/twin/GET/?$rid=0", "")).await;
    lamp.send(subscribe(1, "$iothub/twin/res/#", 0)).await;
    lamp.packet().await;
    lamp.send(publish("$iothub/twin/GET/?$rid=first", " ")).await;
    let (first, topic, payload) = lamp.publish().await;
    assert_eq!((first, &*topic), (0x30, "$iothub/twin/res/200/?$rid=first"));
    let twin: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(twin, json!({"desired": {"$version": 1}, "reported": {"$version": 1}}));

    let report = "$iothub/twin/PATCH/properties/reported/?$rid=2";
    lamp.send(publish_acknowledged(9, report, r#"{"on":true,"off":null}"#))
        .await;
    let topic = "$iothub/twin/res/204/?$rid=2&$version=2".to_owned();
    assert_eq!(lamp.publish().await, (0x30, topic, vec![]));
    assert_eq!(lamp.packet().await, puback(9));

    for (body, status, code) in [("{", 400, 400_006), (r#"{"a":{"$b":1}}"#, 400, 400_004)] {
        lamp.send(publish(report, body)).await;
        let (_, topic, payload) = lamp.publish().await;
        assert_eq!(topic, format!("$iothub/twin/res/{status}/?$rid=2"));
        let error: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(error["errorCode"], code, "{body}: {error}");
        assert!(error["message"].is_string() && error["trackingId"].is_string());
    }
}

#[tokio::test]
async fn changes_of_desired_properties_come_with_their_version() {
    let emulator = hub().await;
    let mut client = Client::new(&emulator, "service").await;
    let mut lamp = connected(&emulator, "lamp").await;
    lamp.send(subscribe(1, "$iothub/twin/PATCH/properties/desired/#", 1))
        .await;
    assert_eq!(lamp.packet().await, [0x90, 3, 0, 1, 1]);
    let patch = r#"{"properties":{"desired":{"colour":"red","old":null}}}"#;
    assert_eq!(client.call("PATCH", "/twins/lamp", &[], patch).await.status, 200);
    let (first, topic, payload) = lamp.publish().await;
    assert_eq!(
        (first, &*topic),
        (0x30, "$iothub/twin/PATCH/properties/desired/?$version=2")
    );
    let change: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(change, json!({"colour": "red", "old": null, "$version": 2}));
}

#[tokio::test]
async fn a_message_of_a_device_is_taken_apart_and_acknowledged() {
    let emulator = hub().await;
    let mut lamp = connected(&emulator, "lamp").await;
    let bag = "%24.mid=m1&%24.cid=c1&$.ct=application%2Fjson&%24.ce=utf-8&%24.ctime=2026-01-01T00%3A00%3A00Z\
               &%24.exp=2100-01-01T00%3A00%3A00.0000000Z&%24.uid=me&%24.to=x&%24.schema=s&%24.ifid=i&%24.sub=thermostat\
               &%24.on=out&a%2Fb=c%26d&empty=&bare&caf%C3%A9=%E2%98%95/";
    let topic = format!("devices/lamp/messages/events/{bag}");
    lamp.send(publish_acknowledged(0x1234, &topic, "{}")).await;
    assert_eq!(lamp.packet().await, [0x40, 2, 0x12, 0x34]);
    let events = emulator.telemetry();
    let [event] = &events[..] else {
        panic!("{events:?}");
    };
    let message = &event.message;
    assert_eq!(
        (event.source.device(), event.authentication, &*message.body),
        ("lamp", "sas", &b"{}"[..])
    );
    let texts = [
        &message.message_id,
        &message.correlation_id,
        &message.content_type,
        &message.content_encoding,
        &message.creation_time,
        &message.to,
        &message.message_schema,
        &message.interface_id,
        &message.component,
    ]
    .map(|text| text.as_deref().unwrap());
    assert_eq!(
        texts,
        [
            "m1",
            "c1",
            "application/json",
            "utf-8",
            "2026-01-01T00:00:00Z",
            "x",
            "s",
            "i",
            "thermostat"
        ]
    );
    assert_eq!(message.user_id.as_deref(), Some(&b"me"[..]));
    assert_eq!(message.expiry.unwrap().unix_timestamp(), 4_102_444_800);
    let own: Vec<(&str, &str)> = message
        .properties
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(
        own,
        [
            ("$.on", "out"),
            ("a/b", "c&d"),
            ("empty", ""),
            ("bare", ""),
            ("café", "☕")
        ]
    );
}

#[tokio::test]
async fn a_message_to_be_retained_says_so() {
    let emulator = hub().await;
    let mut lamp = connected(&emulator, "lamp").await;
    let mut message = publish_acknowledged(1, "devices/lamp/messages/events", "on");
    message[0] |= 1;
    lamp.send(message).await;
    lamp.packet().await;
    let properties = &emulator.telemetry()[0].message.properties;
    assert_eq!(properties[..], [("mqtt-retain".to_owned(), "true".to_owned())]);
}

//! What .NET and Java send over MQTT, and how their parsers take apart what they get.

use fe2o3_amqp::Sender;
use fe2o3_amqp_types::{
    messaging::{ApplicationProperties, Message, Outcome, Properties},
    primitives::Timestamp,
};
use serde_json::{Value, json};

use super::{
    hub,
    raw::{Raw, connect_with, puback, publish, publish_acknowledged, subscribe, token},
};
use crate::{amqp::Service, client::Client};

const FAR: u64 = 4_102_444_800;

/// .NET says five minutes of keep-alive, Java 230 seconds, and neither begins a clean session.
const DOTNET: (u16, &str) = (
    300,
    "?api-version=2020-09-30&DeviceClientType=.NET%2F1.42.3%20%28.NET%208.0.1%3B%20X64%29",
);
const JAVA: (u16, &str) = (
    230,
    "?api-version=2020-09-30&model-id=dtmi:com:example:Lamp;1&DeviceClientType=com.microsoft.azure.sdk.iot.iot-device-client%2F2.5.0",
);

/// Connects, and gives what the hub answers.
async fn connect(emulator: &iothub_emulator::Emulator, client: (u16, &str), expiry: u64) -> (Raw, Vec<u8>) {
    let (keep_alive, query) = client;
    let mut device = Raw::open(emulator).await;
    let user = format!("localhost/lamp/{query}");
    let password = token(emulator, "lamp", expiry);
    device
        .send(connect_with(0xC0, keep_alive, &["lamp", &user, &password]))
        .await;
    let answer = device.packet().await;
    (device, answer)
}

/// The pairs in a bag, decoded.
fn pairs(bag: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8()
            .unwrap()
            .into_owned()
    };
    let pair = |text: &str| {
        let parts: Vec<&str> = text.split('=').collect();
        // Java throws at a key without a value and at an empty value; Node takes no value with another `=` in it.
        let [key, value] = parts[..] else { panic!("{text}") };
        assert!(!key.is_empty() && !value.is_empty(), "{text}");
        (decoded(key), decoded(value))
    };
    bag.split('&').map(pair).collect()
}

/// Whether .NET's exact format for a time fits: seven digits behind the second.
fn fits_dotnet(time: &str) -> bool {
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.0000000Z"
}

#[tokio::test]
async fn the_topic_of_a_message_suits_the_parsers_of_dotnet_java_and_node() {
    let emulator = hub().await;
    let mut service = Service::connect(&emulator).await;
    let mut sender = Sender::attach(&mut service.session, "own", "/messages/devicebound")
        .await
        .unwrap();
    let properties = Properties::builder()
        .to("/devices/lamp/messages/devicebound".to_owned())
        .message_id("m/1=2&3".to_owned())
        .absolute_expiry_time(Timestamp::from_milliseconds(4_102_444_800_000))
        .build();
    let own = ApplicationProperties::builder()
        .insert("iothub-creation-time-utc", "2026-01-01T00:00:00Z")
        .insert("a/b=c", "d&e/f%")
        .insert("empty", "");
    let message = Message::builder()
        .properties(properties)
        .application_properties(own.build())
        .data(Vec::new())
        .build();
    assert!(matches!(sender.send(message).await.unwrap(), Outcome::Accepted(_)));

    let (mut lamp, connected) = connect(&emulator, DOTNET, FAR).await;
    assert_eq!(connected, [0x20, 2, 0, 0]);
    lamp.send(subscribe(1, "devices/lamp/messages/devicebound/#", 1)).await;
    assert_eq!(lamp.packet().await, [0x90, 3, 0, 1, 1]);
    let (_, topic, _) = lamp.publish().await;
    lamp.send(puback(1)).await;

    // .NET and Node take the fifth part, of five; Java what begins at the first encoded dollar.
    let parts: Vec<&str> = topic.split('/').collect();
    let [.., bag] = parts[..] else { panic!("{topic}") };
    assert_eq!((parts.len(), topic.find("%24")), (5, topic.find(bag)), "{topic}");
    let found = pairs(bag);
    let value = |key: &str| found.iter().find(|(name, _)| name == key).map(|(_, value)| &**value);
    assert_eq!(value("$.mid"), Some("m/1=2&3"));
    assert_eq!(value("$.to"), Some("/devices/lamp/messages/devicebound"));
    assert_eq!(value("a/b=c"), Some("d&e/f%"));
    assert_eq!(value("$.exp"), Some("2100-01-01T00:00:00.0000000Z"));
    assert!(
        ["$.exp", "$.ctime"]
            .iter()
            .all(|key| value(key).is_some_and(fits_dotnet)),
        "{found:?}"
    );
    // There is no way to write it that all can read, so it is left out.
    assert_eq!(value("empty"), None);
}

#[tokio::test]
async fn a_dotnet_device_ends_its_bags_with_a_slash_and_knows_replies_by_a_pattern() {
    let emulator = hub().await;
    let (mut lamp, _) = connect(&emulator, DOTNET, FAR).await;
    let topic = "devices/lamp/messages/events/%24.mid=m1&%24.ct=application%2Fjson&k=v%2Fw/";
    lamp.send(publish_acknowledged(1, topic, "{}")).await;
    assert_eq!(lamp.packet().await, puback(1));
    let message = emulator.telemetry()[0].message.clone();
    assert_eq!(message.message_id.as_deref(), Some("m1"));
    assert_eq!(message.properties, [("k".to_owned(), "v/w".to_owned())]);

    lamp.send(subscribe(2, "$iothub/twin/res/#", 1)).await;
    assert_eq!(lamp.packet().await, [0x90, 3, 0, 2, 1]);
    let id = "3b1f8b6e-2d0a-4b5e-9a54-6f1f0c9d7e21";
    lamp.send(publish_acknowledged(3, &format!("$iothub/twin/GET/?$rid={id}"), ""))
        .await;
    let (_, topic, payload) = lamp.publish().await;
    // The status is the fourth part, the query the last; what is behind `?$rid=` is compared with what was sent.
    let parts: Vec<&str> = topic.split('/').collect();
    let expected = ["$iothub", "twin", "res", "200", &format!("?$rid={id}")];
    assert_eq!(parts, expected);
    let twin: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(twin, json!({"desired": {"$version": 1}, "reported": {"$version": 1}}));
    assert_eq!(lamp.packet().await, puback(3));

    let mut owner = Client::new(&emulator, "iothubowner").await;
    lamp.send(subscribe(4, "$iothub/methods/POST/#", 1)).await;
    assert_eq!(lamp.packet().await, [0x90, 3, 0, 4, 1]);
    let invoke = owner.call("POST", "/twins/lamp/methods", &[], r#"{"methodName":"blink"}"#);
    let device = async {
        let (_, topic, payload) = lamp.publish().await;
        let parts: Vec<&str> = topic.split('/').collect();
        let [_, _, "POST", "blink", query] = parts[..] else {
            panic!("{topic}")
        };
        // The id is all that follows the first six characters.
        assert_eq!((&query[..6], &*payload), ("?$rid=", &b"null"[..]));
        lamp.send(publish_acknowledged(
            5,
            &format!("$iothub/methods/res/200/?$rid={}", &query[6..]),
            "{}",
        ))
        .await;
        assert_eq!(lamp.packet().await, puback(5));
    };
    let (reply, ()) = tokio::join!(invoke, device);
    assert_eq!(reply.json(), json!({"status": 200, "payload": {}}));
}

#[tokio::test]
async fn a_java_device_names_its_model_first_and_writes_dollars_encoded() {
    let emulator = hub().await;
    let (mut lamp, connected) = connect(&emulator, JAVA, FAR).await;
    assert_eq!(connected, [0x20, 2, 0, 0]);
    let mut owner = Client::new(&emulator, "iothubowner").await;
    assert_eq!(
        owner.get("/twins/lamp").await.json()["modelId"],
        "dtmi:com:example:Lamp;1"
    );
    let topic = "devices/lamp/messages/events/%24.mid=m1&%24.cid=c1&k=v";
    lamp.send(publish_acknowledged(1, topic, "on")).await;
    assert_eq!(lamp.packet().await, puback(1));
    let message = emulator.telemetry()[0].message.clone();
    let ids = (message.message_id.as_deref(), message.correlation_id.as_deref());
    assert_eq!(ids, (Some("m1"), Some("c1")));

    lamp.send(subscribe(2, "$iothub/twin/res/#", 0)).await;
    lamp.packet().await;
    lamp.send(publish(
        "$iothub/twin/PATCH/properties/reported/?$rid=7",
        r#"{"on":true}"#,
    ))
    .await;
    let (_, topic, _) = lamp.publish().await;
    // Three digits of a status, and the version behind the id.
    assert_eq!(topic, "$iothub/twin/res/204/?$rid=7&$version=2");
}

#[tokio::test]
async fn a_device_that_renews_its_token_is_back_at_once_with_its_subscriptions() {
    let emulator = hub().await;
    for says_goodbye in [true, false] {
        let (mut first, _) = connect(&emulator, DOTNET, FAR).await;
        first.send(subscribe(1, "devices/lamp/messages/devicebound/#", 1)).await;
        first.packet().await;
        if says_goodbye {
            first.send([0xE0, 0]).await;
        }
        let (mut second, connected) = connect(&emulator, DOTNET, FAR - 1).await;
        assert_eq!(connected, [0x20, 2, 1, 0], "the session is there");
        first.is_closed().await;
        let mut service = Service::connect(&emulator).await;
        service.send("lamp", "m1", None, Properties::default(), "on").await;
        service.close().await;
        let (_, topic, payload) = second.publish().await;
        assert!(topic.contains("%24.mid=m1"), "{topic}");
        second.send(puback(u16::from_be_bytes([payload[0], payload[1]]))).await;
        second.send([0xE0, 0]).await;
        second.is_closed().await;
    }
}

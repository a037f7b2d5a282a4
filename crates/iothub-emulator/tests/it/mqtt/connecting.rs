//! Who gets in, and how long they stay.

use std::time::Duration;

use iothub_emulator::{Door, Emulator, EmulatorOptions, Event, SessionEnd};
use serde_json::json;

use super::{
    connected, hub,
    raw::{Raw, connect, connect_with, publish, publish_acknowledged, subscribe, token, user_name},
    refused,
};
use crate::{
    certificates::{Authority, create, self_signed, thumbprint},
    client::{self, Client},
};

const FAR: u64 = 4_102_444_800;

/// What the hub answers to a CONNECT before it closes, if it does.
async fn code(emulator: &Emulator, connect: Vec<u8>) -> u8 {
    let mut device = Raw::open(emulator).await;
    device.send(connect).await;
    let answer = device.packet().await;
    assert_eq!(answer[..3], [0x20, 2, 0]);
    if answer[3] != 0 {
        device.is_closed().await;
    }
    answer[3]
}

#[tokio::test]
async fn tokens_open_the_door_to_their_own_device() {
    let emulator = hub().await;
    emulator.add_device("door").unwrap();
    let user = user_name(&emulator, "lamp");
    let own = token(&emulator, "lamp", FAR);
    let with = |password: &str| connect_with(0xC2, 60, &["lamp", &user, password]);
    for (what, connect, expected) in [
        ("its own key", with(&own), 0),
        (
            "a policy for devices",
            with(&client::token(&emulator, "device", FAR)),
            0,
        ),
        (
            "a policy for all",
            with(&client::token(&emulator, "iothubowner", FAR)),
            0,
        ),
        (
            "a policy for services",
            with(&client::token(&emulator, "service", FAR)),
            5,
        ),
        ("the key of another", with(&token(&emulator, "door", FAR)), 5),
        (
            "a token that is over",
            with(&token(&emulator, "lamp", 1_000_000_000)),
            5,
        ),
        ("another signature", with(&own.replace("sig=", "sig=x")), 5),
        ("no token", with("x"), 5),
        ("nothing", connect_with(0x82, 60, &["lamp", &user]), 5),
        ("an empty password", with(""), 5),
        ("no user name", connect_with(0x02, 60, &["lamp"]), 5),
        (
            "another user name",
            connect_with(0xC2, 60, &["lamp", &user_name(&emulator, "door"), &own]),
            5,
        ),
        (
            "another host",
            connect_with(0xC2, 60, &["lamp", "else.where/lamp/?api-version=1", &own]),
            5,
        ),
        (
            "no api-version",
            connect_with(0xC2, 60, &["lamp", "localhost/lamp/", &own]),
            5,
        ),
        (
            "nobody",
            connect_with(0xC2, 60, &["ghost", &user_name(&emulator, "ghost"), &own]),
            5,
        ),
        ("no client id", connect_with(0xC2, 60, &["", &user, &own]), 2),
        ("no id at all", connect_with(0xC2, 60, &["a b", &user, &own]), 2),
        ("too many parts", connect_with(0xC2, 60, &["lamp/a/b", &user, &own]), 2),
    ] {
        assert_eq!(code(&emulator, connect).await, expected, "{what}");
    }
    refused(&emulator, "there is no api-version").await;
    refused(&emulator, "names the host").await;
}

#[tokio::test]
async fn a_device_that_is_disabled_is_refused_and_put_out() {
    let emulator = hub().await;
    let mut owner = Client::new(&emulator, "iothubowner").await;
    let mut lamp = connected(&emulator, "lamp").await;
    let again = connect(&emulator, "lamp", true);
    let disabled = r#"{"deviceId":"lamp","status":"disabled"}"#;
    assert_eq!(owner.put("/devices/lamp", Some("*"), disabled).await.status, 200);
    lamp.is_closed().await;
    assert_eq!(code(&emulator, again).await, 5);
    let put_out = |event: &Event| {
        matches!(
            event,
            Event::Disconnected {
                door: Door::Mqtt,
                end: Some(SessionEnd::Disabled),
                ..
            }
        )
    };
    emulator.journal().wait_for(put_out).await;
}

#[tokio::test]
async fn certificates_open_the_door_without_a_password() {
    let authority = Authority::new("fleet");
    let emulator = Emulator::start(EmulatorOptions {
        device_authorities: vec![authority.pem.clone()],
        ..Default::default()
    })
    .await
    .unwrap();
    let mut owner = Client::new(&emulator, "iothubowner").await;
    let own = self_signed("anything");
    let print = thumbprint(&own, &ring::digest::SHA256);
    let thumbprints = json!({"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": print}});
    create(&mut owner, "/devices/self", thumbprints).await;
    create(&mut owner, "/devices/lamp", json!({"type": "certificateAuthority"})).await;
    create(
        &mut owner,
        "/devices/lamp/modules/bulb",
        json!({"type": "certificateAuthority"}),
    )
    .await;
    for (id, identity, expected) in [
        ("self", &own, 0),
        ("lamp", &authority.issue("lamp"), 0),
        ("lamp/bulb", &authority.issue("lamp/bulb"), 0),
        ("lamp", &authority.issue("door"), 5),
        ("lamp/bulb", &authority.issue("lamp"), 5),
        ("self", &self_signed("self"), 5),
    ] {
        let mut device = Raw::open_as(&emulator, Some(identity)).await;
        device
            .send(connect_with(0x82, 60, &[id, &user_name(&emulator, id)]))
            .await;
        assert_eq!(device.packet().await, [0x20, 2, 0, expected], "{id}");
    }
}

#[tokio::test]
async fn the_connection_ends_with_the_token() {
    let emulator = hub().await;
    let now = u64::try_from(emulator.clock().now().unix_timestamp()).unwrap();
    let token = token(&emulator, "lamp", now + 3600);
    let mut lamp = Raw::open(&emulator).await;
    lamp.send(connect_with(0xC2, 60, &["lamp", &user_name(&emulator, "lamp"), &token]))
        .await;
    assert_eq!(lamp.packet().await, [0x20, 2, 0, 0]);
    emulator.clock().advance(Duration::from_secs(3599));
    lamp.send([0xC0, 0]).await;
    assert_eq!(lamp.packet().await, [0xD0, 0]);
    // Clients whose clock is behind have five minutes more.
    emulator.clock().advance(Duration::from_secs(302));
    lamp.is_closed().await;
}

#[tokio::test]
async fn a_device_that_promised_to_be_heard_of_and_is_not_is_gone() {
    let emulator = hub().await;
    let own = token(&emulator, "lamp", FAR);
    let mut lamp = Raw::open(&emulator).await;
    lamp.send(connect_with(0xC2, 1, &["lamp", &user_name(&emulator, "lamp"), &own]))
        .await;
    assert_eq!(lamp.packet().await, [0x20, 2, 0, 0]);
    let started = std::time::Instant::now();
    lamp.is_closed().await;
    assert!(started.elapsed() > Duration::from_millis(1400));
}

#[tokio::test]
async fn the_last_will_of_a_device_is_a_message() {
    let emulator = hub().await;
    let own = token(&emulator, "lamp", FAR);
    let user = user_name(&emulator, "lamp");
    let topic = "devices/lamp/messages/events/reason=lost";
    let with_will = |flags: u8| connect_with(0xC6 | flags, 60, &["lamp", topic, "bye", &user, &own]);

    let mut lamp = Raw::open(&emulator).await;
    lamp.send(with_will(0)).await;
    lamp.packet().await;
    // Who says goodbye leaves no will.
    lamp.send([0xE0, 0]).await;
    lamp.is_closed().await;
    assert!(emulator.telemetry().is_empty());

    let mut lamp = Raw::open(&emulator).await;
    lamp.send(with_will(0x28)).await;
    lamp.packet().await;
    lamp.finish().await;
    let left = |event: &Event| matches!(event, Event::Telemetry { .. });
    emulator.journal().wait_for(left).await;
    let message = emulator.telemetry()[0].message.clone();
    assert_eq!(message.body, "bye");
    let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        message.properties,
        [
            property("reason", "lost"),
            property("mqtt-retain", "true"),
            property("iothub-MessageType", "Will")
        ]
    );

    let elsewhere = connect_with(0xC6, 60, &["lamp", "devices/door/messages/events/", "bye", &user, &own]);
    assert_eq!(code(&emulator, elsewhere).await, 5);
}

#[tokio::test]
async fn the_model_that_a_device_names_is_in_its_twin() {
    let emulator = hub().await;
    let mut owner = Client::new(&emulator, "iothubowner").await;
    let created = owner
        .put(
            "/devices/lamp/modules/bulb",
            None,
            r#"{"deviceId":"lamp","moduleId":"bulb"}"#,
        )
        .await;
    assert_eq!(created.status, 200);
    for (id, path) in [("lamp", "/twins/lamp"), ("lamp/bulb", "/twins/lamp/modules/bulb")] {
        assert_eq!(owner.get(path).await.json()["modelId"].as_str().unwrap_or_default(), "");
        let user = format!("{}&model-id=dtmi%3Acom%3Aexample%3ALamp%3B1", user_name(&emulator, id));
        let connect = connect_with(0xC2, 60, &[id, &user, &token(&emulator, id, FAR)]);
        assert_eq!(code(&emulator, connect).await, 0);
        assert_eq!(owner.get(path).await.json()["modelId"], "dtmi:com:example:Lamp;1");
    }
}

#[tokio::test]
async fn modules_have_topics_of_their_own() {
    let emulator = hub().await;
    let mut owner = Client::new(&emulator, "iothubowner").await;
    owner
        .put(
            "/devices/lamp/modules/bulb",
            None,
            r#"{"deviceId":"lamp","moduleId":"bulb"}"#,
        )
        .await;
    let mut bulb = connected(&emulator, "lamp/bulb").await;
    // The device is somebody else, and does not take over.
    let mut lamp = connected(&emulator, "lamp").await;
    bulb.send(publish_acknowledged(
        1,
        "devices/lamp/modules/bulb/messages/events/a=1",
        "on",
    ))
    .await;
    assert_eq!(bulb.packet().await, [0x40, 2, 0, 1]);
    assert_eq!(emulator.telemetry()[0].source.module(), Some("bulb"));

    bulb.send(subscribe(2, "devices/lamp/modules/bulb/#", 1)).await;
    assert_eq!(bulb.packet().await, [0x90, 3, 0, 2, 1]);
    let mut service = crate::amqp::Service::connect(&emulator).await;
    service
        .send("lamp/modules/bulb", "m1", None, Default::default(), "off")
        .await;
    let (_, topic, body) = bulb.publish().await;
    let start = "devices/lamp/modules/bulb/messages/devicebound/%24.to=%2Fdevices%2Flamp%2Fmodules%2Fbulb%2Fmessages";
    assert!(topic.starts_with(start), "{topic}");
    assert_eq!(body, b"\x00\x01off");

    bulb.send(subscribe(3, "$iothub/methods/POST/#", 0)).await;
    bulb.packet().await;
    let invoke = owner.call("POST", "/twins/lamp/modules/bulb/methods", &[], r#"{"methodName":"x"}"#);
    let device = async {
        let (_, topic, payload) = bulb.publish().await;
        assert_eq!(payload, b"null");
        let (_, request) = topic.split_once("?$rid=").unwrap();
        bulb.send(publish(&format!("$iothub/methods/res/200/?$rid={request}"), ""))
            .await;
    };
    let (reply, ()) = tokio::join!(invoke, device);
    assert_eq!(reply.json(), json!({"status": 200, "payload": null}));
    lamp.send([0xC0, 0]).await;
    assert_eq!(lamp.packet().await, [0xD0, 0]);
}

//! What lives longer than a connection, and what does not.

use std::{fs, time::Duration};

use iothub_emulator::{Emulator, EmulatorOptions, Event, Outcome, SessionEnd, export_state};

use super::{
    connected, hub,
    raw::{Raw, connect, puback, publish, publish_acknowledged, subscribe, unsubscribe},
};
use crate::{amqp::Service, client::Client, directory::Directory};

const MESSAGES: &str = "devices/lamp/messages/devicebound/#";

/// A device that comes back to its session; `present` says whether the hub should remember it.
async fn resumed(emulator: &Emulator, present: bool) -> Raw {
    let mut device = Raw::open(emulator).await;
    device.send(connect(emulator, "lamp", false)).await;
    assert_eq!(device.packet().await, [0x20, 2, u8::from(present), 0]);
    device
}

async fn send(service: &mut Service, id: &str) {
    service.send("lamp", id, None, Default::default(), id).await;
}

fn settled(emulator: &Emulator, like: Outcome) -> usize {
    emulator
        .journal()
        .count(|event| matches!(event, Event::Settled { outcome, .. } if *outcome == like))
}

#[tokio::test]
async fn subscriptions_survive_a_reconnect_unless_the_session_is_clean() {
    let emulator = hub().await;
    let mut service = Service::connect(&emulator).await;
    let mut lamp = resumed(&emulator, false).await;
    lamp.send(subscribe(1, MESSAGES, 1)).await;
    lamp.packet().await;
    lamp.finish().await;

    send(&mut service, "m1").await;
    let mut lamp = resumed(&emulator, true).await;
    assert_eq!(lamp.publish().await.2, b"\x00\x01m1");
    lamp.send(puback(1)).await;
    lamp.send(unsubscribe(2, MESSAGES)).await;
    assert_eq!(lamp.packet().await, [0xB0, 2, 0, 2]);
    lamp.send(subscribe(3, "$iothub/methods/POST/#", 0)).await;
    lamp.packet().await;
    lamp.finish().await;

    // A clean session forgets, and is forgotten.
    connected(&emulator, "lamp").await.finish().await;
    let mut lamp = resumed(&emulator, false).await;
    let mut client = Client::new(&emulator, "service").await;
    let reply = client
        .call("POST", "/twins/lamp/methods", &[], r#"{"methodName":"x"}"#)
        .await;
    assert_eq!(reply.outcome(), "404 DeviceNotOnline");
    send(&mut service, "m2").await;
    lamp.send([0xC0, 0]).await;
    assert_eq!(
        lamp.packet().await,
        [0xD0, 0],
        "nothing came before the answer to the ping"
    );
}

#[tokio::test]
async fn what_was_not_confirmed_comes_again_by_the_same_number() {
    let emulator = hub().await;
    let mut service = Service::connect(&emulator).await;
    let mut lamp = resumed(&emulator, false).await;
    lamp.send(subscribe(1, MESSAGES, 1)).await;
    lamp.packet().await;
    for id in ["m1", "m2", "m3"] {
        send(&mut service, id).await;
    }
    for expected in [b"\x00\x01m1", b"\x00\x02m2", b"\x00\x03m3"] {
        let (first, _, rest) = lamp.publish().await;
        assert_eq!((first, &rest[..]), (0x32, &expected[..]));
    }
    // Out of order, as it pleases.
    lamp.send(puback(2)).await;
    emulator
        .journal()
        .wait_for(|event| matches!(event, Event::Settled { sequence: 2, .. }))
        .await;
    lamp.finish().await;

    let mut lamp = resumed(&emulator, true).await;
    for expected in [b"\x00\x01m1", b"\x00\x03m3"] {
        let (first, _, rest) = lamp.publish().await;
        assert_eq!(
            (first, &rest[..]),
            (0x3A, &expected[..]),
            "the flag of a duplicate is set"
        );
    }
    lamp.send([puback(3), puback(1), puback(1), puback(77)].concat()).await;
    lamp.send([0xC0, 0]).await;
    assert_eq!(lamp.packet().await, [0xD0, 0]);
    assert_eq!(settled(&emulator, Outcome::Completed), 3);
    assert_eq!(
        settled(&emulator, Outcome::Abandoned),
        0,
        "a reconnect is nobody's fault"
    );
}

#[tokio::test]
async fn a_message_comes_again_when_its_lock_runs_out() {
    let emulator = hub().await;
    let mut service = Service::connect(&emulator).await;
    let mut lamp = connected(&emulator, "lamp").await;
    lamp.send(subscribe(1, MESSAGES, 1)).await;
    lamp.packet().await;
    send(&mut service, "m1").await;
    assert_eq!(lamp.publish().await.0, 0x32);
    emulator.clock().advance(Duration::from_secs(61));
    let (first, _, rest) = lamp.publish().await;
    assert_eq!((first, &rest[..]), (0x3A, &b"\x00\x01m1"[..]));
    lamp.send(puback(1)).await;
    lamp.send([0xC0, 0]).await;
    lamp.packet().await;
    assert_eq!(settled(&emulator, Outcome::Completed), 1);
}

#[tokio::test]
async fn a_second_connection_takes_over() {
    let emulator = hub().await;
    let mut service = Service::connect(&emulator).await;
    let mut first = connected(&emulator, "lamp").await;
    first.send(subscribe(1, MESSAGES, 1)).await;
    first.packet().await;
    send(&mut service, "m1").await;
    assert_eq!(first.publish().await.2, b"\x00\x01m1");
    let mut second = connected(&emulator, "lamp").await;
    first.is_closed().await;
    let taken_over = |event: &Event| {
        matches!(
            event,
            Event::Disconnected {
                end: Some(SessionEnd::TakenOver),
                ..
            }
        )
    };
    emulator.journal().wait_for(taken_over).await;
    second.send(subscribe(1, MESSAGES, 1)).await;
    second.packet().await;
    assert_eq!(second.publish().await.2, b"\x00\x01m1");
}

#[tokio::test]
async fn a_new_identity_inherits_no_session() {
    let emulator = hub().await;
    let mut owner = Client::new(&emulator, "iothubowner").await;
    let mut lamp = resumed(&emulator, false).await;
    lamp.send(subscribe(1, MESSAGES, 1)).await;
    lamp.packet().await;
    assert_eq!(owner.delete("/devices/lamp", Some("*")).await.status, 204);
    lamp.is_closed().await;
    emulator.add_device("lamp").unwrap();
    resumed(&emulator, false).await;
}

/// What the hub would know of sessions if it were gone now.
fn sessions_on_disk(directory: &Directory) -> Vec<String> {
    let copy = Directory::new();
    fs::copy(directory.file("hub.jsonl"), copy.file("hub.jsonl")).unwrap();
    let mut lines = Vec::new();
    export_state(copy.path(), &mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    let sessions = lines.lines().filter(|line| line.starts_with("{\"mqttSession\""));
    sessions.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_session_is_there_when_the_hub_is_again() {
    let directory = Directory::new();
    let start = || {
        Emulator::start(EmulatorOptions {
            data_dir: Some(directory.path().to_owned()),
            ..Default::default()
        })
    };
    let emulator = start().await.unwrap();
    emulator.add_device("lamp").unwrap();
    let mut service = Service::connect(&emulator).await;
    let mut lamp = resumed(&emulator, false).await;
    for (id, filter, qos) in [
        (1, MESSAGES, 1),
        (2, "$iothub/methods/POST/#", 0),
        (3, "$iothub/twin/res/#", 0),
    ] {
        lamp.send(subscribe(id, filter, qos)).await;
        lamp.packet().await;
    }
    let expected = r#"{"mqttSession":{"deviceId":"lamp","messages":"atLeastOnce","methods":true,"twinAnswers":true,"lastPacketId":0}}"#;
    assert_eq!(
        sessions_on_disk(&directory),
        [expected],
        "what the device was told is stored"
    );
    for id in ["m1", "m2"] {
        send(&mut service, id).await;
        lamp.publish().await;
    }
    lamp.send(puback(1)).await;
    emulator
        .journal()
        .wait_for(|event| matches!(event, Event::Settled { sequence: 1, .. }))
        .await;
    service.close().await;
    emulator.shutdown().await;

    let emulator = start().await.unwrap();
    let mut lamp = resumed(&emulator, true).await;
    let (first, _, rest) = lamp.publish().await;
    assert_eq!((first, &rest[..]), (0x3A, &b"\x00\x02m2"[..]));
    let mut client = Client::new(&emulator, "service").await;
    let invoke = async {
        let body = r#"{"methodName":"x"}"#;
        client.call("POST", "/twins/lamp/methods", &[], body).await
    };
    let answer = async {
        let (_, topic, _) = lamp.publish().await;
        let request = topic.split_once("$rid=").unwrap().1;
        lamp.send(publish(&format!("$iothub/methods/res/207/?$rid={request}"), "{}"))
            .await;
    };
    let (reply, ()) = tokio::join!(invoke, answer);
    assert_eq!(reply.json()["status"], 207, "{reply:?}");
    lamp.finish().await;
    // One that wants to begin anew has nothing left on the disk when it is in.
    connected(&emulator, "lamp").await;
    assert_eq!(sessions_on_disk(&directory), <[&str; 0]>::default());
    emulator.shutdown().await;

    let emulator = start().await.unwrap();
    resumed(&emulator, false).await;
}

#[tokio::test]
async fn a_device_that_ends_its_subscription_has_no_methods_any_more() {
    let emulator = hub().await;
    let mut client = Client::new(&emulator, "service").await;
    let mut lamp = connected(&emulator, "lamp").await;
    for (bytes, expected) in [
        (subscribe(1, "$iothub/methods/POST/#", 0), "504 GatewayTimeout"),
        (unsubscribe(2, "$iothub/methods/POST/#"), "404 DeviceNotOnline"),
    ] {
        lamp.send(bytes).await;
        lamp.packet().await;
        let path = "/twins/lamp/methods";
        let body = r#"{"methodName":"x","responseTimeoutInSeconds":300}"#;
        let invoke = client.call("POST", path, &[], body);
        let turn = async {
            if expected.starts_with("504") {
                lamp.publish().await;
                emulator.clock().advance(Duration::from_secs(301));
            }
        };
        let (reply, ()) = tokio::join!(invoke, turn);
        assert_eq!(reply.outcome(), expected);
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_stored_in_the_order_in_which_it_came() {
    let emulator = hub().await;
    let mut lamp = connected(&emulator, "lamp").await;
    let all: Vec<u8> = (1..=500)
        .flat_map(|id: u16| publish_acknowledged(id, "devices/lamp/messages/events/", &id.to_string()))
        .collect();
    lamp.send(all).await;
    for id in 1..=500_u16 {
        assert_eq!(lamp.packet().await, puback(id));
    }
    let bodies: Vec<String> = emulator
        .telemetry()
        .iter()
        .map(|event| String::from_utf8(event.message.body.to_vec()).unwrap())
        .collect();
    assert_eq!(bodies, (1..=500).map(|id| id.to_string()).collect::<Vec<_>>());
}

//! What no device should send: the connection ends, and the hub lives on.

use super::{
    connected, hub,
    raw::{Raw, connect, connect_with, packet, publish, subscribe, text, token, user_name},
    refused,
};

#[tokio::test]
async fn broken_packets_end_the_connection() {
    let emulator = hub().await;
    let two = [0, 2];
    for (what, bytes) in [
        ("a type that there is not", vec![0x00, 0]),
        ("another", vec![0xF0, 0]),
        ("what belongs to quality 2", packet(0x50, &[&two])),
        ("the same", packet(0x62, &[&two])),
        ("the answer of a server", packet(0x20, &[&[0, 0]])),
        ("another one", packet(0x90, &[&two, &[0]])),
        ("a second CONNECT", connect(&emulator, "lamp", true)),
        ("flags on a ping", vec![0xC1, 0]),
        ("a ping with a body", vec![0xC0, 1, 0]),
        ("five bytes of length", vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
        ("the largest length", vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("more than a hub takes", vec![0x30, 0x80, 0x80, 0x18]),
        ("an empty PUBLISH", vec![0x30, 0]),
        ("a topic longer than the packet", vec![0x30, 3, 0, 9, b'a']),
        ("a topic that is empty", packet(0x30, &[&text("")])),
        ("a topic with a wildcard", publish("devices/+/messages/events/", "")),
        ("a topic that is not UTF-8", packet(0x30, &[&text(b"\xFF\xFE")])),
        ("a topic with a zero", publish("devices/lamp\0", "")),
        (
            "quality 3",
            packet(0x36, &[&text("devices/lamp/messages/events/"), &two]),
        ),
        (
            "quality 2",
            packet(0x34, &[&text("devices/lamp/messages/events/"), &two]),
        ),
        (
            "a duplicate of quality 0",
            packet(0x38, &[&text("devices/lamp/messages/events/")]),
        ),
        (
            "a packet id of 0",
            packet(0x32, &[&text("devices/lamp/messages/events/"), &[0, 0]]),
        ),
        ("no packet id", packet(0x32, &[&text("devices/lamp/messages/events/")])),
        ("a short PUBACK", packet(0x40, &[&[1]])),
        ("a long PUBACK", packet(0x40, &[&[0, 1, 2]])),
        (
            "SUBSCRIBE with the wrong flags",
            packet(0x80, &[&two, &text("$iothub/twin/res/#"), &[0]]),
        ),
        ("SUBSCRIBE without a filter", packet(0x82, &[&two])),
        (
            "SUBSCRIBE without a quality",
            packet(0x82, &[&two, &text("$iothub/twin/res/#")]),
        ),
        ("SUBSCRIBE with quality 3", subscribe(2, "$iothub/twin/res/#", 3)),
        ("a filter with # in the middle", subscribe(2, "$iothub/#/res", 0)),
        ("UNSUBSCRIBE without a filter", packet(0xA2, &[&two])),
    ] {
        let mut lamp = connected(&emulator, "lamp").await;
        lamp.send(bytes).await;
        assert_eq!(lamp.end().await, None, "{what}");
    }
    // The hub is as it was.
    connected(&emulator, "lamp").await;
    assert!(emulator.telemetry().is_empty());
}

#[tokio::test]
async fn topics_of_others_end_the_connection() {
    let emulator = hub().await;
    emulator.add_device("door").unwrap();
    for bytes in [
        publish("devices/door/messages/events/", ""),
        publish("devices/lamp/messages/devicebound/", ""),
        publish("$iothub/twin/GET/", ""),
        publish("$iothub/methods/res/ok/?$rid=1", ""),
        publish("hello", ""),
        publish("devices/lamp/messages/events/a=%FF", ""),
        subscribe(1, "#", 0),
        subscribe(1, "devices/door/messages/devicebound/#", 0),
        subscribe(1, "$iothub/methods/res/#", 0),
    ] {
        let mut lamp = connected(&emulator, "lamp").await;
        lamp.send(&bytes).await;
        assert_eq!(lamp.end().await, None, "{}", String::from_utf8_lossy(&bytes));
    }
    refused(&emulator, "can publish nothing to").await;
    refused(&emulator, "can subscribe to nothing by").await;
}

#[tokio::test]
async fn a_message_may_have_256_kib_and_no_more() {
    let emulator = hub().await;
    let topic = "devices/lamp/messages/events/";
    let mut lamp = connected(&emulator, "lamp").await;
    let largest = "x".repeat(256 * 1024);
    lamp.send(packet(0x32, &[&text(topic), &[0, 1], largest.as_bytes()]))
        .await;
    assert_eq!(lamp.packet().await, [0x40, 2, 0, 1]);
    lamp.send(packet(0x32, &[&text(topic), &[0, 2], largest.as_bytes(), b"x"]))
        .await;
    lamp.is_closed().await;
    assert_eq!(emulator.telemetry().len(), 1);
}

#[tokio::test]
async fn a_first_packet_that_is_no_connect_of_this_protocol_is_shown_out() {
    let emulator = hub().await;
    let user = user_name(&emulator, "lamp");
    let token = token(&emulator, "lamp", 4_102_444_800);
    let version = |name: &str, level: u8| packet(0x10, &[&text(name), &[level, 2, 0, 60], &text("lamp")]);
    for (what, bytes, answer) in [
        ("MQTT 5", version("MQTT", 5), Some(vec![0x20, 2, 0, 1])),
        ("MQTT 3.1", version("MQIsdp", 3), Some(vec![0x20, 2, 0, 1])),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), None),
        ("a ping", vec![0xC0, 0], None),
        (
            "a reserved flag",
            connect_with(0xC3, 60, &["lamp", &user, &token]),
            None,
        ),
        (
            "a password without a user",
            connect_with(0x42, 60, &["lamp", &token]),
            None,
        ),
        (
            "a will of quality 3",
            connect_with(0xDE, 60, &["lamp", "t", "m", &user, &token]),
            None,
        ),
        (
            "retain without a will",
            connect_with(0xE2, 60, &["lamp", &user, &token]),
            None,
        ),
        ("texts that are missing", connect_with(0xC2, 60, &["lamp"]), None),
        (
            "texts too many",
            connect_with(0xC2, 60, &["lamp", &user, &token, "x"]),
            None,
        ),
    ] {
        let mut device = Raw::open(&emulator).await;
        device.send(bytes).await;
        assert_eq!(device.end().await, answer, "{what}");
    }
    assert_eq!(
        emulator
            .journal()
            .count(|event| matches!(event, iothub_emulator::Event::Connected { .. })),
        0
    );
}

/// Bytes that begin like packets and go on as they please.
#[tokio::test]
async fn chance_breaks_nothing() {
    let emulator = hub().await;
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..150 {
        let mut bytes = connect(&emulator, "lamp", random() % 2 == 0);
        let first = bytes.len();
        for _ in 0..4 {
            let mut next = match random() % 4 {
                0 => publish("devices/lamp/messages/events/a=1&b=2", "x"),
                1 => subscribe(1, "$iothub/twin/res/#", 1),
                2 => publish("$iothub/twin/PATCH/properties/reported/?$rid=1", r#"{"a":1}"#),
                _ => connect(&emulator, "lamp", true),
            };
            let at = usize::try_from(random()).unwrap() % next.len();
            next[at] ^= (random() % 256) as u8;
            bytes.extend(next);
        }
        if random() % 4 == 0 {
            let at = usize::try_from(random()).unwrap() % first;
            bytes[at] ^= 1 << (random() % 8);
        }
        bytes.extend([0xE0, 0]);
        let mut device = Raw::open(&emulator).await;
        device.send(bytes).await;
        device.finish().await;
    }
    connected(&emulator, "lamp").await;
}

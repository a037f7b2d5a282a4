//! Devices: in this process, and over HTTPS.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use fe2o3_amqp_types::messaging::Properties;
use iothub_emulator::{D2cMessage, Emulator, EmulatorOptions, Event, Outcome, SessionEnd};
use ring::hmac;
use serde_json::{Value, json};

use crate::{amqp::Service, client::Client};

async fn hub() -> (Emulator, Client) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    emulator.add_device("lamp").unwrap();
    let client = Client::new(&emulator, "iothubowner").await;
    (emulator, client)
}

/// A client that signs with the device's own key.
async fn device_client(emulator: &Emulator, owner: &mut Client, id: &str) -> Client {
    let identity = owner.get(&format!("/devices/{id}")).await.json();
    let key = identity["authentication"]["symmetricKey"]["primaryKey"]
        .as_str()
        .unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(key).unwrap());
    let resource = format!("{}%2Fdevices%2F{id}", emulator.host().name());
    let signature = BASE64_STANDARD.encode(hmac::sign(&key, format!("{resource}\n4102444800").as_bytes()));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let mut client = Client::new(emulator, "device").await;
    client.token = format!("SharedAccessSignature sr={resource}&sig={signature}&se=4102444800");
    client
}

fn invoked(emulator: &Emulator) -> usize {
    emulator
        .journal()
        .count(|event| matches!(event, Event::MethodInvoked { .. }))
}

/// Whether a call begins to wait for a device.
fn waits(event: &Event) -> bool {
    matches!(event, Event::MethodWaits { .. })
}

/// The error inside the error of a method.
fn nested(reply: &crate::client::Reply) -> Value {
    serde_json::from_str(reply.json()["Message"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_method_runs_once_and_payloads_stay_as_they_are() {
    let (emulator, mut client) = hub().await;
    let lamp = emulator.device("lamp").unwrap();
    let mut methods = lamp.methods().unwrap();
    tokio::spawn(async move {
        let method = methods.recv().await.unwrap();
        assert_eq!(
            (method.name(), method.payload()),
            ("blink", r#"{ "n": 1.0,  "at":"2026-01-01T00:00:00.000+00:00" }"#)
        );
        method.answer(207, r#"[ 1.50, "é" ]"#).unwrap();
    });
    let body = r#"{"methodName":"blink","payload":{ "n": 1.0,  "at":"2026-01-01T00:00:00.000+00:00" },"responseTimeoutInSeconds":200,"connectTimeoutInSeconds":200}"#;
    let reply = client.call("POST", "/twins/lamp/methods", &[], body).await;
    assert_eq!(reply.outcome(), "200");
    assert_eq!(reply.body, "{\"status\":207,\"payload\":[ 1.50, \"é\" ]}");
    assert_eq!(invoked(&emulator), 1);
}

#[tokio::test]
async fn modules_answer_methods_too() {
    let (emulator, mut client) = hub().await;
    let created = client
        .put("/devices/lamp/modules/m", None, r#"{"deviceId":"lamp","moduleId":"m"}"#)
        .await;
    assert_eq!(created.status, 200);
    let module = emulator.module("lamp", "m").unwrap();
    module
        .on_method(|name, payload| (200, format!("[\"{name}\",{payload}]")))
        .unwrap();
    let reply = client
        .call("POST", "/twins/lamp/modules/m/methods", &[], r#"{"methodName":"x"}"#)
        .await;
    assert_eq!(reply.json(), json!({"status": 200, "payload": ["x", null]}));
    let reply = client
        .call("POST", "/twins/lamp/methods", &[], r#"{"methodName":"x"}"#)
        .await;
    assert_eq!(reply.outcome(), "404 DeviceNotOnline");
}

#[tokio::test]
async fn who_is_not_there_is_told_from_who_does_not_exist() {
    let (emulator, mut client) = hub().await;
    for path in ["/twins/nobody/methods", "/twins/lamp/modules/nobody/methods"] {
        let reply = client.call("POST", path, &[], r#"{"methodName":"x"}"#).await;
        assert_eq!(reply.outcome(), "404 DeviceNotFound");
        assert_eq!(nested(&reply)["errorCode"], 404001);
        assert_eq!(reply.json()["ExceptionMessage"], "");
    }
    let lamp = emulator.device("lamp").unwrap();
    lamp.go_online().unwrap();
    // Connected, and listening for nothing.
    let reply = client
        .call("POST", "/twins/lamp/methods", &[], r#"{"methodName":"x"}"#)
        .await;
    assert_eq!(reply.outcome(), "404 DeviceNotOnline");
    assert_eq!(nested(&reply)["errorCode"], 404103);
    assert_eq!(nested(&reply)["info"], json!({"timeout": "00:00:00"}));
    let methods = lamp.methods().unwrap();
    drop(methods);
    let reply = client
        .call("POST", "/twins/lamp/methods", &[], r#"{"methodName":"x"}"#)
        .await;
    assert_eq!(reply.outcome(), "404 DeviceNotOnline");
    assert_eq!(invoked(&emulator), 0);

    let body = r#"{"methodName":"x","connectTimeoutInSeconds":31,"responseTimeoutInSeconds":30}"#;
    let reply = client.call("POST", "/twins/lamp/methods", &[], body).await;
    assert_eq!(reply.outcome(), "400 ArgumentInvalid");
    assert_eq!(nested(&reply)["errorCode"], 400004);
    let mut stranger = Client::new(&emulator, "registryReadWrite").await;
    let reply = stranger
        .call("POST", "/twins/lamp/methods", &[], r#"{"methodName":"x"}"#)
        .await;
    assert_eq!(reply.outcome(), "401 IotHubUnauthorizedAccess");
}

#[tokio::test]
async fn a_silent_device_times_out_and_the_next_call_succeeds() {
    let (emulator, mut client) = hub().await;
    let lamp = emulator.device("lamp").unwrap();
    let mut methods = lamp.methods().unwrap();
    let body = r#"{"methodName":"x","responseTimeoutInSeconds":300}"#;
    let clock = emulator.clock().clone();
    let silent = async {
        let method = methods.recv().await.unwrap();
        clock.advance(Duration::from_secs(300));
        method
    };
    let (reply, method) = tokio::join!(client.call("POST", "/twins/lamp/methods", &[], body), silent);
    assert_eq!(reply.outcome(), "504 GatewayTimeout");
    assert_eq!(nested(&reply)["errorCode"], 504101);
    assert_eq!(nested(&reply)["info"], json!({"timeout": "00:05:00"}));
    assert!(method.answer(200, "1").is_err(), "nobody waits any more");

    let prompt = async { methods.recv().await.unwrap().answer(200, "") };
    let (reply, answered) = tokio::join!(client.call("POST", "/twins/lamp/methods", &[], body), prompt);
    answered.unwrap();
    assert_eq!(reply.json(), json!({"status": 200, "payload": null}));
    assert_eq!(invoked(&emulator), 2);
}

#[tokio::test]
async fn a_call_waits_for_a_device_to_connect() {
    let (emulator, mut client) = hub().await;
    let lamp = emulator.device("lamp").unwrap();
    lamp.go_offline();
    lamp.on_method(|_, _| (200, String::new())).unwrap();
    assert!(!lamp.is_online());
    let body = r#"{"methodName":"x","connectTimeoutInSeconds":20}"#;
    let late = async {
        emulator.journal().wait_for(waits).await;
        lamp.go_online()
    };
    let (reply, online) = tokio::join!(client.call("POST", "/twins/lamp/methods", &[], body), late);
    online.unwrap();
    assert_eq!(reply.outcome(), "200");
}

#[tokio::test]
async fn a_call_waits_no_longer_than_it_was_told_to() {
    let (emulator, mut client) = hub().await;
    let turn = async {
        emulator.journal().wait_for(waits).await;
        emulator.clock().advance(Duration::from_secs(20));
    };
    let body = r#"{"methodName":"x","connectTimeoutInSeconds":20}"#;
    let (reply, ()) = tokio::join!(client.call("POST", "/twins/lamp/methods", &[], body), turn);
    assert_eq!(reply.outcome(), "404 DeviceNotOnline");
    assert_eq!(nested(&reply)["info"], json!({"timeout": "00:00:20"}));
}

#[tokio::test]
async fn a_connection_shows_and_a_newer_one_takes_over() {
    let (emulator, mut client) = hub().await;
    let older = emulator.device("lamp").unwrap();
    older.go_online().unwrap();
    let statistics = client.get("/statistics/service").await.json();
    assert_eq!(statistics, json!({"connectedDeviceCount": 1}));
    let newer = emulator.device("lamp").unwrap();
    newer.go_online().unwrap();
    assert!(!older.is_online() && newer.is_online());
    assert!(older.report("{}").is_err());
    older.go_offline();
    let identity = client.get("/devices/lamp").await.json();
    assert_eq!(identity["connectionState"], "Connected");
    assert_ne!(identity["lastActivityTime"], "0001-01-01T00:00:00Z");
    newer.go_offline();
    assert_eq!(
        client.get("/twins/lamp").await.json()["connectionState"],
        "Disconnected"
    );
    assert_eq!(
        client.get("/statistics/service").await.json()["connectedDeviceCount"],
        0
    );

    newer.go_online().unwrap();
    client
        .put("/devices/lamp", Some("*"), r#"{"deviceId":"lamp","status":"disabled"}"#)
        .await;
    assert!(!newer.is_online());
    assert!(newer.go_online().is_err());
    newer.go_offline();
    let ends = emulator
        .journal()
        .entries()
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::Disconnected { end, .. } => Some(end),
            _ => None,
        });
    assert_eq!(
        ends.collect::<Vec<_>>(),
        [Some(SessionEnd::TakenOver), None, Some(SessionEnd::Disabled)]
    );
}

#[tokio::test]
async fn desired_properties_reach_a_device_with_their_versions() {
    let (emulator, mut client) = hub().await;
    let lamp = emulator.device("lamp").unwrap();
    client
        .call("PATCH", "/twins/lamp", &[], r#"{"properties":{"desired":{"a":1.0}}}"#)
        .await;
    assert_eq!(
        lamp.twin().unwrap(),
        r#"{"desired":{"a":1.0,"$version":2},"reported":{"$version":1}}"#
    );
    let mut changes = lamp.watch_desired().unwrap();
    for body in [
        r#"{"tags":{"x":1}}"#,
        r#"{"properties":{"desired":{"a":null,"b":{"c":2.50}}}}"#,
    ] {
        assert_eq!(client.call("PATCH", "/twins/lamp", &[], body).await.status, 200);
    }
    assert_eq!(
        client
            .put("/twins/lamp", None, r#"{"properties":{"desired":{"z":1}}}"#)
            .await
            .status,
        200
    );
    for (version, patch) in [
        (3, r#"{"a":null,"b":{"c":2.50},"$version":3}"#),
        (4, r#"{"z":1,"$version":4}"#),
    ] {
        let change = changes.recv().await.unwrap();
        assert_eq!((change.version, change.patch.as_str()), (version, patch));
    }
    assert_eq!(lamp.report(r#"{"a":2}"#).unwrap(), 2);
    assert_eq!(client.get("/twins/lamp").await.json()["properties"]["reported"]["a"], 2);
    lamp.go_offline();
    assert!(changes.recv().await.is_none());
}

#[tokio::test]
async fn what_devices_send_is_kept_in_order() {
    let (emulator, mut owner) = hub().await;
    let mut client = device_client(&emulator, &mut owner, "lamp").await;
    let headers = [
        ("iothub-messageid", "m1"),
        ("IoTHub-App-Level", "3"),
        ("iothub-contenttype", "application/json"),
        ("iothub-to", "/devices/lamp/messages/events"),
    ];
    let path = "/devices/lamp/messages/events";
    assert_eq!(client.call("POST", path, &headers, "one").await.outcome(), "204");
    let batch = r#"[{"body":"dHdv","properties":{"iothub-app-x":"y","iothub-correlationid":"c"}},
        {"body":"three","base64Encoded":false}]"#;
    let kind = [("content-type", "application/vnd.microsoft.iothub.json")];
    assert_eq!(client.call("POST", path, &kind, batch).await.outcome(), "204");
    emulator.device("lamp").unwrap().send("four").unwrap();
    let large = "x".repeat(256 * 1024 + 1);
    assert_eq!(
        client.call("POST", path, &[], &large).await.outcome(),
        "413 MessageTooLarge"
    );
    assert_eq!(
        client
            .call("POST", "/devices/other/messages/events", &[], "")
            .await
            .outcome(),
        "401 IotHubUnauthorizedAccess"
    );

    let events = emulator.telemetry();
    let bodies: Vec<_> = events
        .iter()
        .map(|event| (event.sequence_number, &event.message.body[..]))
        .collect();
    assert_eq!(bodies, [(0, &b"one"[..]), (1, b"two"), (2, b"three"), (3, b"four")]);
    let expected = D2cMessage {
        body: "one".into(),
        message_id: Some("m1".to_owned()),
        to: Some(path.to_owned()),
        content_type: Some("application/json".to_owned()),
        properties: vec![("level".to_owned(), "3".to_owned())],
        ..D2cMessage::default()
    };
    assert_eq!(events[0].message, expected);
    assert_eq!(events[1].message.properties, [("x".to_owned(), "y".to_owned())]);
    assert_eq!(events[1].message.correlation_id.as_deref(), Some("c"));
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0].offset < pair[1].offset && pair[0].partition == pair[1].partition)
    );
}

#[tokio::test]
async fn a_device_receives_over_https() {
    let (emulator, mut owner) = hub().await;
    let mut client = device_client(&emulator, &mut owner, "lamp").await;
    let path = "/devices/lamp/messages/devicebound";
    assert_eq!(client.get(path).await.outcome(), "204");
    let mut service = Service::connect(&emulator).await;
    for n in 1..=3 {
        let (id, body) = (format!("m{n}"), n.to_string());
        service.send("lamp", &id, None, Properties::default(), &body).await;
    }
    service.close().await;
    let first = client.get(path).await;
    assert_eq!((first.outcome().as_str(), &first.body[..]), ("200", &b"1"[..]));
    for (name, value) in [
        ("iothub-messageid", "m1"),
        ("iothub-sequencenumber", "1"),
        ("iothub-deliverycount", "0"),
        ("iothub-ack", "none"),
        ("iothub-app-colour", "red"),
    ] {
        assert_eq!(first.header(name), Some(value), "{name}");
    }
    let token = first.header("etag").unwrap().trim_matches('"').to_owned();
    let abandoned = client.call("POST", &format!("{path}/{token}/abandon"), &[], "").await;
    assert_eq!(abandoned.outcome(), "204");
    assert_eq!(
        client.delete(&format!("{path}/{token}"), None).await.outcome(),
        "412 DeviceMessageLockLost"
    );
    for (body, query, count) in [("1", "", "1"), ("2", "?reject", "0")] {
        let next = client.get(&format!("{path}?iothub-messagelocktimeout=300")).await;
        assert_eq!(
            (&next.body[..], next.header("iothub-deliverycount")),
            (body.as_bytes(), Some(count))
        );
        let token = next.header("etag").unwrap().trim_matches('"').to_owned();
        assert_eq!(
            client.delete(&format!("{path}/{token}{query}"), None).await.outcome(),
            "204"
        );
    }
    let outcomes = emulator
        .journal()
        .entries()
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::Settled { outcome, .. } => Some(outcome),
            _ => None,
        });
    assert_eq!(
        outcomes.collect::<Vec<_>>(),
        [Outcome::Abandoned, Outcome::Completed, Outcome::Rejected]
    );
    let last = client.get(&format!("{path}?iothub-messagelocktimeout=5")).await;
    assert_eq!(&last.body[..], b"3");
    assert_eq!(client.get(path).await.outcome(), "204");
    emulator.clock().advance(Duration::from_secs(5));
    assert_eq!(&client.get(path).await.body[..], b"3");
}

#[tokio::test]
async fn a_device_over_https_has_its_connection_killed() {
    let options = EmulatorOptions {
        hub: iothub_emulator::HubOptions {
            fault_injection: true,
            ..Default::default()
        },
        ..Default::default()
    };
    let emulator = Emulator::start(options).await.unwrap();
    for id in ["lamp", "fan"] {
        emulator.add_device(id).unwrap();
    }
    let mut owner = Client::new(&emulator, "iothubowner").await;
    let mut lamp = device_client(&emulator, &mut owner, "lamp").await;
    let mut fan = device_client(&emulator, &mut owner, "fan").await;
    let send = async |client: &mut Client, id: &str, wish: Option<&str>| {
        let token = client.token.clone();
        let mut headers = vec![("authorization", token.as_str())];
        if let Some(wish) = wish {
            headers.push(("iothub-app-azIoTHub_FaultOperationType", wish));
            headers.push(("iothub-app-azIoTHub_FaultOperationDelayInSecs", "60"));
        }
        let path = format!("/devices/{id}/messages/events?api-version=2021-04-12");
        let reply = client.raw("POST", &path, &headers, "on").await;
        reply.map(|reply| reply.status.as_u16())
    };
    assert_eq!(send(&mut fan, "fan", None).await.unwrap(), 204);
    assert_eq!(send(&mut lamp, "lamp", Some("KillTcp")).await.unwrap(), 204);
    assert_eq!(send(&mut lamp, "lamp", None).await.unwrap(), 204, "not yet");
    emulator.clock().advance(Duration::from_secs(60));
    let killed = async { while send(&mut lamp, "lamp", None).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(60), killed).await.unwrap();
    assert_eq!(send(&mut fan, "fan", None).await.unwrap(), 204, "others stay");
    let mut again = device_client(&emulator, &mut owner, "lamp").await;
    assert_eq!(send(&mut again, "lamp", None).await.unwrap(), 204);
}

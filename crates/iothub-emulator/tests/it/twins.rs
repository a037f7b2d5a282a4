use iothub_emulator::{Emulator, EmulatorOptions};
use serde_json::{Value, json};

use crate::client::Client;

async fn hub() -> (Emulator, Client) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let mut client = Client::new(&emulator, "iothubowner").await;
    client.put("/devices/lamp", None, "{}").await;
    (emulator, client)
}

async fn patch(client: &mut Client, body: &str) -> Value {
    let reply = client.call("PATCH", "/twins/lamp", &[], body).await;
    assert_eq!(reply.outcome(), "200", "{body}: {:?}", reply.body);
    reply.json()
}

/// Tags and desired properties without what the hub adds.
fn content(mut twin: Value) -> Value {
    let desired = twin["properties"]["desired"].as_object_mut().unwrap();
    desired.retain(|name, _| !name.starts_with('$'));
    json!({"tags": twin["tags"], "desired": twin["properties"]["desired"]})
}

#[tokio::test]
async fn a_new_twin_has_the_whole_shape() {
    let (_emulator, mut client) = hub().await;
    let device = client.get("/devices/lamp").await.json();
    let reply = client.get("/twins/lamp").await;
    assert_eq!(reply.header("etag"), Some("\"AAAAAAAAAAE=\""));
    let expected = json!({
        "deviceId": "lamp", "etag": "AAAAAAAAAAE=", "deviceEtag": device["etag"], "status": "enabled",
        "statusUpdateTime": "0001-01-01T00:00:00Z", "connectionState": "Disconnected",
        "lastActivityTime": "0001-01-01T00:00:00Z", "cloudToDeviceMessageCount": 0, "authenticationType": "sas",
        "x509Thumbprint": {"PrimaryThumbprint": null, "SecondaryThumbprint": null}, "modelId": "", "version": 2,
        "tags": {},
        "properties": {
            "desired": {"$metadata": {"$lastUpdated": "0001-01-01T00:00:00Z"}, "$version": 1},
            "reported": {"$metadata": {"$lastUpdated": "0001-01-01T00:00:00Z"}, "$version": 1},
        },
        "capabilities": {"iotEdge": false},
    });
    assert_eq!(reply.json(), expected);
}

#[tokio::test]
async fn a_patch_is_a_merge() {
    let (_emulator, mut client) = hub().await;
    // Each line: a patch, and what tags and desired properties are after it.
    for (body, expected) in [
        (
            r#"{"tags":{"a":{"b":1,"c":[1,{"d":2}]}}}"#,
            json!({"tags": {"a": {"b": 1, "c": [1, {"d": 2}]}}, "desired": {}}),
        ),
        (
            r#"{"tags":{"a":{"b":null,"c":[3]}}}"#,
            json!({"tags": {"a": {"c": [3]}}, "desired": {}}),
        ),
        (
            r#"{"tags":{"a":{"c":null}}}"#,
            json!({"tags": {"a": {}}, "desired": {}}),
        ),
        (
            r#"{"tags":{"a":"text","n":null}}"#,
            json!({"tags": {"a": "text"}, "desired": {}}),
        ),
        (
            r#"{"tags":{"a":{"deep":{"x":null,"y":true}}}}"#,
            json!({"tags": {"a": {"deep": {"y": true}}}, "desired": {}}),
        ),
        (
            r#"{"properties":{"desired":{"fan":{"speed":1.50}}}}"#,
            json!({"tags": {"a": {"deep": {"y": true}}}, "desired": {"fan": {"speed": 1.5}}}),
        ),
        // What clients send back of what they read is not taken for theirs.
        (
            r#"{"deviceId":"other","etag":"x","version":9,"properties":{"desired":{"$version":7,"$metadata":{"x":1},"on":true},"reported":{"r":1}}}"#,
            json!({"tags": {"a": {"deep": {"y": true}}}, "desired": {"fan": {"speed": 1.5}, "on": true}}),
        ),
        (
            r#"{"tags":null}"#,
            json!({"tags": {}, "desired": {"fan": {"speed": 1.5}, "on": true}}),
        ),
    ] {
        assert_eq!(content(patch(&mut client, body).await), expected, "{body}");
    }
    let reply = client.get("/twins/lamp").await;
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    assert!(
        text.contains(r#""speed":1.50"#),
        "numbers stay as they were written: {text}"
    );
    assert_eq!(reply.json()["properties"]["reported"].get("r"), None);
}

#[tokio::test]
async fn a_put_replaces_and_wipes() {
    let (emulator, mut client) = hub().await;
    patch(&mut client, r#"{"tags":{"a":1},"properties":{"desired":{"b":2}}}"#).await;
    emulator.device("lamp").unwrap().report(r#"{"r":1}"#).unwrap();
    let reply = client.put("/twins/lamp", None, r#"{"tags":{"c":3}}"#).await;
    let twin = reply.json();
    assert_eq!(
        twin["properties"]["reported"]["r"], 1,
        "what the device said is the device's"
    );
    assert_eq!(content(twin), json!({"tags": {"c": 3}, "desired": {}}));
}

#[tokio::test]
async fn versions_and_times_follow_each_write() {
    let (emulator, mut client) = hub().await;
    let numbers = |twin: &Value| {
        let version = |section: &str| twin["properties"][section]["$version"].as_u64().unwrap();
        let etag = twin["etag"].as_str().unwrap().to_owned();
        (
            etag,
            twin["version"].as_u64().unwrap(),
            version("desired"),
            version("reported"),
        )
    };
    let first = patch(
        &mut client,
        r#"{"properties":{"desired":{"fan":{"speed":1},"on":true}}}"#,
    )
    .await;
    assert_eq!(numbers(&first), ("AAAAAAAAAAI=".into(), 3, 2, 1));
    let tagged = patch(&mut client, r#"{"tags":{"a":1}}"#).await;
    assert_eq!(numbers(&tagged), ("AAAAAAAAAAM=".into(), 4, 2, 1));
    emulator.clock().advance(std::time::Duration::from_secs(60));
    let second = patch(&mut client, r#"{"properties":{"desired":{"fan":{"speed":2}}}}"#).await;
    assert_eq!(numbers(&second), ("AAAAAAAAAAQ=".into(), 5, 3, 1));
    assert_eq!(emulator.device("lamp").unwrap().report(r#"{"r":{"s":1}}"#).unwrap(), 2);
    let reported = client.get("/twins/lamp").await.json();
    assert_eq!(numbers(&reported), ("AAAAAAAAAAQ=".into(), 5, 3, 2));
    // Nothing asked for, nothing changed.
    assert_eq!(patch(&mut client, r#"{"properties":{"desired":{}}}"#).await, reported);

    let before = &first["properties"]["desired"]["$metadata"];
    let after = &second["properties"]["desired"]["$metadata"];
    let stamp = |node: &Value| {
        (
            node["$lastUpdated"].as_str().unwrap().to_owned(),
            node["$lastUpdatedVersion"].clone(),
        )
    };
    assert_eq!(
        stamp(&after["on"]),
        stamp(&before["on"]),
        "what was not written keeps its time"
    );
    for node in [after, &after["fan"], &after["fan"]["speed"]] {
        assert_eq!(node["$lastUpdatedVersion"], 3);
        assert_eq!(node["$lastUpdated"], after["$lastUpdated"]);
        assert!(stamp(node).0 > stamp(before).0);
    }
    let reported = &reported["properties"]["reported"]["$metadata"];
    assert_eq!(
        reported["r"]["s"]["$lastUpdated"].as_str().unwrap().len(),
        "2026-01-01T00:00:00.1234567Z".len()
    );
    assert_eq!(reported["r"].get("$lastUpdatedVersion"), None);
}

#[tokio::test]
async fn conditions_hold_in_quotes_only() {
    let (_emulator, mut client) = hub().await;
    let body = r#"{"tags":{"a":1}}"#;
    for (method, tag, expected) in [
        ("PATCH", Some("\"AAAAAAAAAAE=\""), "200"),
        ("PATCH", Some("\"AAAAAAAAAAE=\""), "412 PreconditionFailed"),
        ("PUT", Some("\"AAAAAAAAAAE=\""), "412 PreconditionFailed"),
        ("PATCH", Some("AAAAAAAAAAE="), "200"),
        ("PATCH", Some("*"), "200"),
        ("PUT", Some("\"*\""), "200"),
        ("PUT", None, "200"),
    ] {
        let headers: Vec<_> = tag.map(|tag| ("if-match", tag)).into_iter().collect();
        let reply = client.call(method, "/twins/lamp", &headers, body).await;
        assert_eq!(reply.outcome(), expected, "{method} {tag:?}");
    }
}

#[tokio::test]
async fn what_no_twin_can_hold_is_refused_and_changes_nothing() {
    let (_emulator, mut client) = hub().await;
    let before = client.get("/twins/lamp").await.json();
    let nested = |depth: usize| format!("{}1{}", r#"{"x":"#.repeat(depth), "}".repeat(depth));
    let tags = |value: &str| format!(r#"{{"tags":{{"a":{value}}}}}"#);
    let string = |length: usize| format!("\"{}\"", "x".repeat(length));
    let desired = |value: &str| format!(r#"{{"tags":{{"good":1}},"properties":{{"desired":{{"a":{value}}}}}}}"#);
    for (body, expected) in [
        (String::new(), "400 ArgumentNull"),
        ("null".into(), "400 ArgumentNull"),
        ("[]".into(), "400 IotHubFormatError"),
        ("{".into(), "400 IotHubFormatError"),
        (r#"{"tags":[]}"#.into(), "400 IotHubFormatError"),
        (r#"{"properties":{"desired":1}}"#.into(), "400 IotHubFormatError"),
        (r#"{"tags":{"a.b":1}}"#.into(), "400 ArgumentInvalid"),
        (r#"{"tags":{"a b":1}}"#.into(), "400 ArgumentInvalid"),
        (r#"{"tags":{"$a":1}}"#.into(), "400 ArgumentInvalid"),
        (r#"{"tags":{"a#":1}}"#.into(), "400 ArgumentInvalid"),
        (r#"{"tags":{"a\n":1}}"#.into(), "400 ArgumentInvalid"),
        (
            format!(r#"{{"tags":{{"{}":1}}}}"#, "n".repeat(1025)),
            "400 ArgumentInvalid",
        ),
        (tags(&string(4097)), "400 ArgumentInvalid"),
        (tags("4503599627370496"), "400 ArgumentInvalid"),
        (tags("-4503599627370497"), "400 ArgumentInvalid"),
        (tags("[1,null]"), "400 ArgumentInvalid"),
        (tags(r#"[{"b.c":1}]"#), "400 ArgumentInvalid"),
        (tags(&nested(11)), "400 ArgumentInvalid"),
        (tags(&nested(1000)), "400 ArgumentInvalid"),
        (tags(&nested(500_000)), "400 ArgumentInvalid"),
        (
            desired(&format!("[{}]", vec![string(4096); 9].join(","))),
            "400 ArgumentInvalid",
        ),
        (
            tags(&format!("[{}]", vec![string(4096); 2].join(","))),
            "400 ArgumentInvalid",
        ),
    ] {
        let reply = client.call("PATCH", "/twins/lamp", &[], &body).await;
        let shown: String = body.chars().take(60).collect();
        assert_eq!(reply.outcome(), expected, "{shown}");
    }
    assert_eq!(client.get("/twins/lamp").await.json(), before);
    for fits in [
        tags(&nested(10)),
        tags("4503599627370495"),
        tags("-4503599627370496"),
        tags(&string(4096)),
        r#"{"tags":{"":1}}"#.into(),
        desired(&format!("[{}]", vec![string(4096); 7].join(","))),
    ] {
        patch(&mut client, &fits).await;
    }
}

#[tokio::test]
async fn modules_have_twins_and_strangers_have_none() {
    let (_emulator, mut client) = hub().await;
    client.put("/devices/lamp/modules/m", None, "{}").await;
    let reply = client
        .call("PATCH", "/twins/lamp/modules/m", &[], r#"{"tags":{"a":1}}"#)
        .await;
    let twin = reply.json();
    assert_eq!(
        (&twin["deviceId"], &twin["moduleId"], &twin["tags"]["a"]),
        (&json!("lamp"), &json!("m"), &json!(1))
    );
    assert_eq!(client.get("/twins/lamp").await.json()["tags"], json!({}));
    for path in ["/twins/none", "/twins/none/modules/m", "/twins/lamp/modules/none"] {
        assert_eq!(client.get(path).await.outcome(), "404 DeviceNotFound", "{path}");
    }
}

#[tokio::test]
async fn a_post_may_stand_for_a_patch() {
    let (_emulator, mut client) = hub().await;
    let headers = [("x-http-method-override", "PATCH")];
    let reply = client
        .call("POST", "/twins/lamp", &headers, r#"{"tags":{"a":1}}"#)
        .await;
    assert_eq!(reply.json()["tags"], json!({"a": 1}));
}

#[tokio::test]
async fn the_registry_key_does_not_open_twins() {
    let (emulator, _) = hub().await;
    let mut client = Client::new(&emulator, "registryReadWrite").await;
    assert_eq!(
        client.get("/twins/lamp").await.outcome(),
        "401 IotHubUnauthorizedAccess"
    );
}

#[tokio::test]
async fn a_twin_remembers_the_model_that_its_device_named_last() {
    let (emulator, mut client) = hub().await;
    client.put("/devices/lamp/modules/m", None, "{}").await;
    let lamp = emulator.device("lamp").unwrap();
    let before = client.get("/twins/lamp").await.json();

    lamp.announce_model("dtmi:com:example:Lamp;1").unwrap();
    lamp.announce_model("dtmi:com:example:Lamp;2").unwrap();
    lamp.go_offline();
    emulator
        .module("lamp", "m")
        .unwrap()
        .announce_model("dtmi:com:example:Part;1")
        .unwrap();

    let after = client.get("/twins/lamp").await.json();
    assert_eq!(after["modelId"], "dtmi:com:example:Lamp;2");
    assert_eq!(
        [&after["etag"], &after["version"]],
        [&before["etag"], &before["version"]]
    );
    let module = client.get("/twins/lamp/modules/m").await.json();
    assert_eq!(module["modelId"], "dtmi:com:example:Part;1");
    let query = r#"{"query":"SELECT deviceId FROM devices WHERE modelId = 'dtmi:com:example:Lamp;2'"}"#;
    let found = client.call("POST", "/devices/query", &[], query).await.json();
    assert_eq!(found, json!([{"deviceId": "lamp"}]));
}

#[tokio::test]
async fn what_is_no_model_is_not_remembered() {
    let (emulator, mut client) = hub().await;
    let lamp = emulator.device("lamp").unwrap();
    let error = lamp.announce_model("Lamp").unwrap_err().to_string();
    assert!(error.contains("dtmi:com:example:Thermostat;1"), "{error}");
    assert_eq!(client.get("/twins/lamp").await.json()["modelId"], "");
    lamp.go_offline();
    assert!(lamp.announce_model("dtmi:com:example:Lamp;1").is_err());
}

use iothub_emulator::{Emulator, EmulatorOptions, Event, Operation};
use serde_json::{Value, json};

use crate::client::Client;

async fn hub() -> (Emulator, Client) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let client = Client::new(&emulator, "iothubowner").await;
    (emulator, client)
}

const KEYS: &str = r#"{"primaryKey":"AAECAwQFBgcICQoLDA0ODw==","secondaryKey":"EAECAwQFBgcICQoLDA0ODw=="}"#;

#[tokio::test]
async fn a_new_device_has_the_whole_shape() {
    let (_emulator, mut client) = hub().await;
    let body = format!(r#"{{"deviceId":"d1","authentication":{{"type":"sas","symmetricKey":{KEYS}}}}}"#);
    let reply = client.put("/devices/d1", None, &body).await;

    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
    let device = reply.json();
    let etag = device["etag"].as_str().unwrap();
    assert_eq!(reply.header("etag"), Some(format!("\"{etag}\"").as_str()));
    let expected = json!({
        "deviceId": "d1", "generationId": device["generationId"], "etag": etag,
        "connectionState": "Disconnected", "status": "enabled", "statusReason": null,
        "connectionStateUpdatedTime": "0001-01-01T00:00:00Z", "statusUpdatedTime": "0001-01-01T00:00:00Z",
        "lastActivityTime": "0001-01-01T00:00:00Z", "cloudToDeviceMessageCount": 0,
        "authentication": {
            "symmetricKey": {"primaryKey": "AAECAwQFBgcICQoLDA0ODw==", "secondaryKey": "EAECAwQFBgcICQoLDA0ODw=="},
            "x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null}, "type": "sas",
        },
        "capabilities": {"iotEdge": false},
    });
    assert_eq!(device, expected);
    assert!(device["generationId"].as_str().unwrap().parse::<u64>().unwrap() > 638_000_000_000_000_000);
    assert_eq!(client.get("/devices/d1").await.json(), expected);
    assert_eq!(client.get("/devices").await.json(), json!([expected]));
}

#[tokio::test]
async fn conditions_are_kept_to_the_letter() {
    let (emulator, mut client) = hub().await;
    let create = client.put("/devices/lamp", None, "{}").await;
    let first = create.json()["etag"].as_str().unwrap().to_owned();
    let quoted = format!("\"{first}\"");

    for (method, path, tag, expected) in [
        ("PUT", "/devices/lamp", None, "409 DeviceAlreadyExists"),
        ("PUT", "/devices/lamp", Some("\"stale\""), "412 PreconditionFailed"),
        ("PUT", "/devices/none", Some("*"), "404 DeviceNotFound"),
        ("PUT", "/devices/none", Some("\"*\""), "404 DeviceNotFound"),
        ("DELETE", "/devices/lamp", None, "412 PreconditionFailed"),
        ("DELETE", "/devices/lamp", Some("stale"), "412 PreconditionFailed"),
        ("DELETE", "/devices/none", Some("*"), "404 DeviceNotFound"),
        ("GET", "/devices/none", None, "404 DeviceNotFound"),
        // With the tag, in quotes and without; each write moves it.
        ("PUT", "/devices/lamp", Some(quoted.as_str()), "200"),
        ("PUT", "/devices/lamp", Some(first.as_str()), "412 PreconditionFailed"),
        ("PUT", "/devices/lamp", Some("*"), "200"),
        ("DELETE", "/devices/lamp", Some("\"*\""), "204"),
        ("GET", "/devices/lamp", None, "404 DeviceNotFound"),
    ] {
        let headers: Vec<_> = tag.map(|tag| ("if-match", tag)).into_iter().collect();
        let reply = client.call(method, path, &headers, "{}").await;
        assert_eq!(reply.outcome(), expected, "{method} {path} {tag:?}");
    }
    let executed = |operation| {
        let journal = emulator.journal();
        journal.count(move |event| matches!(event, Event::Executed { operation: done, .. } if *done == operation))
    };
    let counts = [Operation::Create, Operation::Update, Operation::Delete].map(executed);
    assert_eq!(counts, [1, 2, 1]);
}

#[tokio::test]
async fn a_device_created_again_is_another() {
    let (_emulator, mut client) = hub().await;
    let first = client.put("/devices/lamp", None, "{}").await.json();
    client.delete("/devices/lamp", Some("*")).await;
    let second = client.put("/devices/lamp", None, "{}").await.json();
    for member in ["etag", "generationId", "authentication"] {
        assert_ne!(first[member], second[member], "{member}");
    }
    let stale = format!("\"{}\"", first["etag"].as_str().unwrap());
    let reply = client.delete("/devices/lamp", Some(&stale)).await;
    assert_eq!(reply.outcome(), "412 PreconditionFailed");
}

#[tokio::test]
async fn keys_are_made_when_none_are_given() {
    let (_emulator, mut client) = hub().await;
    let bodies = [
        "{}",
        // JavaScript, C#
        r#"{"authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}}"#,
        r#"{"authentication":{"symmetricKey":{"primaryKey":null,"secondaryKey":null},"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"sas"}}"#,
        r#"{"authentication":null,"status":null,"capabilities":null,"connectionState":"Connected","etag":"x"}"#,
    ];
    let mut keys = Vec::new();
    for (at, body) in bodies.iter().enumerate() {
        let tag = (at > 0).then_some("*");
        let reply = client.put("/devices/lamp", tag, body).await;
        assert_eq!(reply.outcome(), "200", "{body}");
        let key = reply.json()["authentication"]["symmetricKey"].clone();
        for part in ["primaryKey", "secondaryKey"] {
            let text = key[part].as_str().unwrap().to_owned();
            assert_eq!(text.len(), 44, "32 bytes in base64");
            assert!(!keys.contains(&text), "each write makes new keys");
            keys.push(text);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_an_identity_is_refused() {
    let (_emulator, mut client) = hub().await;
    let long = format!(r#"{{"statusReason":"{}"}}"#, "x".repeat(129));
    for (body, expected) in [
        ("", "400 ArgumentNull"),
        ("null", "400 ArgumentNull"),
        ("[]", "400 IotHubFormatError"),
        ("{", "400 IotHubFormatError"),
        (r#"{"deviceId":"other"}"#, "400 ArgumentInvalid"),
        (r#"{"deviceId":7}"#, "400 IotHubFormatError"),
        (r#"{"status":"on"}"#, "400 ArgumentInvalid"),
        (r#"{"status":"Disabled"}"#, "200"),
        (long.as_str(), "400 ArgumentInvalid"),
        (r#"{"authentication":{"type":"none"}}"#, "400 ArgumentInvalid"),
        (r#"{"authentication":{"type":"password"}}"#, "400 ArgumentInvalid"),
        (r#"{"authentication":{"type":"certificateAuthority"}}"#, "200"),
        (r#"{"authentication":{"type":"selfSigned"}}"#, "200"),
        (
            r#"{"authentication":{"symmetricKey":{"primaryKey":"AAECAwQFBgcICQoLDA0ODw=="}}}"#,
            "400 ArgumentInvalid",
        ),
        (
            r#"{"authentication":{"symmetricKey":{"primaryKey":"AAEC","secondaryKey":"AAEC"}}}"#,
            "400 ArgumentInvalid",
        ),
        (
            r#"{"authentication":{"x509Thumbprint":{"primaryThumbprint":"AB:CD"}}}"#,
            "400 ArgumentInvalid",
        ),
        (
            r#"{"authentication":{"x509Thumbprint":{"primaryThumbprint":"0123456789abcdefABCD0123456789abcdefABCD"}}}"#,
            "200",
        ),
        (
            r#"{"deviceScope":"ms-azure-iot-edge://nobody-1"}"#,
            "400 InvalidDeviceScope",
        ),
    ] {
        let reply = client.put("/devices/lamp", None, body).await;
        assert_eq!(reply.outcome(), expected, "{body}: {:?}", reply.body);
        client.delete("/devices/lamp", Some("*")).await;
    }
}

#[tokio::test]
async fn ids_of_every_character_find_their_device() {
    let (_emulator, mut client) = hub().await;
    let id = "Az09-:.+%25_#*?!(),=@;$'";
    let encoded: String = id
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' => char::from(byte).to_string(),
            _ => format!("%{byte:02x}"),
        })
        .collect();
    let path = format!("/devices/{encoded}");
    let created = client.put(&path, None, &json!({"deviceId": id}).to_string()).await;
    assert_eq!(created.json()["deviceId"], id);
    assert_eq!(client.get(&path).await.json()["deviceId"], id);
    assert_eq!(
        client.get("/Devices/AZ09").await.outcome(),
        "404 DeviceNotFound",
        "ids have case"
    );
    assert_eq!(client.get("/devices/a%2Fb").await.outcome(), "400 ArgumentInvalid");
}

#[tokio::test]
async fn edge_devices_have_scopes_and_children() {
    let (_emulator, mut client) = hub().await;
    let edge = r#"{"capabilities":{"iotEdge":true},"deviceScope":"mine"}"#;
    let gateway = client.put("/devices/gateway", None, edge).await.json();
    let scope = gateway["deviceScope"].as_str().unwrap().to_owned();
    assert!(scope.starts_with("ms-azure-iot-edge://gateway-6"), "{scope}");
    assert_eq!(gateway.get("parentScopes"), None);

    let child = json!({"deviceScope": scope}).to_string();
    let leaf = client.put("/devices/leaf", None, &child).await.json();
    assert_eq!(
        (&leaf["deviceScope"], &leaf["parentScopes"]),
        (&json!(scope), &json!([scope]))
    );

    let ignored = json!({"parentScopes": [scope]}).to_string();
    let orphan = client.put("/devices/orphan", None, &ignored).await.json();
    assert_eq!((orphan.get("deviceScope"), orphan.get("parentScopes")), (None, None));

    let nested = json!({"capabilities": {"iotEdge": true}, "parentScopes": [scope]}).to_string();
    let inner = client.put("/devices/inner", None, &nested).await.json();
    assert_eq!(inner["parentScopes"], json!([scope]));
    let own = inner["deviceScope"].clone();

    let blank = client.put("/devices/inner", Some("*"), &nested).await;
    assert_eq!(blank.outcome(), "400 ArgumentInvalid");
    assert!(
        blank.json()["Message"]
            .as_str()
            .unwrap()
            .contains("Device scope is immutable")
    );
    let kept = json!({"capabilities": {"iotEdge": true}, "deviceScope": own}).to_string();
    let detached = client.put("/devices/inner", Some("*"), &kept).await.json();
    assert_eq!((&detached["deviceScope"], detached.get("parentScopes")), (&own, None));

    let edge = r#"{"capabilities":{"iotEdge":true},"deviceScope":""}"#;
    let turned = client.put("/devices/orphan", Some("*"), edge).await.json();
    assert_eq!(turned["deviceScope"], "ms-azure-iot-edge://orphan-");
    let back = client.put("/devices/orphan", Some("*"), "{}").await.json();
    assert_eq!(back.get("deviceScope"), None);
}

#[tokio::test]
async fn lists_and_counts_cover_everybody() {
    let (_emulator, mut client) = hub().await;
    for (id, status) in [("a", "enabled"), ("b", "disabled"), ("c", "enabled")] {
        client
            .put(&format!("/devices/{id}"), None, &json!({"status": status}).to_string())
            .await;
    }
    let ids = |list: Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|device| device["deviceId"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(client.get("/devices").await.json()), ["a", "b", "c"]);
    assert_eq!(ids(client.get("/devices?top=2").await.json()), ["a", "b"]);
    assert_eq!(ids(client.get("/devices?top=0").await.json()), ["a", "b", "c"]);
    let expected = json!({"totalDeviceCount": 3, "enabledDeviceCount": 2, "disabledDeviceCount": 1});
    assert_eq!(client.get("/statistics/devices").await.json(), expected);
    assert_eq!(
        client.get("/statistics/service").await.json(),
        json!({"connectedDeviceCount": 0})
    );
}

#[tokio::test]
async fn a_purge_says_how_much_it_was() {
    let (_emulator, mut client) = hub().await;
    client.put("/devices/lamp", None, "{}").await;
    let expected = json!({"deviceId": "lamp", "moduleId": null, "totalMessagesPurged": 0});
    assert_eq!(client.delete("/devices/lamp/commands", None).await.json(), expected);
    assert_eq!(
        client.delete("/devices/none/commands", None).await.outcome(),
        "404 DeviceNotFound"
    );
}

#[tokio::test]
async fn http2_answers_the_same() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let mut client = Client::http2(&emulator, "registryReadWrite").await;
    let created = client.put("/devices/lamp", None, "{}").await;
    assert_eq!(client.get("/devices/lamp").await.json(), created.json());
    assert_eq!(client.get("/devices/none").await.outcome(), "404 DeviceNotFound");
}

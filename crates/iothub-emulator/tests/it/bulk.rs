use iothub_emulator::{Emulator, EmulatorOptions};
use serde_json::{Value, json};

use crate::client::{Client, Reply};

async fn hub() -> (Emulator, Client) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let client = Client::new(&emulator, "iothubowner").await;
    (emulator, client)
}

async fn bulk(client: &mut Client, items: &Value) -> Reply {
    client.call("POST", "/devices", &[], &items.to_string()).await
}

#[tokio::test]
async fn devices_modules_and_twins_come_in_one_call() {
    let (_emulator, mut client) = hub().await;
    let keys = json!({"primaryKey": "AAECAwQFBgcICQoLDA0ODw==", "secondaryKey": "EAECAwQFBgcICQoLDA0ODw=="});
    let reply = bulk(
        &mut client,
        &json!([
            {"id": "a", "importMode": "create", "status": "disabled",
             "authentication": {"type": "sas", "symmetricKey": keys}},
            {"id": "b", "importMode": "create", "status": "enabled",
             "tags": {"site": "x"}, "properties": {"desired": {"n": 1}}},
        ]),
    )
    .await;
    assert_eq!(reply.outcome(), "200");
    assert_eq!(
        reply.json(),
        json!({"isSuccessful": true, "errors": [], "warnings": []})
    );
    let a = client.get("/devices/a").await.json();
    assert_eq!(
        (&a["status"], &a["authentication"]["symmetricKey"]),
        (&json!("disabled"), &keys)
    );
    let b = client.get("/twins/b").await.json();
    assert_eq!(
        (&b["tags"]["site"], &b["properties"]["desired"]["n"]),
        (&json!("x"), &json!(1))
    );

    let module = json!([{"id": "b", "moduleId": "m", "importMode": "create", "managedBy": "me"}]);
    assert_eq!(bulk(&mut client, &module).await.outcome(), "200");
    assert_eq!(client.get("/devices/b/modules/m").await.json()["managedBy"], "me");
    // The spelling of another SDK.
    let twin = json!([{"id": "b", "moduleId": "m", "importMode": "UpdateTwin", "tags": {"t": 1}}]);
    assert_eq!(bulk(&mut client, &twin).await.outcome(), "200");
    assert_eq!(client.get("/twins/b/modules/m").await.json()["tags"], json!({"t": 1}));
}

#[tokio::test]
async fn each_item_fails_by_itself() {
    let (_emulator, mut client) = hub().await;
    client.put("/devices/old", None, "{}").await;
    let reply = bulk(
        &mut client,
        &json!([
            {"id": "old", "importMode": "create"},
            {"id": "new", "importMode": "create"},
            {"id": "none", "importMode": "Delete"},
            {"id": "odd", "importMode": "replace"},
            {"id": "twin", "importMode": "create", "tags": {"a.b": 1}},
        ]),
    )
    .await;
    assert_eq!(reply.outcome(), "400 BulkRegistryOperationFailure");
    assert_eq!(reply.header("IotHubErrorCode"), Some("BulkRegistryOperationFailure"));
    let body = reply.json();
    assert_eq!(body["isSuccessful"], false);
    let errors = body["errors"].as_array().unwrap().iter();
    let errors: Vec<_> = errors.map(|error| (&error["deviceId"], &error["errorCode"])).collect();
    let expected = [("old", 409_001), ("none", 404_001), ("odd", 400_004), ("twin", 400_004)];
    let expected = expected.map(|(id, code)| (json!(id), json!(code)));
    assert_eq!(errors, expected.each_ref().map(|(id, code)| (id, code)));
    assert_eq!(client.get("/devices/new").await.outcome(), "200");
    assert_eq!(
        client.get("/devices/twin").await.outcome(),
        "404 DeviceNotFound",
        "half a device is none"
    );
}

#[tokio::test]
async fn modes_with_a_condition_need_the_tag() {
    let (_emulator, mut client) = hub().await;
    let etag = client.put("/devices/lamp", None, "{}").await.json()["etag"].clone();
    let stale = json!("c3RhbGU=");
    for (mode, tags, expected) in [
        ("updateIfMatchETag", json!({"eTag": stale}), Some(412_001)),
        ("updateIfMatchETag", json!({}), Some(400_004)),
        ("deleteIfMatchETag", json!({"eTag": stale}), Some(412_001)),
        (
            "updateTwinIfMatchETag",
            json!({"twinETag": stale, "tags": {"a": 1}}),
            Some(412_001),
        ),
        (
            "updateTwinIfMatchETag",
            json!({"twinETag": "AAAAAAAAAAE=", "tags": {"a": 1}}),
            None,
        ),
        ("UpdateIfMatchETag", json!({"eTag": etag, "status": "disabled"}), None),
        ("updateTwin", json!({"tags": {"a": null, "b": 2}}), None),
        ("update", json!({}), None),
        ("delete", json!({}), None),
    ] {
        let mut item = tags;
        item["id"] = json!("lamp");
        item["importMode"] = json!(mode);
        let body = bulk(&mut client, &json!([item])).await.json();
        let code = body["errors"].get(0).map(|error| error["errorCode"].as_u64().unwrap());
        assert_eq!(code, expected, "{mode}: {body}");
    }
    assert_eq!(client.get("/devices/lamp").await.outcome(), "404 DeviceNotFound");
}

#[tokio::test]
async fn a_call_that_cannot_be_is_refused_whole() {
    let (_emulator, mut client) = hub().await;
    let many: Vec<_> = (0..101)
        .map(|at| json!({"id": format!("d{at}"), "importMode": "create"}))
        .collect();
    for (items, expected) in [
        (json!({"id": "a"}), "400 IotHubFormatError"),
        (json!(many), "413 TooManyDevices"),
        (
            json!([{"id": "a", "importMode": "create"}, {"id": "a", "importMode": "create"}]),
            "400 DeviceDefinedMultipleTimes",
        ),
        (
            json!([{"id": "a", "moduleId": "m"}, {"id": "a", "moduleId": "n"}]),
            "400 DeviceDefinedMultipleTimes",
        ),
    ] {
        assert_eq!(bulk(&mut client, &items).await.outcome(), expected);
    }
    assert_eq!(client.get("/devices").await.json(), json!([]));
    assert_eq!(bulk(&mut client, &json!(many[..100])).await.outcome(), "200");
}

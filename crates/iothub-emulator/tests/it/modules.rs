use iothub_emulator::{Emulator, EmulatorOptions};
use serde_json::json;

use crate::client::Client;

async fn hub() -> (Emulator, Client) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let mut client = Client::new(&emulator, "iothubowner").await;
    client
        .put("/devices/gateway", None, r#"{"capabilities":{"iotEdge":true}}"#)
        .await;
    client.put("/devices/lamp", None, "{}").await;
    (emulator, client)
}

#[tokio::test]
async fn a_new_module_has_the_whole_shape() {
    let (_emulator, mut client) = hub().await;
    let keys = json!({"primaryKey": "AAECAwQFBgcICQoLDA0ODw==", "secondaryKey": "EAECAwQFBgcICQoLDA0ODw=="});
    let body = json!({
        "deviceId": "lamp", "moduleId": "m", "managedBy": "me",
        "authentication": {"type": "sas", "symmetricKey": keys},
    });
    let reply = client.put("/devices/lamp/modules/m", None, &body.to_string()).await;
    assert_eq!(reply.status, 200);
    let module = reply.json();
    let expected = json!({
        "moduleId": "m", "managedBy": "me", "deviceId": "lamp",
        "generationId": module["generationId"], "etag": module["etag"],
        "connectionState": "Disconnected", "connectionStateUpdatedTime": "0001-01-01T00:00:00Z",
        "lastActivityTime": "0001-01-01T00:00:00Z", "cloudToDeviceMessageCount": 0,
        "authentication": {
            "symmetricKey": keys,
            "x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null}, "type": "sas",
        },
    });
    assert_eq!(module, expected);
    assert_eq!(client.get("/devices/lamp/modules/m").await.json(), expected);
    assert_eq!(client.get("/devices/lamp/modules").await.json(), json!([expected]));
}

#[tokio::test]
async fn conditions_are_kept_to_the_letter() {
    let (_emulator, mut client) = hub().await;
    for (method, path, tag, expected) in [
        ("GET", "/devices/lamp/modules/m", None, "404 ModuleNotFound"),
        ("PUT", "/devices/lamp/modules/m", Some("*"), "404 ModuleNotFound"),
        ("PUT", "/devices/lamp/modules/m", None, "200"),
        (
            "PUT",
            "/devices/lamp/modules/m",
            None,
            "409 ModuleAlreadyExistsOnDevice",
        ),
        (
            "PUT",
            "/devices/lamp/modules/m",
            Some("\"stale\""),
            "412 PreconditionFailed",
        ),
        ("PUT", "/devices/lamp/modules/m", Some("\"*\""), "200"),
        ("PUT", "/devices/lamp/modules/$mine", None, "400 ArgumentInvalid"),
        ("DELETE", "/devices/lamp/modules/m", None, "412 PreconditionFailed"),
        ("DELETE", "/devices/lamp/modules/m", Some("*"), "204"),
        ("DELETE", "/devices/lamp/modules/m", Some("*"), "404 ModuleNotFound"),
        // A shared access signature learns nothing about devices that are not there.
        ("GET", "/devices/none/modules/m", None, "401 IotHubUnauthorizedAccess"),
        ("PUT", "/devices/none/modules/m", None, "401 IotHubUnauthorizedAccess"),
        (
            "PUT",
            "/devices/gateway/modules/$edgeHub",
            Some("*"),
            "401 SystemModuleModifyUnauthorizedAccess",
        ),
        (
            "DELETE",
            "/devices/gateway/modules/$edgeHub",
            Some("*"),
            "401 SystemModuleModifyUnauthorizedAccess",
        ),
    ] {
        let headers: Vec<_> = tag.map(|tag| ("if-match", tag)).into_iter().collect();
        let reply = client.call(method, path, &headers, "{}").await;
        assert_eq!(reply.outcome(), expected, "{method} {path} {tag:?}");
    }
}

#[tokio::test]
async fn a_conflict_comes_as_a_number() {
    let (_emulator, mut client) = hub().await;
    client.put("/devices/lamp/modules/m", None, "{}").await;
    let body = client.put("/devices/lamp/modules/m", None, "{}").await.json();
    assert_eq!(body["errorCode"], 409301);
    let members: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["errorCode", "message", "timestampUtc", "trackingId"]);
}

#[tokio::test]
async fn modules_of_the_edge_runtime_come_and_go_with_the_capability() {
    let (_emulator, mut client) = hub().await;
    let modules = client.get("/devices/gateway/modules").await.json();
    let seen: Vec<_> = modules
        .as_array()
        .unwrap()
        .iter()
        .map(|module| {
            (
                &module["moduleId"],
                &module["managedBy"],
                &module["authentication"]["type"],
            )
        })
        .collect();
    let edge = (&json!("iotEdge"), &json!("none"));
    assert_eq!(
        seen,
        [
            (&json!("$edgeAgent"), edge.0, edge.1),
            (&json!("$edgeHub"), edge.0, edge.1)
        ]
    );

    client.put("/devices/gateway", Some("*"), "{}").await;
    assert_eq!(client.get("/devices/gateway/modules").await.json(), json!([]));
}

#[tokio::test]
async fn a_device_holds_fifty_modules() {
    let (_emulator, mut client) = hub().await;
    for at in 0..50 {
        let reply = client.put(&format!("/devices/lamp/modules/m{at}"), None, "{}").await;
        assert_eq!(reply.outcome(), "200");
    }
    let reply = client.put("/devices/lamp/modules/more", None, "{}").await;
    assert_eq!(reply.outcome(), "413 TooManyModulesOnDevice");
}

use iothub_emulator::{Emulator, EmulatorOptions};
use serde_json::{Value, json};

use crate::client::Client;

#[tokio::test]
async fn the_keys_that_were_asked_for_are_new() {
    let (_emulator, mut client) = hub().await;
    client.put("/devices/lamp", None, "{}").await;
    client.put("/devices/lamp/modules/dimmer", None, "{}").await;
    let mut old = keys(&mut client, "/devices/lamp").await;
    for (which, renewed) in [
        ("primaryKey", [true, false]),
        ("secondaryKey", [false, true]),
        ("Both", [true, true]),
    ] {
        let reply = renew(&mut client, which, &json!([{"id": "lamp"}])).await;
        assert_eq!(reply.0, "200");
        let new = keys(&mut client, "/devices/lamp").await;
        let told = &reply.1["rotatedKeys"][0];
        assert_eq!(
            (&told["id"], [&told["primaryKey"], &told["secondaryKey"]]),
            (&json!("lamp"), [&new[0], &new[1]])
        );
        assert_eq!([new[0] != old[0], new[1] != old[1]], renewed, "{which}");
        old = new;
    }
    let modules = keys(&mut client, "/devices/lamp/modules/dimmer").await;
    let reply = renew(&mut client, "both", &json!([{"id": "lamp", "moduleId": "dimmer"}])).await;
    assert_eq!(reply.1["rotatedKeys"][0]["moduleId"], "dimmer");
    assert_ne!(keys(&mut client, "/devices/lamp/modules/dimmer").await, modules);
    assert_eq!(keys(&mut client, "/devices/lamp").await, old);
}

#[tokio::test]
async fn each_renewal_fails_by_itself() {
    let (_emulator, mut client) = hub().await;
    client.put("/devices/lamp", None, "{}").await;
    let authority = r#"{"authentication": {"type": "certificateAuthority"}}"#;
    client.put("/devices/cert", None, authority).await;
    let all = json!([{"id": "nobody"}, {"id": "lamp"}, {"id": "cert"}, {"id": "lamp", "moduleId": "none"}]);
    let (outcome, body) = renew(&mut client, "both", &all).await;
    assert_eq!(outcome, "207 BulkRegenerateDeviceKeyOperationFailure");
    let codes: Vec<_> = body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["errorCode"].clone())
        .collect();
    assert_eq!(codes, [404_001, 400_004, 404_010]);
    assert_eq!(body["rotatedKeys"].as_array().unwrap().len(), 1);

    let (outcome, body) = renew(&mut client, "both", &json!([{"id": "nobody"}])).await;
    assert_eq!(outcome, "400 BulkRegenerateDeviceKeyOperationFailure");
    assert_eq!(body["rotatedKeys"], json!([]));
}

#[tokio::test]
async fn a_renewal_that_cannot_be_is_refused_whole() {
    let (emulator, mut client) = hub().await;
    client.put("/devices/lamp", None, "{}").await;
    let many: Vec<_> = (0..101).map(|at| json!({"id": format!("d{at}")})).collect();
    for (which, devices, expected) in [
        ("none", json!([{"id": "lamp"}]), "400 ArgumentInvalid"),
        ("both", json!({}), "400 ArgumentInvalid"),
        ("both", json!(many), "413 TooManyDevices"),
    ] {
        assert_eq!(renew(&mut client, which, &devices).await.0, expected);
    }
    let path = "/devices/keys/regenerate";
    let body = json!({"policyKey": "both", "devices": [{"id": "lamp"}]}).to_string();
    assert_eq!(
        client.call("POST", path, &[], &body).await.outcome(),
        "404 GenericNotFound",
        "too old a version"
    );
    let mut reader = Client::new(&emulator, "registryRead").await;
    let path = "/devices/keys/regenerate?api-version=2024-03-31";
    assert_eq!(reader.call("POST", path, &[], &body).await.status, 401);
}

async fn renew(client: &mut Client, which: &str, devices: &Value) -> (String, Value) {
    let body = json!({"policyKey": which, "devices": devices}).to_string();
    let path = "/devices/keys/regenerate?api-version=2024-03-31";
    let reply = client.call("POST", path, &[], &body).await;
    (reply.outcome(), reply.json())
}

async fn keys(client: &mut Client, path: &str) -> [Value; 2] {
    let identity = client.get(path).await.json();
    let keys = &identity["authentication"]["symmetricKey"];
    [keys["primaryKey"].clone(), keys["secondaryKey"].clone()]
}

async fn hub() -> (Emulator, Client) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let client = Client::new(&emulator, "iothubowner").await;
    (emulator, client)
}

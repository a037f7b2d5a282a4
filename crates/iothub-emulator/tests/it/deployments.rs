use iothub_emulator::{Emulator, EmulatorOptions};
use serde_json::{Map, Value, json};

use crate::client::Client;

/// An edge device and another one.
async fn hub() -> (Emulator, Client) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let mut client = Client::new(&emulator, "iothubowner").await;
    let edge = json!({"capabilities": {"iotEdge": true}}).to_string();
    client.put("/devices/gate", None, &edge).await;
    client.put("/devices/lamp", None, "{}").await;
    (emulator, client)
}

async fn deploy(client: &mut Client, id: &str, priority: u32, modules: Value) -> String {
    let body = json!({"content": {"modulesContent": modules}, "priority": priority, "targetCondition": "*"});
    let reply = client
        .put(&format!("/configurations/{id}"), None, &body.to_string())
        .await;
    reply.outcome()
}

async fn apply(client: &mut Client, modules: Value) -> String {
    let body = json!({"modulesContent": modules}).to_string();
    let path = "/devices/gate/applyConfigurationContent";
    client.call("POST", path, &[], &body).await.outcome()
}

async fn desired(client: &mut Client, module: &str) -> Value {
    let twin = client.get(&format!("/twins/gate/modules/{module}")).await.json();
    let mut desired = twin["properties"]["desired"].clone();
    let members = desired.as_object_mut().unwrap();
    members.retain(|name, _| !name.starts_with('$'));
    desired
}

async fn modules(client: &mut Client) -> Vec<String> {
    let modules = client.get("/devices/gate/modules").await.json();
    let ids = modules
        .as_array()
        .unwrap()
        .iter()
        .map(|module| module["moduleId"].as_str().unwrap().to_owned());
    ids.collect()
}

#[tokio::test]
async fn what_the_agent_reports_is_counted() {
    let (emulator, mut client) = hub().await;
    let base = json!({"$edgeAgent": {"properties.desired": {"schemaVersion": "1.1"}}});
    assert_eq!(deploy(&mut client, "base", 1, base).await, "200");
    let agent = emulator.module("gate", "$edgeAgent").unwrap();
    let twin = client.get("/twins/gate/modules/$edgeAgent").await.json();
    let version = twin["properties"]["desired"]["$version"].as_u64().unwrap();
    for (version, code, successful, failed) in [
        (version, 200, 1, 0),
        (version, 400, 0, 1),
        // What it says about an older version is no news.
        (version - 1, 200, 0, 0),
    ] {
        let report = json!({"lastDesiredVersion": version, "lastDesiredStatus": {"code": code}});
        agent.report(&report.to_string()).unwrap();
        let read = client.get("/configurations/base").await.json();
        let expected = json!({
            "targetedCount": 1, "appliedCount": 1,
            "reportedSuccessfulCount": successful, "reportedFailedCount": failed,
        });
        assert_eq!(read["systemMetrics"]["results"], expected, "{report}");
        // The queries that are shown count the same.
        for (name, count) in expected.as_object().unwrap() {
            let query = json!({"query": read["systemMetrics"]["queries"][name]}).to_string();
            let rows = client.call("POST", "/devices/query", &[], &query).await.json();
            assert_eq!(rows.as_array().unwrap().len() as u64, count.as_u64().unwrap(), "{name}");
        }
    }
}

#[tokio::test]
async fn a_device_hears_of_what_a_configuration_writes() {
    let (emulator, mut client) = hub().await;
    let lamp = emulator.device("lamp").unwrap();
    lamp.go_online().unwrap();
    let mut changes = lamp.watch_desired().unwrap();
    let body = json!({
        "content": {"deviceContent": {"properties.desired.fan.speed": 5}}, "targetCondition": "deviceId = 'lamp'",
    });
    client.put("/configurations/fans", None, &body.to_string()).await;
    let patch: Value = serde_json::from_str(&changes.recv().await.unwrap().patch).unwrap();
    assert_eq!(patch["fan"], json!({"speed": 5}));
}

#[tokio::test]
async fn names_of_modules_are_checked() {
    let (_emulator, mut client) = hub().await;
    for name in ["$other", "a b", "a/b", ""] {
        let content = json!({"$edgeAgent": {}, name: {"properties.desired": {"x": 1}}});
        let refused = "400 InvalidConfigurationContent";
        assert_eq!(deploy(&mut client, "base", 1, content.clone()).await, refused, "{name}");
        assert_eq!(apply(&mut client, content).await, refused, "{name}");
    }
    assert_eq!(modules(&mut client).await, ["$edgeAgent", "$edgeHub"]);
}

#[tokio::test]
async fn content_is_applied_as_a_whole_or_not_at_all() {
    let (_emulator, mut client) = hub().await;
    let before = r#"{"properties":{"desired":{"old":1}}}"#;
    client.call("PATCH", "/twins/gate/modules/$edgeHub", &[], before).await;
    // More than a section holds, in pieces that are each short enough.
    let long: Map<_, _> = (0..9).map(|at| (format!("k{at}"), json!("x".repeat(4000)))).collect();
    let too_long = json!({
        "$edgeAgent": {"properties.desired": {"v": 1}}, "$edgeHub": {"properties.desired": {"v": 1}},
        "a": {"properties.desired": {"v": 1}}, "z": {"properties.desired": long},
    });
    assert_eq!(apply(&mut client, too_long).await, "400 InvalidConfigurationContent");
    assert_eq!(modules(&mut client).await, ["$edgeAgent", "$edgeHub"]);
    assert_eq!(desired(&mut client, "$edgeAgent").await, json!({}));
    assert_eq!(desired(&mut client, "$edgeHub").await, json!({"old": 1}));

    let content = json!({"$edgeAgent": {}, "$edgeHub": {"properties.desired": {"v": 1}}});
    assert_eq!(apply(&mut client, content).await, "204");
    assert_eq!(desired(&mut client, "$edgeHub").await, json!({"v": 1}));

    for at in 0..40 {
        client.put(&format!("/devices/gate/modules/m{at}"), None, "{}").await;
    }
    let mut many: Map<_, _> = (0..10)
        .map(|at| (format!("n{at}"), json!({"properties.desired": {}})))
        .collect();
    many.insert("$edgeAgent".to_owned(), json!({"properties.desired": {"v": 2}}));
    assert_eq!(
        apply(&mut client, Value::Object(many)).await,
        "413 TooManyModulesOnDevice"
    );
    assert_eq!(modules(&mut client).await.len(), 42);
    assert_eq!(desired(&mut client, "$edgeAgent").await, json!({}));
}

#[tokio::test]
async fn configurations_need_the_rights_of_the_registry() {
    let (emulator, mut owner) = hub().await;
    let configuration = json!({"content": {"deviceContent": {"properties.desired.x": 1}}}).to_string();
    owner.put("/configurations/x", None, &configuration).await;
    let content = json!({"modulesContent": {"$edgeAgent": {}}}).to_string();
    let refused = "401 IotHubUnauthorizedAccess";
    for (policy, reads, writes) in [
        ("registryRead", true, false),
        ("registryReadWrite", true, true),
        ("service", false, false),
        ("device", false, false),
    ] {
        let mut client = Client::new(&emulator, policy).await;
        let word = |allowed: bool, outcome: &'static str| if allowed { outcome } else { refused };
        for (method, path, body, expected) in [
            ("GET", "/configurations", "", word(reads, "200")),
            ("GET", "/configurations/x", "", word(reads, "200")),
            ("PUT", "/configurations/y", &*configuration, word(writes, "200")),
            ("POST", "/configurations/testQueries", "{}", word(writes, "200")),
            (
                "POST",
                "/devices/gate/applyConfigurationContent",
                &*content,
                word(writes, "204"),
            ),
            ("DELETE", "/configurations/y", "", word(writes, "204")),
        ] {
            let outcome = client.call(method, path, &[], body).await.outcome();
            assert_eq!(outcome, expected, "{policy}: {method} {path}");
        }
    }
}

//! The management API, asked over its socket.

use iothub_emulator::{Door, Emulator, EmulatorOptions, Event};
use serde_json::{Value, json};

use super::client::{Client, Reply};

async fn start() -> (Emulator, Client) {
    let options = EmulatorOptions {
        management_port: Some(0),
        ..Default::default()
    };
    let emulator = Emulator::start(options).await.unwrap();
    let client = Client::management(&emulator).await;
    (emulator, client)
}

impl Client {
    async fn ask(&mut self, method: &str, path: &str, body: Value) -> Reply {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let token = self.token.clone();
        self.raw(method, path, &[("authorization", &token)], &body)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn nobody_gets_in_without_the_token() {
    let (emulator, mut client) = start().await;
    for token in [
        "",
        "Bearer ",
        "Bearer x",
        emulator.management_token().unwrap(),
        &super::client::token(&emulator, "iothubowner", 4_102_444_800),
    ] {
        client.token = token.to_owned();
        let reply = client.ask("POST", "/reset", Value::Null).await;
        assert_eq!(reply.status, 401, "{token}");
        assert!(reply.json()["error"].as_str().unwrap().contains("Bearer"));
    }
}

#[tokio::test]
async fn the_journal_can_be_followed() {
    let (emulator, mut client) = start().await;
    emulator.add_device("lamp").unwrap();
    let part = client.ask("GET", "/journal?since=0", Value::Null).await.json();
    let entry = &part["entries"][0];
    assert_eq!(entry["number"], 1);
    assert_eq!(
        entry["event"],
        json!({"type": "executed", "operation": "create", "on": "lamp"})
    );
    assert!(entry["at"].as_str().unwrap().ends_with('Z'));
    let last = part["last"].as_u64().unwrap();

    let path = format!("/journal?since={last}&wait=60&limit=1");
    let (waited, ()) = tokio::join!(client.ask("GET", &path, Value::Null), async {
        emulator.device("lamp").unwrap().go_online().unwrap();
    });
    let waited = waited.json();
    assert_eq!(waited["entries"][0]["event"]["type"], "connected");
    assert_eq!(waited["entries"][0]["event"]["target"], "lamp");
    assert_eq!(waited["last"], last + 1);
}

#[tokio::test]
async fn devices_online_can_be_sent_away() {
    let (emulator, mut client) = start().await;
    let lamp = emulator.add_device("lamp").unwrap();
    lamp.go_online().unwrap();
    let online = client.ask("GET", "/devices/online", Value::Null).await.json();
    assert_eq!(online, json!([{"deviceId": "lamp", "door": "inProcess"}]));

    assert_eq!(
        client.ask("POST", "/devices/lamp/disconnect", Value::Null).await.status,
        204
    );
    assert!(!lamp.is_online());
    let reply = client.ask("POST", "/devices/fan/disconnect", Value::Null).await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.json()["error"], "fan is not connected");
}

#[tokio::test]
async fn faults_are_asked_for_by_name() {
    let (emulator, mut client) = start().await;
    let wish = json!({"fault": {"name": "refuse", "code": "ServerError", "retryAfter": "7"}, "next": 1});
    assert_eq!(client.ask("POST", "/faults", wish.clone()).await.status, 204);
    let chance = json!({"fault": {"name": "lose-answer"}, "probability": 0.5, "seed": 42});
    assert_eq!(client.ask("POST", "/faults", chance.clone()).await.status, 204);
    assert_eq!(
        client.ask("GET", "/faults", Value::Null).await.json(),
        json!([wish, chance])
    );

    let mut owner = Client::new(&emulator, "iothubowner").await;
    let refused = owner.get("/devices").await;
    assert_eq!(refused.outcome(), "500 ServerError");
    assert_eq!(refused.header("retry-after"), Some("7"));

    assert_eq!(client.ask("DELETE", "/faults", Value::Null).await.status, 204);
    assert_eq!(owner.get("/devices").await.outcome(), "200");

    for (wish, part) in [
        (json!({"fault": {"name": "explode"}}), "explode"),
        (
            json!({"fault": {"name": "lose-answer"}, "next": 1, "seed": 1}),
            "probability",
        ),
        (
            json!({"fault": {"name": "slow-answer", "bytesPerSecond": 0}}),
            "at least 1",
        ),
        (json!({"fault": {"name": "lose-answer"}, "often": true}), "often"),
    ] {
        let reply = client.ask("POST", "/faults", wish).await;
        assert_eq!(reply.status, 400);
        assert!(reply.json()["error"].as_str().unwrap().contains(part), "{reply:?}");
    }
    let hold = json!({"name": "hold-settlements"});
    assert_eq!(client.ask("POST", "/disruptions", hold).await.status, 204);
    assert_eq!(
        client.ask("POST", "/disruptions", json!({"name": "sulk"})).await.status,
        400
    );
}

#[tokio::test]
async fn the_clock_turns_and_the_hub_begins_again() {
    let (emulator, mut client) = start().await;
    let before = emulator.clock().now();
    let reply = client.ask("POST", "/clock", json!({"advance": "2h"})).await;
    assert!(emulator.clock().now() - before >= time::Duration::hours(2));
    assert!(reply.json()["now"].is_string());

    emulator.add_device("lamp").unwrap();
    let mut owner = Client::new(&emulator, "iothubowner").await;
    let tagged = r#"{"id": "all", "content": {"deviceContent": {"properties.desired.on": {}}}, "targetCondition": "*", "priority": 1}"#;
    assert_eq!(owner.put("/configurations/all", None, tagged).await.outcome(), "200");
    assert_eq!(client.ask("POST", "/reset", Value::Null).await.status, 204);
    assert_eq!(owner.get("/devices").await.json(), json!([]));
    assert_eq!(owner.get("/configurations").await.json(), json!([]));
}

#[tokio::test]
async fn connections_are_dropped_and_this_one_is_not() {
    let (emulator, mut client) = start().await;
    let mut owner = Client::new(&emulator, "iothubowner").await;
    assert_eq!(owner.get("/devices").await.outcome(), "200");
    assert_eq!(client.ask("POST", "/connections/drop", Value::Null).await.status, 204);
    // The order is carried out by another task; until then, the connection answers.
    let token = owner.token.clone();
    let path = "/devices?api-version=2021-04-12";
    while owner.raw("GET", path, &[("authorization", &token)], "").await.is_ok() {}
    let mut again = Client::new(&emulator, "iothubowner").await;
    assert_eq!(again.get("/devices").await.outcome(), "200");
    assert_eq!(client.ask("GET", "/nothing", Value::Null).await.status, 404);
    let requests = |event: &Event| matches!(event, Event::Request { door: Door::Http, .. });
    assert!(emulator.journal().count(requests) >= 2);
}

#[tokio::test]
async fn the_readme_names_every_fault_and_disruption() {
    let readme = include_str!("../../README.md");
    let (_emulator, mut client) = start().await;
    let nonsense = json!({"name": "nonsense"});
    for (path, body, least) in [
        ("/faults", json!({"fault": nonsense}), 30),
        ("/disruptions", nonsense.clone(), 10),
    ] {
        let refused = client.ask("POST", path, body).await.json()["error"].to_string();
        let (_, expected) = refused.split_once("expected one of").unwrap();
        let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        assert!(names.len() >= least, "{names:?}");
        for name in names {
            let shown = format!("`{name}`");
            let in_json = format!("\"name\": \"{name}\"");
            assert!(readme.contains(&shown) || readme.contains(&in_json), "{path}: {name}");
        }
    }
}

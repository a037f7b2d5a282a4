//! The built-in devices of the binary, as somebody sees them who started it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{client::Client, process::Process};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn management(process: &Process) -> Client {
    let (_, port) = process.text("managementEndpoint").rsplit_once(':').unwrap();
    let token = format!("Bearer {}", process.text("managementToken"));
    let stream = process.dial(port.parse().unwrap(), b"http/1.1").await;
    Client::on(stream, process.text("host").to_owned(), token).await
}

/// Follows the journal until every one of these devices has done this.
async fn all(management: &mut Client, devices: &[String], is_it: impl Fn(&Value, &str) -> bool) {
    let (mut since, mut missing) = (0, devices.to_vec());
    let token = management.token.clone();
    while !missing.is_empty() {
        let path = format!("/journal?since={since}&wait=60");
        let reply = management.raw("GET", &path, &[("authorization", &token)], "").await;
        let part = reply.unwrap().json();
        for entry in part["entries"].as_array().unwrap() {
            missing.retain(|device| !is_it(&entry["event"], device));
        }
        since = part["last"].as_u64().unwrap();
    }
}

#[tokio::test]
async fn the_binary_brings_devices_that_send_answer_and_follow() {
    let process = Process::start(["--simulate", "5"]).await;
    let (mut service, mut management) = (process.service().await, management(&process).await);
    let devices: Vec<String> = (1..=5).map(|number| format!("simulated-{number:04}")).collect();
    let connected = |event: &Value, device: &str| {
        event["type"] == "connected" && event["target"] == device && event["door"] == "mqtt"
    };
    timeout(PATIENCE, all(&mut management, &devices, connected))
        .await
        .expect("they connect");

    let call = r#"{"methodName":"blink","payload":[1],"connectTimeoutInSeconds":30}"#;
    let answer = service.call("POST", "/twins/simulated-0002/methods", &[], call).await;
    assert_eq!(
        answer.json(),
        json!({"status": 200, "payload": {"ran": "blink", "with": [1]}})
    );

    let desired = json!({"properties": {"desired": {"colour": "red", "telemetryInterval": 0.05}}}).to_string();
    for device in &devices {
        let path = format!("/twins/{device}");
        assert_eq!(service.call("PATCH", &path, &[], &desired).await.status, 200);
        let followed = async {
            while service.get(&path).await.json()["properties"]["reported"]["colour"] != "red" {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, followed).await.expect("it follows");
    }

    let sent = |event: &Value, device: &str| event["type"] == "telemetry" && event["source"] == device;
    timeout(PATIENCE, all(&mut management, &devices, sent))
        .await
        .expect("they send");
}

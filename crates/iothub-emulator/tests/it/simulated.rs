//! The built-in devices of the binary, as somebody sees them who started it.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{net::TcpStream, task::spawn_blocking, time::timeout};
use tokio_rustls::client::TlsStream;

use crate::client::{self, Client};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary with five devices. It ends with this value.
struct Binary {
    process: Child,
    ready: Value,
    root: String,
}

impl Binary {
    async fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_iothub-emulator"))
            .args(["--free-ports", "--log", "off", "--simulate", "5"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut binary = Self {
            process,
            ready: Value::Null,
            root: String::new(),
        };
        let line = spawn_blocking(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).map(|_| line)
        });
        let line = timeout(PATIENCE, line).await.expect("it starts").unwrap().unwrap();
        binary.ready = serde_json::from_str(&line).unwrap();
        binary.root = fs::read_to_string(binary.text("caFile")).unwrap();
        binary
    }

    async fn service(&self) -> Client {
        let port = u16::try_from(self.ready["httpsPort"].as_u64().unwrap()).unwrap();
        let host = self.text("host");
        let token = client::token_of(self.text("connectionString"), host, "iothubowner", 4_102_444_800);
        Client::on(self.dial(port).await, host.to_owned(), token).await
    }

    async fn management(&self) -> Client {
        let (_, port) = self.text("managementEndpoint").rsplit_once(':').unwrap();
        let token = format!("Bearer {}", self.text("managementToken"));
        let stream = self.dial(port.parse().unwrap()).await;
        Client::on(stream, self.text("host").to_owned(), token).await
    }

    async fn dial(&self, port: u16) -> TlsStream<TcpStream> {
        let dialled = client::dial(&self.root, self.text("host"), port, b"http/1.1", None);
        dialled.await.unwrap()
    }

    fn text(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap()
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
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
    let binary = Binary::start().await;
    let (mut service, mut management) = (binary.service().await, binary.management().await);
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

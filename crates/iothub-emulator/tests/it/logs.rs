//! What the emulator writes into logs, and what never.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use fe2o3_amqp_types::messaging::Properties;
use iothub_emulator::{Emulator, EmulatorOptions};
use tracing::{Dispatch, Level, subscriber::DefaultGuard};
use tracing_subscriber::{filter::Targets, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

use super::{amqp::Service, client::Client};

/// What was logged by this thread. The runtime of these tests has one only.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// While there is one subscriber only, tracing asks the thread that comes to a line first whether anybody wants it,
    /// for all threads and for good. Other tests run on threads without one; a second makes it ask each time.
    fn begin(&self) -> (DefaultGuard, Dispatch) {
        let second = Dispatch::new(tracing_subscriber::registry());
        let guard = tracing_subscriber::registry()
            .with(
                tracing_subscriber::fmt::layer()
                    .with_ansi(false)
                    .with_writer(self.clone()),
            )
            .with(Targets::new().with_target("iothub_emulator", Level::TRACE))
            .set_default();
        (guard, second)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const CONFIGURATION: &str = r#"
    management_port = 0

    [[hub.policies]]
    name = "service"
    primary_key = "cG9saWN5LWtleS1jYW5hcnktMDEyMzQ="

    [[hub.devices]]
    id = "lamp"
    primary_key = "ZGV2aWNlLWtleS1jYW5hcnktMDEyMzQ="

    [[entra.applications]]
    name = "app"
    client_secret = "client-secret-canary"
    "#;

#[tokio::test]
async fn an_operation_is_a_line_and_a_secret_is_in_none() {
    let log = Log::default();
    let guard = log.begin();
    let options = EmulatorOptions::from_toml(CONFIGURATION).unwrap();
    let shown = format!("{options:?}");
    let emulator = Emulator::start(options).await.unwrap();
    let shown = format!(
        "{shown} {emulator:?} {:?} {:?}",
        emulator.entra(),
        emulator.device("lamp")
    );

    let mut owner = Client::new(&emulator, "iothubowner").await;
    for (method, path, body) in [
        ("PUT", "/devices/fan", r#"{"statusReason":"body-canary"}"#),
        ("GET", "/devices/lamp", ""),
        ("PATCH", "/twins/lamp", r#"{"tags":{"a":"body-canary"}}"#),
        ("POST", "/devices/query", r#"{"query":"SELECT * FROM devices"}"#),
        ("POST", "/devices/lamp/messages/events", "body-canary"),
        ("POST", "/devices/keys/regenerate", "body-canary"),
        (
            "POST",
            "/twins/lamp/methods",
            r#"{"methodName":"m","payload":"body-canary"}"#,
        ),
        ("POST", "/devices/lamp/files", r#"{"blobName":"b"}"#),
    ] {
        owner.call(method, path, &[], body).await;
    }
    // What is refused shows what is wrong with it, and not all of it.
    owner.token = owner.token.replace("sig=", "sig=AAAA");
    assert_eq!(owner.get("/devices/lamp").await.status, 401);
    let exports = emulator.blob_container("exports").unwrap();
    let mut service = Service::connect(&emulator).await;
    service
        .send("lamp", "m", Some("full"), Properties::default(), "body-canary")
        .await;
    let lamp = emulator.device("lamp").unwrap();
    lamp.recv().await.complete().unwrap();

    let mut tests = Client::management(&emulator).await;
    let token = tests.token.clone();
    tests
        .raw("GET", "/journal", &[("authorization", &token)], "")
        .await
        .unwrap();

    let mut secrets = Vec::new();
    for key in ["cG9saWN5LWtleS1jYW5hcnktMDEyMzQ=", "ZGV2aWNlLWtleS1jYW5hcnktMDEyMzQ="] {
        secrets.extend([key.to_owned(), key.replace('=', "%3D")]);
    }
    let signature = |text: &str| text.split_once("sig=").unwrap().1.split('&').next().unwrap().to_owned();
    secrets.extend([
        "policy-key-canary".to_owned(),
        "device-key-canary".to_owned(),
        "client-secret-canary".to_owned(),
        "body-canary".to_owned(),
        signature(&owner.token),
        signature(&super::client::token(&emulator, "service", 4_102_444_800)),
        signature(&exports.sas_uri()),
        emulator.management_token().unwrap().to_owned(),
    ]);
    emulator.shutdown().await;
    drop(guard);
    let log = format!("{shown}\n{}", log.text());
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} in {log}");
    }
    for parts in [
        &["GET /devices/lamp", "status=200", "micros="][..],
        &["GET /devices/lamp", "status=401", "micros="],
        &["address=\"/messages/devicebound\"", "status=\"accepted\"", "micros="],
        &["management", "GET /journal", "status=200"],
    ] {
        let is_whole = |line: &str| parts.iter().all(|part| line.contains(part));
        assert!(log.lines().any(is_whole), "{parts:?} in {log}");
    }
}

//! A hub that is as its options say.

use std::time::Duration;

use fe2o3_amqp_types::messaging::Properties;
use iothub_emulator::{Emulator, EmulatorOptions, Event, Outcome, Role};

use super::{amqp::Service, client::Client};

async fn start(toml: &str) -> Emulator {
    Emulator::start(EmulatorOptions::from_toml(toml).unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn policies_and_devices_have_the_keys_that_were_given() {
    let emulator = start(
        r#"
        [[hub.policies]]
        name = "reader"
        permissions = ["RegistryRead"]
        primary_key = "AAECAwQFBgcICQoLDA0ODw=="

        [[hub.policies]]
        name = "service"
        primary_key = "Dw4NDAsKCQgHBgUEAwIBAA=="

        [[hub.devices]]
        id = "lamp"
        primary_key = "AAECAwQFBgcICQoLDA0ODw=="

        [[hub.devices]]
        id = "gate"
        edge = true
        primary_thumbprint = "0123456789ABCDEF0123456789ABCDEF01234567"
        "#,
    )
    .await;
    assert!(
        emulator
            .connection_string("service")
            .unwrap()
            .ends_with("SharedAccessKey=Dw4NDAsKCQgHBgUEAwIBAA==")
    );

    let mut reader = Client::new(&emulator, "reader").await;
    let lamp = reader.get("/devices/lamp").await.json();
    assert_eq!(
        lamp["authentication"]["symmetricKey"]["primaryKey"],
        "AAECAwQFBgcICQoLDA0ODw=="
    );
    let gate = reader.get("/devices/gate").await.json();
    assert_eq!(gate["authentication"]["type"], "selfSigned");
    assert_eq!(gate["capabilities"]["iotEdge"], true);
    assert_eq!(
        reader.delete("/devices/lamp", Some("*")).await.outcome(),
        "401 IotHubUnauthorizedAccess"
    );
    assert_eq!(
        reader.get("/twins/lamp").await.outcome(),
        "401 IotHubUnauthorizedAccess"
    );

    let mut service = Client::new(&emulator, "service").await;
    assert_eq!(service.get("/twins/lamp").await.outcome(), "200");
}

#[tokio::test]
async fn what_is_over_the_figures_of_the_edition_waits_for_the_clock() {
    let emulator = start("hub = { sku = \"S1\", throttling = true }").await;
    let mut client = Client::http2(&emulator, "iothubowner").await;
    let query = r#"{"query":"SELECT * FROM devices"}"#;
    for _ in 0..20 {
        assert_eq!(client.call("POST", "/devices/query", &[], query).await.outcome(), "200");
    }
    let refused = client.call("POST", "/devices/query", &[], query).await;
    assert_eq!(refused.outcome(), "429 ThrottlingException");
    assert!(
        refused.json()["Message"]
            .as_str()
            .unwrap()
            .contains("Wait 10 seconds and try again"),
        "{refused:?}"
    );
    assert_eq!(refused.header("retry-after"), None, "the hub has none");

    let mut client = Client::new(&emulator, "iothubowner").await;
    assert_eq!(client.get("/devices").await.outcome(), "200", "another figure");
    emulator.clock().advance(Duration::from_secs(3));
    assert_eq!(client.call("POST", "/devices/query", &[], query).await.outcome(), "200");
}

#[tokio::test]
async fn apps_are_there_with_their_roles() {
    let emulator = start(
        r#"
        [[entra.applications]]
        name = "backend"
        client_id = "11111111-2222-3333-4444-555555555555"
        client_secret = "known"
        roles = ["IoT Hub Data Reader"]

        [[entra.applications]]
        name = "app"
        client_secret = "also known"
        "#,
    )
    .await;
    assert_eq!(emulator.entra().application().client_secret(), "also known");
    assert_eq!(emulator.entra().application().name(), "app");
    let backend = emulator.entra().application_named("backend").unwrap();
    assert_eq!(backend.client_id(), "11111111-2222-3333-4444-555555555555");
    assert!(backend.has_role(Role::DataReader) && !backend.has_role(Role::DataContributor));
}

#[tokio::test]
async fn messages_wait_and_come_as_often_as_the_hub_says() {
    let toml = r#"
        [hub.cloud_to_device]
        max_delivery_count = 1
        default_ttl = "2m"

        [[hub.devices]]
        id = "lamp"
        "#;
    let emulator = start(toml).await;
    let lamp = emulator.device("lamp").unwrap();
    let mut service = Service::connect(&emulator).await;
    let outcome = |like| {
        emulator
            .journal()
            .count(|event| matches!(event, Event::Settled { outcome, .. } if *outcome == like))
    };

    service.send("lamp", "abandoned", None, Properties::default(), "").await;
    lamp.recv().await.abandon().unwrap();
    assert_eq!(outcome(Outcome::DeliveredTooOften), 1);

    service.send("lamp", "late", None, Properties::default(), "").await;
    emulator.clock().advance(Duration::from_secs(119));
    assert_eq!(outcome(Outcome::Expired), 0);
    emulator.clock().advance(Duration::from_secs(1));
    assert!(lamp.try_recv().is_none());
    assert_eq!(outcome(Outcome::Expired), 1);
}

#[test]
fn mistakes_are_named_with_their_line_and_without_secrets() {
    for (toml, parts) in [
        (
            "host = \"hub\"\nhttp_port = 1",
            &["line 2", "http_port", "unknown field"][..],
        ),
        ("[hub]\nunits = \"many\"", &["line 2", "units", "string"]),
        ("[hub]\nsku = \"S9\"", &["line 2", "sku", "S9", "S1"]),
        ("[hub.feedback]\nttl = \"soon\"", &["line 2", "ttl", "soon"]),
        ("[[hub.policies]]\nname = \"x\"\nkey = \"c2VjcmV0\"", &["line 3", "key"]),
        ("host = ", &["line 1", "host"]),
        (
            "[[entra.applications]]\nname = \"x\"\nroles = [\"Owner\"]",
            &["line 3", "roles", "Owner"],
        ),
    ] {
        let text = EmulatorOptions::from_toml(toml).unwrap_err().to_string();
        for part in parts {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("c2VjcmV0"), "{text}");
    }
}

#[tokio::test]
async fn what_no_hub_could_be_like_is_refused() {
    for (toml, part) in [
        ("hub = { units = 0 }", "hub.units is 0"),
        (
            "[hub.cloud_to_device]\ndefault_ttl = \"3days\"",
            "hub.cloud_to_device.default_ttl",
        ),
        ("[hub.cloud_to_device]\nmax_delivery_count = 101", "from 1 to 100"),
        ("[hub.feedback]\nlock_timeout = \"1s\"", "hub.feedback.lock_timeout"),
        ("[[hub.policies]]\nname = \"a b\"", "is not the name of a policy"),
        ("[[hub.policies]]\nname = \"x\"", "x has no permissions"),
        (
            "[[hub.policies]]\nname = \"service\"\nprimary_key = \"AAAA\"",
            "16 to 64 bytes",
        ),
        ("[[hub.devices]]\nid = \"a/b\"", "is not a device id"),
        (
            "[[hub.devices]]\nid = \"a\"\nprimary_key = \"AAECAwQFBgcICQoLDA0ODw==\"\nprimary_thumbprint = \"00\"",
            "not both",
        ),
        ("[[entra.applications]]\nroles = []", "without a name"),
    ] {
        let options = EmulatorOptions::from_toml(toml).unwrap();
        let text = Emulator::start(options).await.unwrap_err().to_string();
        assert!(text.contains(part), "{part} in {text}");
    }
}

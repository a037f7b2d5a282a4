use iothub_emulator::{Emulator, EmulatorOptions};
use serde_json::json;

use crate::client::{Client, token};

async fn start() -> Emulator {
    Emulator::start(EmulatorOptions::default()).await.unwrap()
}

#[tokio::test]
async fn an_error_has_the_services_envelope() {
    let emulator = start().await;
    let mut client = Client::new(&emulator, "iothubowner").await;
    let reply = client.get("/devices/none").await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.header("iothub-errorcode"), Some("DeviceNotFound"));
    assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
    let mut body = reply.json();
    let tracking = body["ExceptionMessage"].take();
    assert_eq!(
        body,
        json!({"Message": "ErrorCode:DeviceNotFound;device none not registered", "ExceptionMessage": null})
    );
    let (id, time) = tracking.as_str().unwrap().split_once("-G2:-TimeStamp:").unwrap();
    let id = id.strip_prefix("Tracking ID:").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let emulator = start().await;
    for (policy, method, path, expected) in [
        ("registryRead", "GET", "/devices", "200"),
        ("registryRead", "PUT", "/devices/lamp", "401 IotHubUnauthorizedAccess"),
        ("registryReadWrite", "PUT", "/devices/lamp", "200"),
        (
            "registryReadWrite",
            "DELETE",
            "/devices/lamp/commands",
            "401 IotHubUnauthorizedAccess",
        ),
        ("service", "GET", "/devices/lamp", "401 IotHubUnauthorizedAccess"),
        ("service", "DELETE", "/devices/lamp/commands", "200"),
        ("service", "GET", "/statistics/service", "200"),
        ("device", "GET", "/devices/lamp", "401 IotHubUnauthorizedAccess"),
        ("registryRead", "GET", "/statistics/devices", "200"),
        ("iothubowner", "GET", "/nothing/here", "404 GenericNotFound"),
    ] {
        let mut client = Client::new(&emulator, policy).await;
        let reply = client.call(method, path, &[], "{}").await;
        assert_eq!(reply.outcome(), expected, "{policy} {method} {path}");
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_opens_nothing() {
    let emulator = start().await;
    let mut client = Client::new(&emulator, "iothubowner").await;
    let good = client.token.clone();
    let expired = token(&emulator, "iothubowner", 1_700_000_000);
    for (credential, expected) in [
        (Some(good.as_str()), "200"),
        (None, "401 IotHubUnauthorizedAccess"),
        (Some(""), "401 IotHubUnauthorizedAccess"),
        (Some("Basic YTpi"), "401 IotHubUnauthorizedAccess"),
        (Some("Bearer e30.e30.e30"), "401 IotHubUnauthorizedAccess"),
        (Some(expired.as_str()), "401 IotHubUnauthorizedAccess"),
        (
            Some(&good.replace("iothubowner", "service")),
            "401 IotHubUnauthorizedAccess",
        ),
    ] {
        let headers: Vec<_> = credential.map(|text| ("authorization", text)).into_iter().collect();
        let reply = client
            .raw("GET", "/devices?api-version=2021-04-12", &headers, "")
            .await
            .unwrap();
        assert_eq!(reply.outcome(), expected, "{credential:?}");
    }
}

#[tokio::test]
async fn the_version_is_asked_for() {
    let emulator = start().await;
    let mut client = Client::new(&emulator, "iothubowner").await;
    let token = client.token.clone();
    for (query, expected) in [
        ("", "400 InvalidProtocolVersion"),
        ("?api-version=", "400 InvalidProtocolVersion"),
        ("?api-version=one", "400 InvalidProtocolVersion"),
        ("?api-version=2024-03-31", "200"),
        ("?top=1&API-Version=2020-05-31-preview", "200"),
    ] {
        let headers = [("authorization", token.as_str())];
        let reply = client
            .raw("GET", &format!("/devices{query}"), &headers, "")
            .await
            .unwrap();
        assert_eq!(reply.outcome(), expected, "{query}");
    }
}

#[tokio::test]
async fn a_post_may_stand_for_another_method() {
    let emulator = start().await;
    let mut client = Client::new(&emulator, "iothubowner").await;
    let put = [("x-http-method-override", "PUT")];
    assert_eq!(client.call("POST", "/devices/lamp", &put, "{}").await.outcome(), "200");
    assert_eq!(
        client.call("GET", "/devices/lamp", &put, "").await.outcome(),
        "400 ArgumentInvalid"
    );
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let emulator = start().await;
    let mut client = Client::new(&emulator, "iothubowner").await;
    let body = format!("{}{{}}", " ".repeat(8 * 1024 * 1024));
    let reply = client.put("/devices/lamp", None, &body).await;
    assert_eq!(reply.outcome(), "413 GenericRequestEntityTooLarge");
}

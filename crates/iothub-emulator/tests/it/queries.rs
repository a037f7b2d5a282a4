use iothub_emulator::{Emulator, EmulatorOptions};
use serde_json::{Value, json};

use crate::client::{Client, Reply};

/// Ten devices `d0` to `d9` on two floors; even ones have a module.
async fn hub() -> (Emulator, Client) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let mut client = Client::new(&emulator, "iothubowner").await;
    for at in 0..10 {
        client.put(&format!("/devices/d{at}"), None, "{}").await;
        let tags = json!({"tags": {"floor": at % 2, "n": at}}).to_string();
        client.call("PATCH", &format!("/twins/d{at}"), &[], &tags).await;
        if at % 2 == 0 {
            client.put(&format!("/devices/d{at}/modules/m"), None, "{}").await;
        }
    }
    (emulator, client)
}

async fn page(client: &mut Client, query: &str, size: &str, token: Option<&str>) -> Reply {
    let body = json!({"query": query}).to_string();
    let mut headers = vec![("x-ms-max-item-count", size)];
    headers.extend(token.map(|token| ("x-ms-continuation", token)));
    client.call("POST", "/devices/query", &headers, &body).await
}

/// All rows, and how many pages they came in.
async fn rows(client: &mut Client, query: &str, size: &str) -> (Vec<Value>, usize) {
    let (mut rows, mut pages, mut token) = (Vec::new(), 0, None::<String>);
    loop {
        let reply = page(client, query, size, token.as_deref()).await;
        assert_eq!(reply.outcome(), "200", "{query}: {:?}", reply.body);
        rows.extend(reply.json().as_array().unwrap().clone());
        pages += 1;
        token = reply.header("x-ms-continuation").map(str::to_owned);
        if token.is_none() {
            return (rows, pages);
        }
    }
}

fn ids(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["deviceId"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_follow_each_other_to_the_end() {
    let (_emulator, mut client) = hub().await;
    let all = ["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9"];
    for (size, expected) in [("1", 10), ("3", 4), ("5", 2), ("10", 1), ("100", 1), ("-1", 1)] {
        let (rows, pages) = rows(&mut client, "SELECT * FROM devices", size).await;
        assert_eq!((ids(&rows), pages), (all.to_vec(), expected), "{size}");
    }
    let (rows, pages) = rows(
        &mut client,
        "SELECT TOP 4 deviceId FROM devices WHERE tags.floor = 1",
        "3",
    )
    .await;
    assert_eq!((ids(&rows), pages), (vec!["d1", "d3", "d5", "d7"], 2));
}

#[tokio::test]
async fn a_row_of_everything_is_the_twin() {
    let (_emulator, mut client) = hub().await;
    let reply = page(&mut client, "select * from devices where deviceId = 'd4'", "10", None).await;
    assert_eq!(reply.header("x-ms-item-type"), Some("Twin"));
    assert_eq!(reply.json(), json!([client.get("/twins/d4").await.json()]));

    let reply = page(&mut client, "select * from devices.modules", "2", None).await;
    assert_eq!(reply.header("x-ms-item-type"), Some("Twin"));
    assert_eq!(reply.json()[0], client.get("/twins/d0/modules/m").await.json());
    let (modules, _) = rows(&mut client, "select * from devices.modules", "2").await;
    assert_eq!(ids(&modules), ["d0", "d2", "d4", "d6", "d8"]);
}

#[tokio::test]
async fn projections_and_aggregates_are_raw() {
    let (_emulator, mut client) = hub().await;
    let reply = page(
        &mut client,
        "SELECT deviceId AS id, tags.n FROM devices WHERE tags.n > 8",
        "9",
        None,
    )
    .await;
    assert_eq!(reply.header("x-ms-item-type"), Some("Raw"));
    assert_eq!(reply.json(), json!([{"id": "d9", "n": 9}]));

    let query = "SELECT tags.floor AS floor, COUNT() AS count, SUM(tags.n) AS sum FROM devices GROUP BY tags.floor";
    let expected = [
        json!({"floor": 0, "count": 5, "sum": 20}),
        json!({"floor": 1, "count": 5, "sum": 25}),
    ];
    for size in ["1", "10"] {
        assert_eq!(rows(&mut client, query, size).await.0, expected);
    }
}

#[tokio::test]
async fn changes_between_pages_repeat_and_lose_nobody() {
    let (_emulator, mut client) = hub().await;
    let query = "SELECT deviceId FROM devices";
    let first = page(&mut client, query, "4", None).await;
    let token = first.header("x-ms-continuation").unwrap().to_owned();
    // Before the place, at the place, behind it.
    client.delete("/devices/d0", Some("*")).await;
    client.delete("/devices/d4", Some("*")).await;
    client.put("/devices/d00", None, "{}").await;
    client.put("/devices/d55", None, "{}").await;
    let second = page(&mut client, query, "9", Some(&token)).await;
    assert_eq!(ids(first.json().as_array().unwrap()), ["d0", "d1", "d2", "d3"]);
    assert_eq!(
        ids(second.json().as_array().unwrap()),
        ["d5", "d55", "d6", "d7", "d8", "d9"]
    );
    // The same token again is the same page.
    assert_eq!(page(&mut client, query, "9", Some(&token)).await.json(), second.json());
}

#[tokio::test]
async fn every_member_of_a_twin_can_be_asked_for() {
    let (emulator, mut client) = hub().await;
    let desired = r#"{"properties":{"desired":{"fan":{"speed":2}}}}"#;
    client.call("PATCH", "/twins/d3", &[], desired).await;
    emulator.device("d3").unwrap().report(r#"{"on":true}"#).unwrap();
    client
        .put(
            "/devices/d3",
            Some("*"),
            r#"{"status":"disabled","statusReason":"broken"}"#,
        )
        .await;
    for condition in [
        "properties.desired.fan.speed = 2",
        "properties.reported.on",
        "properties.desired.$version = 2 AND properties.reported.$version = 2",
        "properties.desired.$metadata.fan.$lastUpdatedVersion = 2",
        "IS_OBJECT(properties) AND IS_DEFINED(properties.reported) AND IS_DEFINED(properties.desired.fan)",
        "status = 'disabled' AND statusReason = 'broken'",
        "statusUpdateTime > '2020-01-01'",
    ] {
        let query = format!("SELECT * FROM devices WHERE {condition}");
        assert_eq!(ids(&rows(&mut client, &query, "9").await.0), ["d3"], "{condition}");
    }
    for condition in [
        "connectionState = 'Disconnected' AND capabilities.iotEdge = false AND authenticationType = 'sas'",
        "version > 0 AND cloudToDeviceMessageCount = 0 AND modelId = '' AND IS_DEFINED(etag) AND IS_DEFINED(deviceEtag)",
        "lastActivityTime = '0001-01-01T00:00:00Z' AND NOT IS_DEFINED(deviceScope) AND NOT IS_DEFINED(moduleId)",
    ] {
        let query = format!("SELECT * FROM devices WHERE {condition}");
        assert_eq!(rows(&mut client, &query, "99").await.0.len(), 10, "{condition}");
    }
}

#[tokio::test]
async fn what_is_no_query_is_refused() {
    let (emulator, mut client) = hub().await;
    let long = format!("SELECT * FROM devices WHERE deviceId = '{}'", "x".repeat(8192));
    for query in [
        "",
        "SELECT",
        "SELECT * FROM devices WHERE",
        "DELETE FROM devices",
        &long,
    ] {
        let reply = page(&mut client, query, "1", None).await;
        assert_eq!(reply.outcome(), "400 ArgumentInvalid");
        assert!(
            reply.json()["Message"]
                .as_str()
                .unwrap()
                .starts_with("ErrorCode:ArgumentInvalid;BadRequest")
        );
    }
    let token = page(&mut client, "SELECT * FROM devices", "1", None).await;
    let token = token.header("x-ms-continuation").unwrap().to_owned();
    for (query, token) in [
        ("SELECT * FROM devices", "nonsense"),
        ("SELECT deviceId FROM devices", token.as_str()),
    ] {
        assert_eq!(
            page(&mut client, query, "1", Some(token)).await.outcome(),
            "400 ArgumentInvalid"
        );
    }
    let body = client
        .call("POST", "/devices/query", &[], r#"{"text":"SELECT * FROM devices"}"#)
        .await;
    assert_eq!(body.outcome(), "400 ArgumentInvalid");
    let mut registry = Client::new(&emulator, "registryReadWrite").await;
    let reply = page(&mut registry, "SELECT * FROM devices", "1", None).await;
    assert_eq!(reply.outcome(), "401 IotHubUnauthorizedAccess");
}

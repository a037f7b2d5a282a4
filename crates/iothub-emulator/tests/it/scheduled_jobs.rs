use std::time::Duration;

use iothub_emulator::{Emulator, EmulatorOptions, Event, Operation};
use serde_json::{Value, json};

use crate::client::{Client, Reply};

/// A hub with devices `a`, `b` and `c`, of which the first two have the tag `hall`.
async fn hub() -> (Emulator, Client) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let mut client = Client::new(&emulator, "iothubowner").await;
    for (id, patch) in [
        ("a", r#"{"tags":{"hall":7}}"#),
        ("b", r#"{"tags":{"hall":7}}"#),
        ("c", "{}"),
    ] {
        emulator.add_device(id).unwrap();
        client.call("PATCH", &format!("/twins/{id}"), &[], patch).await;
    }
    (emulator, client)
}

fn twin_job(condition: &str) -> Value {
    json!({
        "type": "scheduleUpdateTwin", "queryCondition": condition,
        "updateTwin": { "etag": "*", "tags": { "seen": 1.0 }, "properties": { "desired": { "interval": 60 } } },
    })
}

fn method_job(condition: &str) -> Value {
    let method = json!({ "methodName": "blink", "payload": { "times": 2 }, "responseTimeoutInSeconds": 30 });
    json!({ "type": "scheduleDeviceMethod", "queryCondition": condition, "cloudToDeviceMethod": method })
}

/// As long ahead as a job may be by the hub's clock.
fn later(mut job: Value, emulator: &Emulator) -> Value {
    let start = emulator.clock().now() + Duration::from_secs(3600);
    job["startTime"] = start
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap()
        .into();
    job
}

async fn put(client: &mut Client, id: &str, job: &Value) -> Reply {
    client.put(&format!("/jobs/v2/{id}"), None, &job.to_string()).await
}

async fn get(client: &mut Client, id: &str) -> Value {
    client.get(&format!("/jobs/v2/{id}")).await.json()
}

/// Looks until the job has this status.
async fn until(client: &mut Client, id: &str, status: &str) -> Value {
    loop {
        let job = get(client, id).await;
        if job["status"] == status {
            return job;
        }
        let word = job["status"].as_str().unwrap();
        assert!(["queued", "scheduled", "running"].contains(&word), "{job}");
        tokio::task::yield_now().await;
    }
}

async fn device_jobs(client: &mut Client, condition: &str) -> Vec<Value> {
    let query = json!({ "query": format!("SELECT * FROM devices.jobs WHERE {condition}") });
    let reply = client.call("POST", "/devices/query", &[], &query.to_string()).await;
    assert_eq!(reply.header("x-ms-item-type"), Some("DeviceJob"), "{reply:?}");
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn a_twin_job_changes_every_twin_that_its_condition_finds() {
    let (emulator, mut client) = hub().await;
    let reply = put(&mut client, "j1", &twin_job("tags.hall = 7")).await;
    let queued = reply.json();
    assert_eq!((reply.outcome().as_str(), &queued["status"]), ("200", &json!("queued")));
    assert_eq!(
        queued["updateTwin"]["tags"].to_string(),
        r#"{"seen":1.0}"#,
        "as it was written"
    );
    assert!(queued.get("deviceJobStatistics").is_none());

    let job = until(&mut client, "j1", "completed").await;

    let statistics = json!({
        "deviceCount": 2, "failedCount": 0, "succeededCount": 2, "runningCount": 0, "pendingCount": 0,
    });
    assert_eq!(job["deviceJobStatistics"], statistics);
    assert_eq!(job["maxExecutionTimeInSeconds"], 3600);
    assert!(job["endTime"].is_string());
    for (id, interval) in [("a", json!(60)), ("b", json!(60)), ("c", Value::Null)] {
        let twin = client.get(&format!("/twins/{id}")).await.json();
        assert_eq!(twin["properties"]["desired"]["interval"], interval, "{id}");
    }
    let done = |wanted, id: &str| {
        emulator
            .journal()
            .count(|event| matches!(event, Event::Executed { operation, on } if *operation == wanted && on == id))
    };
    assert_eq!(done(Operation::ScheduleJob, "j1"), 1);
    assert_eq!(
        (done(Operation::UpdateTwin, "a"), done(Operation::UpdateTwin, "c")),
        (2, 0)
    );

    let rows = device_jobs(
        &mut client,
        "devices.jobs.jobId = 'j1' AND devices.jobs.createdTimeUtc > '2016-09-01'",
    )
    .await;
    let ids: Vec<_> = rows.iter().map(|row| &row["deviceId"]).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(
        (&rows[0]["jobType"], &rows[0]["status"], &rows[0]["outcome"]),
        (
            &json!("scheduleUpdateTwin"),
            &json!("completed"),
            &json!({ "deviceMethodResponse": null })
        )
    );
    for time in [
        "startTimeUtc",
        "endTimeUtc",
        "createdDateTimeUtc",
        "lastUpdatedDateTimeUtc",
    ] {
        assert!(rows[0][time].as_str().is_some_and(|time| time.ends_with('Z')), "{time}");
    }
}

#[tokio::test]
async fn a_method_job_invokes_connected_devices_and_fails_with_others() {
    let (emulator, mut client) = hub().await;
    let lamp = emulator.device("a").unwrap();
    lamp.on_method(|name, payload| (202, format!(r#"{{"{name}":{payload}}}"#)))
        .unwrap();

    put(&mut client, "j1", &method_job("deviceId IN ['a', 'b']")).await;
    let job = until(&mut client, "j1", "completed").await;

    let statistics = &job["deviceJobStatistics"];
    assert_eq!(
        (&statistics["succeededCount"], &statistics["failedCount"]),
        (&json!(1), &json!(1))
    );
    let answered = device_jobs(&mut client, "outcome.deviceMethodResponse.status = 202").await;
    assert_eq!(answered.len(), 1);
    assert_eq!(
        answered[0]["outcome"],
        json!({ "deviceMethodResponse": { "status": 202, "payload": { "blink": { "times": 2 } } } })
    );
    let failed = device_jobs(&mut client, "jobType = 'scheduleDeviceMethod' AND status = 'failed'").await;
    assert_eq!((failed.len(), &failed[0]["deviceId"]), (1, &json!("b")));
    assert_eq!(failed[0]["error"]["code"], "DeviceNotOnline");
    assert!(failed[0].get("outcome").is_none());
    let invoked = |event: &Event| matches!(event, Event::MethodInvoked { name, .. } if name == "blink");
    assert_eq!(emulator.journal().count(invoked), 1);
}

#[tokio::test]
async fn a_job_may_be_about_modules() {
    let (_emulator, mut client) = hub().await;
    client.put("/devices/a/modules/m", None, "{}").await;
    client.put("/devices/b/modules/n", None, "{}").await;
    put(
        &mut client,
        "j1",
        &twin_job("FROM devices.modules WHERE moduleId = 'n'"),
    )
    .await;
    let job = until(&mut client, "j1", "completed").await;
    assert_eq!(job["deviceJobStatistics"]["succeededCount"], 1);
    let rows = device_jobs(&mut client, "moduleId = 'n'").await;
    assert_eq!((rows.len(), &rows[0]["deviceId"]), (1, &json!("b")));
    let twin = client.get("/twins/b/modules/n").await.json();
    assert_eq!(twin["properties"]["desired"]["interval"], 60);
}

#[tokio::test]
async fn a_job_waits_for_its_start() {
    let (emulator, mut client) = hub().await;
    let job = later(twin_job("*"), &emulator);
    put(&mut client, "j1", &job).await;
    let scheduled = until(&mut client, "j1", "scheduled").await;
    assert!(scheduled.get("endTime").is_none());
    assert!(device_jobs(&mut client, "jobId = 'j1'").await.is_empty());

    emulator.clock().advance(Duration::from_secs(3600));

    let job = until(&mut client, "j1", "completed").await;
    assert_eq!(job["deviceJobStatistics"]["succeededCount"], 3);
}

#[tokio::test]
async fn only_what_has_not_begun_can_be_cancelled() {
    let (emulator, mut client) = hub().await;
    put(&mut client, "waits", &later(twin_job("*"), &emulator)).await;
    let cancelled = client.call("POST", "/jobs/v2/waits/cancel", &[], "").await;
    assert_eq!(
        (cancelled.outcome().as_str(), &cancelled.json()["status"]),
        ("200", &json!("cancelled"))
    );
    emulator.clock().advance(Duration::from_secs(3600));
    assert_eq!(get(&mut client, "waits").await["status"], "cancelled");

    let lamp = emulator.device("a").unwrap();
    let mut methods = lamp.methods().unwrap();
    put(&mut client, "runs", &method_job("deviceId = 'a'")).await;
    let asked = methods.recv().await.unwrap();
    let running = get(&mut client, "runs").await;
    assert_eq!(
        (&running["status"], &running["deviceJobStatistics"]["runningCount"]),
        (&json!("running"), &json!(1))
    );
    for (id, expected) in [
        ("runs", "405 OperationNotAllowedInCurrentState"),
        ("waits", "405 OperationNotAllowedInCurrentState"),
        ("none", "404 JobNotFound"),
    ] {
        let refused = client.call("POST", &format!("/jobs/v2/{id}/cancel"), &[], "{}").await;
        assert_eq!(refused.outcome(), expected, "{id}");
    }
    asked.answer(200, "1").unwrap();
    until(&mut client, "runs", "completed").await;
    let twin = client.get("/twins/a").await.json();
    assert!(
        twin["properties"]["desired"].get("interval").is_none(),
        "the cancelled job did nothing"
    );
}

#[tokio::test]
async fn a_job_that_nobody_knows_is_unknown() {
    let (_emulator, mut client) = hub().await;
    let expected = json!({ "jobId": "none", "type": "unknown", "status": "unknown" });
    assert_eq!(get(&mut client, "none").await, expected);
}

#[tokio::test]
async fn a_faulty_condition_is_taken_and_the_job_fails() {
    let (_emulator, mut client) = hub().await;
    for (id, condition) in [
        ("j1", "SELECT * FROM devices"),
        ("j2", "tags.hall = "),
        ("j3", "FROM devices.jobs WHERE 1 = 1"),
    ] {
        assert_eq!(put(&mut client, id, &twin_job(condition)).await.outcome(), "200");
        let job = until(&mut client, id, "failed").await;
        let reason = job["failureReason"].as_str().unwrap();
        assert!(reason.starts_with("queryCondition: "), "{reason}");
    }
}

#[tokio::test]
async fn ids_are_taken_once_and_ten_jobs_are_the_most() {
    let (emulator, mut client) = hub().await;
    let job = later(twin_job("*"), &emulator);
    for n in 0..10 {
        assert_eq!(put(&mut client, &format!("j{n}"), &job).await.outcome(), "200");
    }
    assert_eq!(put(&mut client, "j3", &job).await.outcome(), "409 JobAlreadyExists");
    let refused = put(&mut client, "more", &job).await;
    assert_eq!(refused.outcome(), "429 ThrottlingMaxActiveJobCountExceeded");

    // A hub that throttles ends the connection.
    let mut client = Client::new(&emulator, "iothubowner").await;
    client.call("POST", "/jobs/v2/j3/cancel", &[], "").await;
    assert_eq!(put(&mut client, "more", &job).await.outcome(), "200");

    emulator.clock().advance(Duration::from_secs(3600));
    for id in ["j0", "j9", "more"] {
        until(&mut client, id, "completed").await;
    }
}

#[tokio::test]
async fn a_job_that_takes_too_long_fails_with_what_is_left() {
    let (emulator, mut client) = hub().await;
    let devices: Vec<_> = ["a", "b"].map(|id| emulator.device(id).unwrap()).into();
    let mut methods: Vec<_> = devices.iter().map(|device| device.methods().unwrap()).collect();
    let mut job = method_job("deviceId IN ['a', 'b']");
    job["maxExecutionTimeInSeconds"] = 20.into();
    put(&mut client, "j1", &job).await;
    methods[0].recv().await.unwrap().answer(200, "").unwrap();
    let _never_answered = methods[1].recv().await.unwrap();

    emulator.clock().advance(Duration::from_secs(20));

    let job = until(&mut client, "j1", "failed").await;
    assert!(
        job["failureReason"]
            .as_str()
            .unwrap()
            .contains("maxExecutionTimeInSeconds")
    );
    let statistics = &job["deviceJobStatistics"];
    assert_eq!(
        (&statistics["succeededCount"], &statistics["failedCount"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn a_device_that_does_not_answer_fails_alone() {
    let (emulator, mut client) = hub().await;
    let lamp = emulator.device("a").unwrap();
    let mut methods = lamp.methods().unwrap();
    put(&mut client, "j1", &method_job("deviceId = 'a'")).await;
    let _never_answered = methods.recv().await.unwrap();
    emulator.clock().advance(Duration::from_secs(30));
    until(&mut client, "j1", "completed").await;
    let rows = device_jobs(&mut client, "error.code = 'GatewayTimeout'").await;
    assert_eq!((rows.len(), &rows[0]["status"]), (1, &json!("failed")));
}

#[tokio::test]
async fn jobs_are_listed_by_type_and_status_page_by_page() {
    let (emulator, mut client) = hub().await;
    for id in ["t1", "t2", "t3"] {
        put(&mut client, id, &twin_job("*")).await;
        until(&mut client, id, "completed").await;
    }
    put(&mut client, "m1", &later(method_job("*"), &emulator)).await;
    until(&mut client, "m1", "scheduled").await;

    for (filter, expected) in [
        ("", &["m1", "t1", "t2", "t3"][..]),
        ("?jobType=ScheduleDeviceMethod", &["m1"]),
        ("?jobStatus=Completed&jobType=scheduleUpdateTwin", &["t1", "t2", "t3"]),
        ("?jobStatus=running", &[]),
        ("?jobType=ExportDevices&jobStatus=", &[]),
    ] {
        let mut found = Vec::new();
        let mut place = None;
        loop {
            let mut headers = vec![("x-ms-max-item-count", "2")];
            headers.extend(place.as_deref().map(|place| ("x-ms-continuation", place)));
            let reply = client
                .call("GET", &format!("/jobs/v2/query{filter}"), &headers, "")
                .await;
            assert_eq!(reply.header("x-ms-item-type"), Some("JobResponse"), "{reply:?}");
            let rows: Vec<Value> = serde_json::from_slice(&reply.body).unwrap();
            assert!(rows.len() <= 2);
            found.extend(rows.iter().map(|row| row["jobId"].as_str().unwrap().to_owned()));
            place = reply.header("x-ms-continuation").map(str::to_owned);
            if place.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{filter}");
    }
    let unknown = client.get("/jobs/v2/query?jobType=dance").await;
    assert_eq!(unknown.outcome(), "400 ArgumentInvalid");
}

#[tokio::test]
async fn device_jobs_come_page_by_page() {
    let (_emulator, mut client) = hub().await;
    for id in ["j1", "j2"] {
        put(&mut client, id, &twin_job("*")).await;
        until(&mut client, id, "completed").await;
    }
    let query = json!({ "query": "SELECT * FROM devices.jobs" }).to_string();
    let (mut found, mut place) = (Vec::new(), None);
    loop {
        let mut headers = vec![("x-ms-max-item-count", "2")];
        headers.extend(place.as_deref().map(|place| ("x-ms-continuation", place)));
        let reply = client.call("POST", "/devices/query", &headers, &query).await;
        let rows: Vec<Value> = serde_json::from_slice(&reply.body).unwrap();
        found.extend(
            rows.iter()
                .map(|row| format!("{}{}", row["jobId"], row["deviceId"]).replace('"', "")),
        );
        place = reply.header("x-ms-continuation").map(str::to_owned);
        if place.is_none() {
            break;
        }
    }
    assert_eq!(found, ["j1a", "j1b", "j1c", "j2a", "j2b", "j2c"]);
}

#[tokio::test]
async fn jobs_are_forgotten_after_a_month() {
    let (emulator, mut client) = hub().await;
    put(&mut client, "j1", &twin_job("*")).await;
    until(&mut client, "j1", "completed").await;
    emulator.clock().advance(Duration::from_secs(29 * 24 * 3600));
    assert_eq!(get(&mut client, "j1").await["status"], "completed");
    emulator.clock().advance(Duration::from_secs(2 * 24 * 3600));
    assert_eq!(get(&mut client, "j1").await["status"], "unknown");
    assert!(device_jobs(&mut client, "jobId = 'j1'").await.is_empty());
    assert_eq!(put(&mut client, "j1", &twin_job("*")).await.outcome(), "200");
}

#[tokio::test]
async fn jobs_are_for_those_who_may_talk_to_devices() {
    let (emulator, _) = hub().await;
    for (policy, expected) in [
        ("service", "200"),
        ("registryReadWrite", "401 IotHubUnauthorizedAccess"),
    ] {
        let mut client = Client::new(&emulator, policy).await;
        let job = later(twin_job("*"), &emulator);
        assert_eq!(put(&mut client, policy, &job).await.outcome(), expected);
        assert_eq!(client.get("/jobs/v2/query").await.outcome(), expected);
        assert_eq!(client.get(&format!("/jobs/v2/{policy}")).await.outcome(), expected);
        let cancel = client.call("POST", &format!("/jobs/v2/{policy}/cancel"), &[], "").await;
        assert_eq!(cancel.outcome(), expected);
    }
}

#[tokio::test]
async fn a_start_is_at_most_a_week_ahead() {
    let (emulator, mut client) = hub().await;
    let mut job = later(twin_job("*"), &emulator);
    let start = emulator.clock().now() + Duration::from_secs(169 * 3600);
    job["startTime"] = json!(start.format(&time::format_description::well_known::Rfc3339).unwrap());
    assert_eq!(put(&mut client, "j1", &job).await.outcome(), "400 ArgumentInvalid");
    job["startTime"] = json!("2016-01-01T00:00:00Z");
    assert_eq!(put(&mut client, "j1", &job).await.outcome(), "200");
    until(&mut client, "j1", "completed").await;
}

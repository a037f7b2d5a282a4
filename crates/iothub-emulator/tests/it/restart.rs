//! What a hub with a data directory is after it was started again.

use std::time::Duration;

use fe2o3_amqp::Receiver;
use fe2o3_amqp_types::{
    messaging::{Body, Properties},
    primitives::Value as AmqpValue,
};
use iothub_emulator::{D2cMessage, Emulator, EmulatorOptions, Event};
use serde_json::{Value, json};

use crate::{amqp::Service, client::Client, directory::Directory, transfers};

async fn start(directory: &Directory) -> (Emulator, Client) {
    let options = EmulatorOptions {
        data_dir: Some(directory.path().to_owned()),
        ..Default::default()
    };
    let emulator = Emulator::start(options).await.unwrap();
    let client = Client::new(&emulator, "iothubowner").await;
    (emulator, client)
}

/// What clients see at these paths.
async fn seen(client: &mut Client, paths: &[&str]) -> Vec<Value> {
    let mut seen = Vec::new();
    for path in paths {
        let reply = client.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        seen.push(reply.json());
    }
    seen
}

async fn done(client: &mut Client, method: &str, path: &str, body: &str) -> Value {
    let reply = client.call(method, path, &[], body).await;
    assert!(reply.status.is_success(), "{method} {path}: {reply:?}");
    serde_json::from_slice(&reply.body).unwrap_or_default()
}

#[tokio::test]
async fn identities_and_twins_are_what_they_were() {
    let directory = Directory::new();
    let (emulator, mut client) = start(&directory).await;
    let disabled = r#"{"status":"disabled","statusReason":"ä \"reason\""}"#;
    done(&mut client, "PUT", "/devices/plain", "{}").await;
    done(&mut client, "PUT", "/devices/off", disabled).await;
    let thumbprint = "0123456789ABCDEF0123456789ABCDEF01234567";
    let by_thumbprint =
        json!({"authentication": {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": thumbprint}}});
    done(&mut client, "PUT", "/devices/thumb", &by_thumbprint.to_string()).await;
    let by_authority = r#"{"authentication":{"type":"certificateAuthority"}}"#;
    done(&mut client, "PUT", "/devices/authority", by_authority).await;
    let edge = done(
        &mut client,
        "PUT",
        "/devices/edge",
        r#"{"capabilities":{"iotEdge":true}}"#,
    )
    .await;
    let leaf = json!({"deviceScope": edge["deviceScope"]});
    done(&mut client, "PUT", "/devices/leaf", &leaf.to_string()).await;
    done(
        &mut client,
        "PUT",
        "/devices/plain/modules/dimmer",
        r#"{"managedBy":"me"}"#,
    )
    .await;
    done(&mut client, "PUT", "/devices/gone", "{}").await;
    done(&mut client, "PUT", "/devices/gone/modules/too", "{}").await;
    client.delete("/devices/gone", Some("*")).await;
    let reply = client.put("/devices/off", Some("*"), r#"{"status":"enabled"}"#).await;
    assert_eq!(reply.status, 200);

    let patch = r#"{"tags":{"a":{"b":[1,{"c":2.50}]}},"properties":{"desired":{"x":1e2,"y":{"z":"ü"}}}}"#;
    done(&mut client, "PATCH", "/twins/plain", patch).await;
    done(
        &mut client,
        "PATCH",
        "/twins/plain",
        r#"{"properties":{"desired":{"y":{"n":true}}}}"#,
    )
    .await;
    done(&mut client, "PATCH", "/twins/plain/modules/dimmer", patch).await;
    emulator
        .device("plain")
        .unwrap()
        .report(r#"{"on":true,"deep":{"er":[]}}"#)
        .unwrap();

    let paths = [
        "/devices/plain",
        "/devices/off",
        "/devices/thumb",
        "/devices/authority",
        "/devices/edge",
        "/devices/edge/modules",
        "/devices/leaf",
        "/devices/plain/modules",
        "/twins/plain",
        "/twins/plain/modules/dimmer",
        "/twins/edge/modules/$edgeAgent",
        "/statistics/devices",
    ];
    let before = seen(&mut client, &paths).await;
    let newest = done(&mut client, "PUT", "/devices/newest", "{}").await;
    client.delete("/devices/newest", Some("*")).await;
    emulator.shutdown().await;

    let (_emulator, mut client) = start(&directory).await;
    assert_eq!(seen(&mut client, &paths).await, before);
    assert_eq!(client.get("/devices/gone").await.outcome(), "404 DeviceNotFound");
    assert_eq!(
        client.get("/devices/gone/modules").await.outcome(),
        "401 IotHubUnauthorizedAccess"
    );
    let again = done(&mut client, "PUT", "/devices/newest", "{}").await;
    assert_ne!(again["etag"], newest["etag"], "no tag is given twice");
    assert_ne!(again["generationId"], newest["generationId"]);
}

#[tokio::test]
async fn the_clock_stays_turned() {
    let directory = Directory::new();
    let (emulator, _) = start(&directory).await;
    emulator.clock().advance(Duration::from_secs(10 * 24 * 3600));
    let then = emulator.clock().now();
    emulator.shutdown().await;
    let (emulator, _) = start(&directory).await;
    let now = emulator.clock().now();
    assert!(now >= then && now < then + Duration::from_secs(3600), "{then} {now}");
}

#[tokio::test]
async fn messages_wait_on_and_senders_hear_of_them() {
    let directory = Directory::new();
    let (emulator, _) = start(&directory).await;
    let lamp = emulator.add_device("lamp").unwrap();
    let mut service = Service::connect(&emulator).await;
    for id in ["first", "second", "third", "fourth"] {
        service.send("lamp", id, Some("full"), Properties::default(), id).await;
    }
    let first = lamp.recv().await;
    assert_eq!((&first.body[..], first.delivery_count()), (&b"first"[..], 0));
    first.abandon().unwrap();
    let held = lamp.recv().await;
    assert_eq!((held.message_id.as_deref(), held.delivery_count()), (Some("first"), 1));
    let expected = (*held).clone();
    lamp.recv().await.complete().unwrap();
    service.close().await;
    emulator.shutdown().await;
    drop((lamp, held));

    let (emulator, _) = start(&directory).await;
    let lamp = emulator.device("lamp").unwrap();
    let first = lamp.recv().await;
    assert_eq!(
        (&*first, first.delivery_count()),
        (&expected, 1),
        "a lock ends with the hub"
    );
    assert_eq!(first.sequence_number(), 1);
    first.complete().unwrap();
    lamp.recv().await.reject().unwrap();
    // Both by the clock, and nobody has sent anything that would have told the hub to look at it.
    emulator.clock().advance(Duration::from_secs(15));
    emulator
        .journal()
        .wait_for(|event| matches!(event, Event::FeedbackBatched { records: 3 }))
        .await;
    emulator.shutdown().await;
    drop(lamp);

    let (emulator, _) = start(&directory).await;
    emulator.clock().advance(Duration::from_secs(3600));
    emulator
        .journal()
        .wait_for(|event| matches!(event, Event::Settled { sequence: 4, .. }))
        .await;
    emulator.clock().advance(Duration::from_secs(15));
    emulator
        .journal()
        .wait_for(|event| matches!(event, Event::FeedbackBatched { records: 1 }))
        .await;
}

#[tokio::test]
async fn feedback_waits_for_its_service() {
    let directory = Directory::new();
    let (emulator, mut client) = start(&directory).await;
    let lamp = emulator.add_device("lamp").unwrap();
    let mut service = Service::connect(&emulator).await;
    for id in ["closed", "open"] {
        service.send("lamp", id, Some("full"), Properties::default(), id).await;
        lamp.recv().await.complete().unwrap();
        if id == "closed" {
            emulator.clock().advance(Duration::from_secs(15));
        }
    }
    let batch = client.get(FEEDBACK).await;
    let abandon = format!(
        "{FEEDBACK}/{}/abandon",
        batch.header("iothub-messagelocktoken").unwrap()
    );
    done(&mut client, "POST", &abandon, "").await;
    service.close().await;
    emulator.shutdown().await;
    drop(lamp);

    let (emulator, mut client) = start(&directory).await;
    let again = client.get(FEEDBACK).await;
    assert_eq!(again.json(), batch.json());
    let complete = format!("{FEEDBACK}/{}", again.header("iothub-messagelocktoken").unwrap());
    assert_eq!(client.delete(&complete, None).await.outcome(), "204");
    assert_eq!(
        client.get(FEEDBACK).await.outcome(),
        "204",
        "the other batch is still open"
    );
    emulator.shutdown().await;

    let (emulator, mut client) = start(&directory).await;
    emulator.clock().advance(Duration::from_secs(15));
    let open = client.get(FEEDBACK).await.json();
    assert_eq!(
        (&open[0]["originalMessageId"], open.as_array().unwrap().len()),
        (&json!("open"), 1)
    );
}

#[tokio::test]
async fn telemetry_goes_on_with_its_numbers() {
    let directory = Directory::new();
    let (emulator, _) = start(&directory).await;
    let lamp = emulator.add_device("lamp").unwrap();
    let mut message = D2cMessage::from(&b"\xff\x00"[..]);
    message.message_id = Some("1".to_owned());
    message.properties = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
    lamp.send(message).unwrap();
    lamp.send("text").unwrap();
    let before = emulator.telemetry();
    emulator.shutdown().await;
    drop(lamp);

    let (emulator, _) = start(&directory).await;
    let after = emulator.telemetry();
    assert_eq!(after.len(), 2);
    for (after, before) in after.iter().zip(&before) {
        assert_eq!((&after.message, &after.source), (&before.message, &before.source));
        assert_eq!(
            (after.sequence_number, after.offset),
            (before.sequence_number, before.offset)
        );
        assert_eq!(
            (after.partition, &after.generation_id),
            (before.partition, &before.generation_id)
        );
        assert_eq!(after.authentication, before.authentication);
        let late = before.enqueued_time - after.enqueued_time;
        assert!(late.whole_nanoseconds() < 100, "{late}");
    }
    emulator.device("lamp").unwrap().send("third").unwrap();
    let third = emulator.telemetry().pop().unwrap();
    assert_eq!((third.sequence_number, third.offset), (2, before[1].offset + 4));
    // All of it is too old a day later, and the numbers still go on.
    emulator.clock().advance(Duration::from_secs(24 * 3600));
    emulator.device("lamp").unwrap().send("fourth").unwrap();
    emulator.shutdown().await;

    let (emulator, _) = start(&directory).await;
    let kept: Vec<_> = emulator.telemetry().iter().map(|event| event.sequence_number).collect();
    assert_eq!(kept, [3]);
}

#[tokio::test]
async fn configurations_stay_and_go_on_to_configure() {
    let directory = Directory::new();
    let (emulator, mut client) = start(&directory).await;
    let configuration = json!({
        "id": "bright", "schemaVersion": "1.0", "labels": {"a": "b"}, "priority": 7, "targetCondition": "tags.hall=1",
        "content": {"deviceContent": {"properties.desired.light": {"level": 1.50}}},
        "metrics": {"queries": {"all": "SELECT deviceId FROM devices"}},
    });
    done(&mut client, "PUT", "/configurations/bright", &configuration.to_string()).await;
    done(&mut client, "PUT", "/devices/lamp", "{}").await;
    done(&mut client, "PATCH", "/twins/lamp", r#"{"tags":{"hall":1}}"#).await;
    let paths = ["/configurations/bright", "/configurations", "/twins/lamp"];
    let before = seen(&mut client, &paths).await;
    assert_eq!(before[2]["configurations"]["bright"]["status"], "applied");
    emulator.shutdown().await;

    let (_emulator, mut client) = start(&directory).await;
    assert_eq!(seen(&mut client, &paths).await, before);
    done(&mut client, "PUT", "/devices/other", "{}").await;
    let other = done(&mut client, "PATCH", "/twins/other", r#"{"tags":{"hall":1}}"#).await;
    let desired = &client.get("/twins/other").await.json()["properties"]["desired"];
    assert_eq!(desired["light"], json!({"level": 1.5}), "{other}");
    let second = configuration.to_string().replace("bright", "dark");
    let second = done(&mut client, "PUT", "/configurations/dark", &second).await;
    assert_ne!(second["etag"], before[0]["etag"]);
}

#[tokio::test]
async fn files_jobs_and_uploads_are_there_again() {
    let directory = Directory::new();
    let (emulator, mut client) = start(&directory).await;
    emulator.add_device("lamp").unwrap();
    let container = emulator.blob_container("exports").unwrap();
    let job = transfers::run(
        &mut client,
        json!({"type": "export", "outputBlobContainerUri": container.sas_uri()}),
    )
    .await;
    emulator.faults().hold_transfers();
    let request = json!({"type": "export", "outputBlobContainerUri": container.sas_uri()});
    let held = done(&mut client, "POST", "/jobs/create", &request.to_string()).await;
    let begun = done(&mut client, "POST", "/devices/lamp/files", r#"{"blobName":"log"}"#).await;
    let place = |name: &str| begun[name].as_str().unwrap();
    let path = |more: &str| {
        let account = place("hostName").split_once('/').unwrap().1;
        format!(
            "/{account}/{}/{}{}{more}",
            place("containerName"),
            place("blobName"),
            place("sasToken")
        )
    };
    let kind = [("x-ms-blob-type", "BlockBlob"), ("x-ms-version", "2021-08-06")];
    for (id, contents) in [("MQ%3D%3D", "one "), ("Mg%3D%3D", "two")] {
        let put = client
            .raw("PUT", &path(&format!("&comp=block&blockid={id}")), &kind, contents)
            .await
            .unwrap();
        assert_eq!(put.status, 201, "{put:?}");
    }
    let (exported, uri) = (container.read_blob("devices.txt").unwrap(), container.sas_uri());
    emulator.shutdown().await;

    let (emulator, mut client) = start(&directory).await;
    assert_eq!(
        emulator.blob_container("exports").unwrap().read_blob("devices.txt"),
        Some(exported)
    );
    let jobs = client.get("/jobs").await.json();
    let find = |id: &Value| jobs.as_array().unwrap().iter().find(|job| job["jobId"] == *id).unwrap();
    assert_eq!(find(&job["jobId"]), &job);
    let failed = find(&held["jobId"]);
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["failureReason"], "the hub ended while the job was under way");
    // The signatures of before still hold, and the blocks wait for their list.
    let list = "<BlockList><Latest>MQ==</Latest><Latest>Mg==</Latest></BlockList>";
    let put = client.raw("PUT", &path("&comp=blocklist"), &kind, list).await.unwrap();
    assert_eq!(put.status, 201, "{put:?}");
    let end = json!({"correlationId": place("correlationId"), "isSuccess": true});
    done(
        &mut client,
        "POST",
        "/devices/lamp/files/notifications",
        &end.to_string(),
    )
    .await;
    emulator.shutdown().await;

    let (emulator, _client) = start(&directory).await;
    let files = emulator.blob_container("device-files").unwrap();
    assert_eq!(files.read_blob("lamp/log").as_deref(), Some(&b"one two"[..]));
    let mut service = Service::connect(&emulator).await;
    let mut receiver = Receiver::attach(
        &mut service.session,
        "files",
        "/messages/serviceBound/filenotifications",
    )
    .await
    .unwrap();
    let delivery = receiver.recv::<Body<AmqpValue>>().await.unwrap();
    let Body::Data(data) = delivery.body() else {
        panic!("{delivery:?}")
    };
    let bytes: Vec<u8> = data.iter().flat_map(|data| data.0.to_vec()).collect();
    let notification: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(notification["blobName"], "lamp/log");
    receiver.accept(&delivery).await.unwrap();
    service.close().await;
    emulator.shutdown().await;
    assert!(uri.contains("sig="));

    let (emulator, _client) = start(&directory).await;
    let mut service = Service::connect(&emulator).await;
    let mut receiver = Receiver::attach(
        &mut service.session,
        "files",
        "/messages/serviceBound/filenotifications",
    )
    .await
    .unwrap();
    // What was accepted does not come again; the next is a new one.
    emulator.device("lamp").unwrap().upload("next", "x").unwrap();
    let delivery = receiver.recv::<Body<AmqpValue>>().await.unwrap();
    let Body::Data(data) = delivery.body() else {
        panic!("{delivery:?}")
    };
    let bytes: Vec<u8> = data.iter().flat_map(|data| data.0.to_vec()).collect();
    let notification: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(notification["blobName"], "lamp/next");
}

#[tokio::test]
async fn an_ephemeral_hub_keeps_its_keys_only() {
    let directory = Directory::new();
    let options = EmulatorOptions {
        data_dir: Some(directory.path().to_owned()),
        ephemeral: true,
        ..Default::default()
    };
    let emulator = Emulator::start(options.clone()).await.unwrap();
    emulator.add_device("lamp").unwrap();
    let key = emulator
        .connection_string("service")
        .unwrap()
        .split_once("SharedAccessKey=")
        .unwrap()
        .1
        .to_owned();
    emulator.shutdown().await;
    assert!(!directory.file("hub.jsonl").exists());
    let emulator = Emulator::start(options).await.unwrap();
    assert!(emulator.connection_string("service").unwrap().ends_with(&key));
    assert!(
        emulator
            .device_connection_string(&"lamp".parse::<iothub_core::DeviceId>().unwrap().into())
            .is_none()
    );
}

#[tokio::test]
async fn two_do_not_share_a_directory() {
    let directory = Directory::new();
    let (emulator, _) = start(&directory).await;
    let options = EmulatorOptions {
        data_dir: Some(directory.path().to_owned()),
        ..Default::default()
    };
    let refused = Emulator::start(options).await.unwrap_err().to_string();
    assert!(refused.contains("in use by another iothub-emulator"), "{refused}");
    drop(emulator);
    start(&directory).await;
}

const FEEDBACK: &str = "/messages/serviceBound/feedback";

#[tokio::test]
async fn scheduled_jobs_are_what_they_were_and_those_that_wait_begin() {
    let directory = Directory::new();
    let (emulator, mut client) = start(&directory).await;
    let lamp = emulator.add_device("lamp").unwrap();
    lamp.on_method(|_, _| (200, "{\n\"times\": 1.0}".to_owned())).unwrap();
    emulator.add_device("off").unwrap();
    let method = |condition: &str| {
        json!({
            "type": "scheduleDeviceMethod", "queryCondition": condition,
            "cloudToDeviceMethod": {"methodName": "blink", "payload": 1.0, "responseTimeoutInSeconds": 300},
        })
    };
    done(&mut client, "PUT", "/jobs/v2/ended", &method("*").to_string()).await;
    while client.get("/jobs/v2/ended").await.json()["status"] != "completed" {
        tokio::task::yield_now().await;
    }
    let start_time = emulator.clock().now() + Duration::from_secs(3600);
    let start_time = start_time
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap();
    let waiting = json!({
        "type": "scheduleUpdateTwin", "queryCondition": "deviceId = 'lamp'", "startTime": start_time,
        "updateTwin": {"etag": "*", "tags": {"seen": 1.0}},
    });
    for id in ["waits", "cancelled"] {
        done(&mut client, "PUT", &format!("/jobs/v2/{id}"), &waiting.to_string()).await;
    }
    done(&mut client, "POST", "/jobs/v2/cancelled/cancel", "").await;
    let paths = ["/jobs/v2/ended", "/jobs/v2/cancelled"];
    let before = seen(&mut client, &paths).await;
    let query = json!({"query": "SELECT * FROM devices.jobs"}).to_string();
    let runs = done(&mut client, "POST", "/devices/query", &query).await;
    assert_eq!(runs.as_array().unwrap().len(), 2);
    let slow = emulator.add_device("slow").unwrap();
    let mut calls = slow.methods().unwrap();
    done(
        &mut client,
        "PUT",
        "/jobs/v2/held",
        &method("deviceId = 'slow'").to_string(),
    )
    .await;
    let _unanswered = calls.recv().await;
    emulator.shutdown().await;

    let (emulator, mut client) = start(&directory).await;
    assert_eq!(seen(&mut client, &paths).await, before);
    assert_eq!(done(&mut client, "POST", "/devices/query", &query).await, runs);
    let held = client.get("/jobs/v2/held").await.json();
    assert_eq!(
        (&held["status"], &held["failureReason"]),
        (&"failed".into(), &"the hub ended while the job was under way".into())
    );
    emulator.clock().advance(Duration::from_secs(3601));
    while client.get("/jobs/v2/waits").await.json()["status"] != "completed" {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.get("/twins/lamp").await.json()["tags"]["seen"], 1.0);
    emulator.shutdown().await;
}

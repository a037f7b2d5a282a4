//! What goes to the service: feedback and file notifications, over AMQP and HTTPS.

use std::time::Duration;

use fe2o3_amqp::{Delivery, Receiver};
use fe2o3_amqp_types::{
    messaging::{Body, Properties},
    primitives::{Timestamp, Value},
};
use iothub_emulator::{Emulator, EmulatorOptions, Event};
use serde_json::{Value as Json, json};

use crate::{amqp::Service, client::Client};

const FEEDBACK: &str = "/messages/serviceBound/feedback";
const FILES: &str = "/messages/serviceBound/filenotifications";

async fn hub() -> (Emulator, Client, Service) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    emulator.add_device("lamp").unwrap();
    let client = Client::new(&emulator, "iothubowner").await;
    let service = Service::connect(&emulator).await;
    (emulator, client, service)
}

/// Turns the clock as far as a batch of feedback stays open.
fn close_batch(emulator: &Emulator) {
    emulator.clock().advance(Duration::from_secs(15));
}

/// Message ids and what became of the messages.
fn statuses(batch: &Json) -> Vec<(&str, &str)> {
    let records = batch.as_array().unwrap().iter();
    records
        .map(|record| {
            (
                record["originalMessageId"].as_str().unwrap(),
                record["statusCode"].as_str().unwrap(),
            )
        })
        .collect()
}

/// The JSON of a message, after a look at everything around it.
fn read(delivery: &Delivery<Body<Value>>, content_type: &str) -> Json {
    assert_eq!(delivery.delivery_tag().len(), 16);
    let message = delivery.message();
    let properties = message.properties.as_ref().unwrap();
    assert_eq!(properties.content_type.as_ref().unwrap().as_str(), content_type);
    assert_eq!(properties.user_id.as_ref().unwrap().as_slice(), b"localhost");
    let annotations = &message.message_annotations.as_ref().unwrap().0;
    let enqueued = annotations
        .iter()
        .find(|(key, _)| format!("{key:?}").contains("iothub-enqueuedtime"));
    let Value::Timestamp(Timestamp { .. }) = enqueued.unwrap().1 else {
        panic!("{annotations:?}");
    };
    let Body::Data(data) = &message.body else {
        panic!("{message:?}");
    };
    let bytes: Vec<u8> = data.iter().flat_map(|data| data.0.to_vec()).collect();
    serde_json::from_slice(&bytes).unwrap()
}

const BATCH: &str = "application/vnd.microsoft.iothub.feedback.json";
const NOTIFICATION: &str = "application/vnd.microsoft.iothub.filenotification.json";

#[tokio::test]
async fn senders_hear_what_they_asked_for() {
    let (emulator, mut client, mut service) = hub().await;
    let lamp = emulator.device("lamp").unwrap();
    let acks = [None, Some("none"), Some("positive"), Some("negative"), Some("full")];
    for (n, ack) in acks.into_iter().enumerate() {
        for what in ["complete", "reject"] {
            service
                .send("lamp", &format!("{what}-{n}"), ack, Properties::default(), "")
                .await;
        }
    }
    while let Some(message) = lamp.try_recv() {
        let completes = message.message_id.as_deref().unwrap().starts_with("complete");
        if completes {
            message.complete()
        } else {
            message.reject()
        }
        .unwrap();
    }
    assert_eq!(client.get(FEEDBACK).await.outcome(), "204");
    close_batch(&emulator);
    let reply = client.get(FEEDBACK).await;
    assert_eq!(reply.outcome(), "200");
    assert_eq!(reply.header("content-type"), Some(BATCH));
    let batch = reply.json();
    let expected = [
        ("complete-2", "Success"),
        ("reject-3", "Rejected"),
        ("complete-4", "Success"),
        ("reject-4", "Rejected"),
    ];
    assert_eq!(statuses(&batch), expected);
    let generation = client.get("/devices/lamp").await.json()["generationId"].clone();
    let record = json!({
        "originalMessageId": "complete-2",
        "deviceId": "lamp",
        "deviceGenerationId": generation,
        "enqueuedTimeUtc": batch[0]["enqueuedTimeUtc"],
        "statusCode": "Success",
        "description": "Success",
    });
    assert_eq!(batch[0], record);
    assert!(batch[0]["enqueuedTimeUtc"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn expiry_abandonment_and_purge_are_told_as_well() {
    let (emulator, mut client, mut service) = hub().await;
    let lamp = emulator.device("lamp").unwrap();
    service
        .send("lamp", "weary", Some("negative"), Properties::default(), "")
        .await;
    for _ in 0..10 {
        lamp.try_recv().unwrap().abandon().unwrap();
    }
    assert!(lamp.try_recv().is_none());
    service
        .send("lamp", "purged", Some("full"), Properties::default(), "")
        .await;
    client.delete("/devices/lamp/commands", None).await;
    service
        .send("lamp", "late", Some("full"), Properties::default(), "")
        .await;
    // Nobody looks at the queue: the clock alone makes it expire, and then closes the batch.
    emulator.clock().advance(Duration::from_secs(3600));
    let first = client.get(FEEDBACK).await;
    assert_eq!(
        statuses(&first.json()),
        [("weary", "DeliveryCountExceeded"), ("purged", "Purged")]
    );
    close_batch(&emulator);
    assert_eq!(statuses(&client.get(FEEDBACK).await.json()), [("late", "Expired")]);
}

#[tokio::test]
async fn a_batch_over_https_is_locked_until_it_is_settled() {
    let (emulator, mut client, mut service) = hub().await;
    let lamp = emulator.device("lamp").unwrap();
    for n in 0..64 {
        service
            .send("lamp", &n.to_string(), Some("full"), Properties::default(), "")
            .await;
        lamp.recv().await.complete().unwrap();
    }
    // 64 records are a batch without any wait.
    let taken = client.get(FEEDBACK).await;
    assert_eq!(taken.json().as_array().unwrap().len(), 64);
    assert_eq!(client.get(FEEDBACK).await.outcome(), "204");
    let token = taken.header("iothub-messagelocktoken").unwrap().to_owned();
    assert_eq!(taken.header("etag").unwrap(), format!("\"{token}\""));
    let abandon = format!("/messages/servicebound/feedback/{token}/abandon");
    assert_eq!(client.call("POST", &abandon, &[], "").await.outcome(), "204");
    let again = client.get("/messages/servicebound/feedback").await;
    emulator.clock().advance(Duration::from_secs(60));
    let late = again.header("iothub-messagelocktoken").unwrap().to_owned();
    let reply = client.delete(&format!("{FEEDBACK}/{late}"), None).await;
    assert_eq!(reply.outcome(), "412 DeviceMessageLockLost");
    let last = client.get(FEEDBACK).await;
    let token = last.header("iothub-messagelocktoken").unwrap().to_owned();
    assert_eq!(
        client.delete(&format!("{FEEDBACK}/{token}"), None).await.outcome(),
        "204"
    );
    emulator.clock().advance(Duration::from_secs(60));
    assert_eq!(client.get(FEEDBACK).await.outcome(), "204");
    let mut stranger = Client::new(&emulator, "registryReadWrite").await;
    assert_eq!(stranger.get(FEEDBACK).await.outcome(), "401 IotHubUnauthorizedAccess");
}

#[tokio::test]
async fn a_receiver_takes_gives_back_and_refuses_batches() {
    let (emulator, _, mut service) = hub().await;
    let lamp = emulator.device("lamp").unwrap();
    let mut receiver = Receiver::attach(&mut service.session, "feedback", FEEDBACK)
        .await
        .unwrap();
    for id in ["a", "b"] {
        service.send("lamp", id, Some("full"), Properties::default(), "").await;
        lamp.recv().await.complete().unwrap();
        close_batch(&emulator);
        let released = receiver.recv::<Body<Value>>().await.unwrap();
        receiver.release(&released).await.unwrap();
        let again = receiver.recv::<Body<Value>>().await.unwrap();
        let batch = read(&again, BATCH);
        assert_eq!(statuses(&batch), [(id, "Success")]);
        match id {
            "a" => receiver.accept(&again).await.unwrap(),
            _ => receiver.reject(&again, None).await.unwrap(),
        }
    }
    receiver.close().await.unwrap();
    service.close().await;
    emulator.clock().advance(Duration::from_secs(60));
    let mut client = Client::new(&emulator, "service").await;
    assert_eq!(client.get(FEEDBACK).await.outcome(), "204");
}

#[tokio::test]
async fn a_deleted_device_takes_its_feedback_along() {
    let (emulator, mut client, mut service) = hub().await;
    emulator.add_device("hall").unwrap();
    for turn in ["closed", "open"] {
        for id in ["lamp", "hall"] {
            service
                .send(id, &format!("{turn}-{id}"), Some("full"), Properties::default(), "")
                .await;
            emulator.device(id).unwrap().recv().await.complete().unwrap();
        }
        if turn == "closed" {
            close_batch(&emulator);
            emulator
                .journal()
                .wait_for(|event| *event == Event::FeedbackBatched { records: 2 })
                .await;
        }
    }
    assert_eq!(client.delete("/devices/lamp", Some("*")).await.outcome(), "204");
    close_batch(&emulator);
    for expected in ["closed-hall", "open-hall"] {
        assert_eq!(statuses(&client.get(FEEDBACK).await.json()), [(expected, "Success")]);
    }
}

#[tokio::test]
async fn services_hear_of_files() {
    let (emulator, mut client, mut service) = hub().await;
    let mut receiver = Receiver::attach(&mut service.session, "files", FILES).await.unwrap();
    emulator
        .device("lamp")
        .unwrap()
        .upload("log.txt", "twelve bytes")
        .unwrap();
    let delivery = receiver.recv::<Body<Value>>().await.unwrap();
    let notification = read(&delivery, NOTIFICATION);
    receiver.accept(&delivery).await.unwrap();
    let expected = json!({
        "deviceId": "lamp",
        "blobUri": notification["blobUri"],
        "blobName": "lamp/log.txt",
        "lastUpdatedTime": notification["lastUpdatedTime"],
        "blobSizeInBytes": 12,
        "enqueuedTimeUtc": notification["enqueuedTimeUtc"],
    });
    assert_eq!(notification, expected);
    assert!(notification["blobUri"].as_str().unwrap().ends_with("/lamp/log.txt"));

    // The same over HTTPS, as a device of Microsoft's SDKs does it.
    let begun = client
        .call("POST", "/devices/lamp/files", &[], r#"{"blobName":"dir/b.bin"}"#)
        .await
        .json();
    let place = |name: &str| begun[name].as_str().unwrap();
    assert_eq!(place("blobName"), "lamp/dir/b.bin");
    let (_, account) = place("hostName").split_once('/').unwrap();
    let path = format!(
        "/{account}/{}/{}{}",
        place("containerName"),
        place("blobName"),
        place("sasToken")
    );
    let kind = [("x-ms-blob-type", "BlockBlob"), ("x-ms-version", "2021-08-06")];
    let put = client.raw("PUT", &path, &kind, "contents").await.unwrap();
    assert_eq!(put.status, 201, "{put:?}");
    let body = json!({"correlationId": place("correlationId"), "isSuccess": true, "statusCode": 201, "statusDescription": "ok"});
    let end = "/devices/lamp/files/notifications";
    assert_eq!(client.call("POST", end, &[], &body.to_string()).await.outcome(), "204");
    let reply = client.call("POST", end, &[], &body.to_string()).await;
    assert_eq!(reply.outcome(), "400 InvalidFileUploadCorrelationId");
    let delivery = receiver.recv::<Body<Value>>().await.unwrap();
    let notification = read(&delivery, NOTIFICATION);
    assert_eq!(
        (&notification["blobName"], &notification["blobSizeInBytes"]),
        (&json!("lamp/dir/b.bin"), &json!(8))
    );
    receiver.accept(&delivery).await.unwrap();
    receiver.close().await.unwrap();
    service.close().await;

    for count in 1..=11 {
        let reply = client
            .call("POST", "/devices/lamp/files", &[], r#"{"blobName":"x"}"#)
            .await;
        let expected = if count <= 10 {
            "200"
        } else {
            "403 DeviceMaximumActiveFileUploadLimitExceeded"
        };
        assert_eq!(reply.outcome(), expected, "{count}");
    }
}

use azure_core::http::StatusCode;
use iothub_core::{
    amqp::{AmqpMessage, DeliveryTag, Settlement},
    models::FeedbackStatus,
    testing::HttpAnswer,
};
use time::macros::datetime;

use super::*;
use crate::{Deliveries, FeedbackOptions, ReceiverState};

pub(super) const FEEDBACK: &str = "/messages/serviceBound/feedback";
const FILES: &str = "/messages/serviceBound/filenotifications";

pub(super) fn message(json: &str) -> AmqpMessage {
    AmqpMessage {
        content_type: Some("application/vnd.microsoft.iothub.feedback.json".to_owned()),
        message_annotations: vec![(
            "iothub-enqueuedtime".to_owned(),
            AmqpValue::Timestamp(datetime!(2030-01-02 03:04:05 UTC)),
        )],
        body: AmqpBody::Data(json.to_owned().into()),
        ..AmqpMessage::default()
    }
}

/// A batch that tells of the messages with these ids.
pub(super) fn batch(ids: &[&str]) -> AmqpMessage {
    let record = |id: &&str| format!(r#"{{"originalMessageId":"{id}","deviceId":"lamp","statusCode":"Success"}}"#);
    message(&format!("[{}]", ids.iter().map(record).collect::<Vec<_>>().join(",")))
}

async fn next_ids(feedback: &mut Deliveries<FeedbackBatch>) -> Vec<String> {
    let delivery = feedback.next().await.expect("goes on").expect("a batch");
    let ids = ids(&delivery);
    delivery.complete().await.expect("settled");
    ids
}

fn ids(batch: &FeedbackBatch) -> Vec<String> {
    batch
        .records
        .iter()
        .map(|record| record.original_message_id.clone())
        .collect()
}

fn accepted(tags: &[DeliveryTag]) -> Vec<(DeliveryTag, Settlement)> {
    tags.iter().map(|tag| (tag.clone(), Settlement::Accepted)).collect()
}

fn state(feedback: &Deliveries<FeedbackBatch>) -> &'static str {
    match feedback.status().state {
        ReceiverState::Idle => "idle",
        ReceiverState::Connecting => "connecting",
        ReceiverState::Connected => "connected",
        ReceiverState::Reconnecting { .. } => "reconnecting",
        ReceiverState::Refused { .. } => "refused",
        ReceiverState::Closed => "closed",
    }
}

#[tokio::test(start_paused = true)]
async fn feedback_is_read_and_settled() {
    let hub = ScriptedAmqp::new();
    let first = hub.deliver(FEEDBACK, batch(&["m-1", "m-2"]));
    let second = hub.deliver(
        FEEDBACK,
        message(r#"[{"originalMessageId":"m-3","statusCode":"Expired"}]"#),
    );
    let service = service(&hub);
    let mut feedback = service.feedback(None);
    assert_eq!((hub.connects(), state(&feedback)), (0, "idle"));

    let delivery = feedback.next().await.expect("goes on").expect("a batch");
    assert_eq!(ids(&delivery), ["m-1", "m-2"]);
    assert_eq!(delivery.enqueued_time, Some(datetime!(2030-01-02 03:04:05 UTC)));
    delivery.complete().await.expect("settled");
    let delivery = feedback.next().await.expect("goes on").expect("a batch");
    assert_eq!(delivery.records[0].status, FeedbackStatus::Expired);
    delivery.abandon().await.expect("settled");
    assert_eq!(next_ids(&mut feedback).await, ["m-3"]);

    let released = (second.clone(), Settlement::Released);
    assert_eq!(
        hub.settlements(),
        [(first, Settlement::Accepted), released, (second, Settlement::Accepted)]
    );
    assert_eq!((hub.attaches(FEEDBACK), state(&feedback)), (1, "connected"));
    assert!(feedback.status().last_heard.is_some());
}

#[tokio::test(start_paused = true)]
async fn file_notifications_are_read() {
    let hub = ScriptedAmqp::new();
    hub.deliver(
        FILES,
        message(
            r#"{"deviceId":"cam","blobUri":"https://a/c/cam/1.jpg","blobName":"cam/1.jpg","lastUpdatedTime":null,
                "blobSizeInBytes":9223372036854775807,"enqueuedTimeUtc":"2030-01-01T00:00:00.0000000Z"}"#,
        ),
    );
    let mut files = service(&hub).file_notifications(None);
    let file = files.next().await.expect("goes on").expect("a notification");
    assert_eq!(
        (file.blob_name.as_str(), file.blob_size),
        ("cam/1.jpg", i64::MAX as u64)
    );
    assert_eq!(file.enqueued_time, Some(datetime!(2030-01-01 00:00 UTC)));
    file.complete().await.expect("settled");
    assert_eq!(hub.settlements().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_ends_is_made_anew_in_silence_and_shown() {
    let hub = ScriptedAmqp::new();
    let service = service(&hub);
    let mut feedback = service.feedback(None);
    let mut watch = feedback.watch();
    let reading = tokio::spawn(async move {
        let mut read = Vec::new();
        while read.len() < 3 {
            read.extend(next_ids(&mut feedback).await);
        }
        read
    });
    hub.deliver(FEEDBACK, batch(&["m-1"]));
    hub.until(|hub| hub.settlements().len() == 1).await;
    hub.end_links(FEEDBACK, &AmqpError::new(AmqpScope::Link));
    hub.deliver(FEEDBACK, batch(&["m-2"]));
    hub.until(|hub| hub.settlements().len() == 2).await;
    hub.end_connections(&AmqpError::new(AmqpScope::Connection));
    hub.deliver(FEEDBACK, batch(&["m-3"]));
    assert_eq!(reading.await.expect("no panic"), ["m-1", "m-2", "m-3"]);
    assert_eq!((hub.attaches(FEEDBACK), hub.connects()), (3, 2));

    let status = watch.changed().await.expect("the client lives");
    assert_eq!(status.losses, 2);
}

#[tokio::test(start_paused = true)]
async fn what_waited_here_when_its_link_ended_is_not_yielded_twice() {
    let hub = ScriptedAmqp::new();
    let service = service(&hub);
    let mut feedback = service.feedback(None);
    assert!(futures::poll!(feedback.next()).is_pending());
    hub.until(|hub| hub.open_links(FEEDBACK) == 1).await;
    let ids = ["m-1", "m-2", "m-3"];
    for id in ids {
        hub.deliver(FEEDBACK, batch(&[id]));
    }
    assert_eq!(next_ids(&mut feedback).await, ["m-1"]);
    hub.end_links(FEEDBACK, &AmqpError::new(AmqpScope::Link));
    hub.until(|hub| hub.attaches(FEEDBACK) == 2).await;
    assert_eq!(next_ids(&mut feedback).await, ["m-2"]);
    assert_eq!(next_ids(&mut feedback).await, ["m-3"]);
    assert_eq!(hub.settlements().len(), 3);
    assert!(futures::poll!(feedback.next()).is_pending());
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_shown_while_it_lasts() {
    let hub = ScriptedAmqp::new();
    let service = service(&hub);
    let mut feedback = service.feedback(None);
    let mut watch = feedback.watch();
    let reading = tokio::spawn(async move { next_ids(&mut feedback).await });
    while !matches!(watch.status().state, ReceiverState::Connected) {
        watch.changed().await.expect("the client lives");
    }
    hub.refuse_connects(1000);
    hub.end_connections(&AmqpError::new(AmqpScope::Connection));
    let cause = loop {
        match watch.changed().await.expect("the client lives").state {
            ReceiverState::Reconnecting { cause } if cause.to_string().contains("refused") => break cause,
            _ => {}
        }
    };
    assert_eq!(cause.kind(), &ErrorKind::Connection);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!reading.is_finished());
    let state = watch.status().state;
    assert!(matches!(state, ReceiverState::Reconnecting { .. }), "{state:?}");
    assert_eq!(watch.status().losses, 1, "one loss, however many tries");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_an_error_and_stays_with_the_hub() {
    let hub = ScriptedAmqp::new();
    hub.deliver(FEEDBACK, message("not JSON"));
    hub.deliver(FEEDBACK, batch(&["m-1"]));
    let service = service(&hub);
    let mut feedback = service.feedback(None);
    let error = feedback.next().await.expect("goes on").unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::DataConversion);
    assert_eq!(next_ids(&mut feedback).await, ["m-1"]);
    assert_eq!(hub.settlements().len(), 1, "the other is neither taken nor given back");

    drop(feedback);
    hub.until(|hub| hub.open_links(FEEDBACK) == 0).await;
    let mut again = service.feedback(None);
    assert!(again.next().await.expect("goes on").is_err(), "it has come again");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_does_not_use_up_the_credit() {
    let hub = ScriptedAmqp::new();
    for _ in 0..3 {
        hub.deliver(FEEDBACK, message("not JSON"));
    }
    let options = FeedbackOptions {
        credit: std::num::NonZeroU32::new(4),
    };
    let mut feedback = service(&hub).feedback(Some(options));
    for _ in 0..3 {
        assert!(feedback.next().await.expect("goes on").is_err());
    }
    hub.until(|hub| !hub.settlements().is_empty()).await;
    assert_eq!(hub.settlements()[0].1, Settlement::Released);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_and_tried_again() {
    let hub = ScriptedAmqp::new();
    let refusal = AmqpError::new(AmqpScope::Link).with_condition("amqp:link:stolen", "another");
    hub.refuse_attaches(FEEDBACK, [refusal]);
    hub.deliver(FEEDBACK, batch(&["m-1"]));
    let mut feedback = service(&hub).feedback(None);
    let error = feedback.next().await.expect("goes on").unwrap_err();
    assert!(error.to_string().contains("amqp:link:stolen"), "{error}");
    let condition = AmqpError::of(&error).and_then(|error| error.condition.clone());
    assert_eq!(
        condition.as_ref().map(amqp::AmqpCondition::as_str),
        Some("amqp:link:stolen")
    );
    assert_eq!(state(&feedback), "refused");
    assert_eq!(next_ids(&mut feedback).await, ["m-1"]);
}

#[tokio::test(start_paused = true)]
async fn streams_share_a_link_and_a_batch_goes_to_one() {
    let hub = ScriptedAmqp::new();
    let service = service(&hub);
    let (mut one, mut two) = (service.feedback(None), service.clone().feedback(None));
    assert!(futures::poll!(one.next()).is_pending() && futures::poll!(two.next()).is_pending());
    hub.until(|hub| hub.open_links(FEEDBACK) == 1).await;
    let tags = [
        hub.deliver(FEEDBACK, batch(&["m-1"])),
        hub.deliver(FEEDBACK, batch(&["m-2"])),
    ];
    let mut read = [next_ids(&mut one).await, next_ids(&mut two).await].concat();
    read.sort();
    assert_eq!(read, ["m-1", "m-2"]);
    let mut settled = hub.settlements();
    settled.sort_by(|(one, _), (two, _)| one.0.cmp(&two.0));
    assert_eq!(settled, accepted(&tags));
    assert_eq!(hub.attaches(FEEDBACK), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_dropped_stream_has_not_yielded_goes_to_another() {
    let hub = ScriptedAmqp::new();
    let service = service(&hub);
    let (mut one, mut two) = (service.feedback(None), service.feedback(None));
    assert!(futures::poll!(one.next()).is_pending() && futures::poll!(two.next()).is_pending());
    hub.until(|hub| hub.open_links(FEEDBACK) == 1).await;
    for id in ["m-1", "m-2", "m-3", "m-4"] {
        hub.deliver(FEEDBACK, batch(&[id]));
    }
    let mut read = next_ids(&mut two).await;
    drop(one);
    while read.len() < 4 {
        read.extend(next_ids(&mut two).await);
    }
    read.sort();
    assert_eq!(read, ["m-1", "m-2", "m-3", "m-4"]);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_streams_without_an_error() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let service = service(&hub);
    let mut feedback = service.feedback(None);
    assert!(futures::poll!(feedback.next()).is_pending());
    hub.until(|hub| hub.open_links(FEEDBACK) == 1).await;
    service.close().await?;
    assert!(feedback.next().await.is_none());
    assert_eq!(state(&feedback), "closed");

    let mut late = service.feedback(None);
    let error = late.next().await.expect("says why").unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
    assert!(late.next().await.is_none());
    assert_eq!(hub.connects(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_link_goes_with_the_last_stream_and_the_task_with_the_last_handle() {
    let hub = ScriptedAmqp::new();
    hub.deliver(FEEDBACK, batch(&["m-1"]));
    let service = service(&hub);
    let mut feedback = service.feedback(None);
    let held = feedback.next().await.expect("goes on").expect("a batch");
    drop(feedback);
    hub.until(|hub| hub.open_links(FEEDBACK) == 0).await;
    let error = held.complete().await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceMessageLockLost));
    drop(service);
    hub.until(|hub| hub.open_connections() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn feedback_is_received_over_https_too() -> Result<()> {
    let body = r#"[{"originalMessageId":"m-1","deviceId":"lamp","statusCode":"Success"}]"#;
    let locked =
        |header: &'static str, value: &'static str| HttpAnswer::new(StatusCode::Ok, body).with_header(header, value);
    let done = || HttpAnswer::new(StatusCode::NoContent, "");
    let http = ScriptedHttp::new([
        locked("etag", "\"a/b\""),
        done(),
        locked("iothub-messagelocktoken", "c"),
        HttpAnswer::Lost,
        done(),
        done(),
    ]);
    let service = over_http(&http);
    let batch = service.receive_feedback(None).await?.expect("a batch");
    assert_eq!(ids(&batch), ["m-1"]);
    batch.complete().await?;
    let batch = service.receive_feedback(None).await?.expect("a batch");
    batch.abandon().await?;
    assert!(service.receive_feedback(None).await?.is_none());

    let feedback = format!("{FEEDBACK}?api-version=2021-04-12");
    assert_eq!(
        http.seen(),
        [
            format!("GET {feedback}"),
            format!("DELETE {FEEDBACK}/a%2Fb?api-version=2021-04-12"),
            format!("GET {feedback}"),
            format!("POST {FEEDBACK}/c/abandon?api-version=2021-04-12"),
            format!("POST {FEEDBACK}/c/abandon?api-version=2021-04-12"),
            format!("GET {feedback}"),
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn feedback_without_a_lock_token_is_refused() {
    let http = ScriptedHttp::answering(StatusCode::Ok, "[]");
    let error = over_http(&http).receive_feedback(None).await.unwrap_err();
    assert!(error.to_string().contains("lock token"), "{error}");
}

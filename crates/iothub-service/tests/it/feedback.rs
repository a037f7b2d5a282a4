use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use iothub_core::{HubErrorCode, Result, models::FeedbackStatus};
use iothub_emulator::{Event, Outcome};
use iothub_service::{
    Ack, CloudToDeviceMessage, Deliveries, FeedbackBatch, ReceiverState, SendAndConfirmOptions, ServiceClient,
};
use iothub_transport_amqp::Carrier;

use crate::hub::{Hub, code, maybe_applied, soon};

/// Reads and completes until there are this many records. What cannot be completed, because its link has just ended,
/// comes again.
pub(crate) async fn read(
    feedback: &mut Deliveries<FeedbackBatch>,
    count: usize,
) -> Result<BTreeMap<String, FeedbackStatus>> {
    let mut records = BTreeMap::new();
    while records.len() < count {
        let batch = soon("feedback", feedback.next()).await.expect("goes on")?;
        let read = batch.records.clone();
        match batch.complete().await {
            Ok(()) => {
                for record in read {
                    assert_eq!(record.device_id, "lamp");
                    records.insert(record.original_message_id, record.status);
                }
            }
            Err(error) => assert_eq!(code(&error), Some(&HubErrorCode::DeviceMessageLockLost), "{error}"),
        }
    }
    Ok(records)
}

fn confirming(hub: &Hub, id: &str) -> tokio::task::JoinHandle<Result<FeedbackStatus>> {
    let (service, lamp) = (hub.service.clone(), hub.lamp.clone());
    let message = CloudToDeviceMessage {
        message_id: Some(id.to_owned()),
        ..CloudToDeviceMessage::new("on")
    };
    tokio::spawn(async move {
        let confirmed = service.send_and_confirm(&lamp, message, None).await?;
        Ok(confirmed.record.status)
    })
}

#[tokio::test]
async fn the_hub_tells_what_became_of_each_message() -> Result<()> {
    for carrier in [Carrier::Tls, Carrier::WebSocket] {
        let hub = Hub::over(carrier).await;
        for id in ["completed", "rejected", "left"] {
            hub.send_traced(id).await?;
        }
        hub.device().recv().await.complete()?;
        hub.device().recv().await.reject()?;
        hub.service
            .purge_message_queue(&"lamp".parse()?, None)
            .await?
            .into_model()?;
        hub.close_batch();

        let mut feedback = hub.service.feedback(None);
        let records = read(&mut feedback, 3).await?;
        let expected = [
            ("completed".to_owned(), FeedbackStatus::Success),
            ("left".to_owned(), FeedbackStatus::Purged),
            ("rejected".to_owned(), FeedbackStatus::Rejected),
        ];
        assert_eq!(records, BTreeMap::from(expected));
        hub.service.close().await?;
        assert!(soon("the end", feedback.next()).await.is_none());
    }
    Ok(())
}

#[tokio::test]
async fn the_hub_tells_of_messages_that_expire() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let message = CloudToDeviceMessage {
        message_id: Some("late".to_owned()),
        expiry_time: Some(hub.emulator.clock().now() + Duration::from_secs(30)),
        ack: Ack::Negative,
        ..CloudToDeviceMessage::new("on")
    };
    hub.service.send(&hub.lamp, message, None).await?;
    let clock = hub.emulator.clock();
    clock.advance(Duration::from_secs(31));
    let journal = hub.emulator.journal();
    journal
        .wait_for(|event| {
            matches!(
                event,
                Event::Settled {
                    outcome: Outcome::Expired,
                    ..
                }
            )
        })
        .await;
    hub.close_batch();
    let records = read(&mut hub.service.feedback(None), 1).await?;
    assert_eq!(records.get("late"), Some(&FeedbackStatus::Expired));
    Ok(())
}

#[tokio::test]
async fn what_is_given_back_comes_again() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    hub.send_and_take("m-1").await?;
    let mut feedback = hub.service.feedback(None);
    for _ in 0..3 {
        let batch = soon("feedback", feedback.next()).await.expect("goes on")?;
        batch.abandon().await?;
    }
    assert_eq!(read(&mut feedback, 1).await?.len(), 1);
    drop(feedback);
    assert!(hub.service.receive_feedback(None).await?.is_none(), "it is completed");
    Ok(())
}

#[tokio::test]
async fn feedback_goes_over_https_where_nothing_else_does() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    hub.send_and_take("m-1").await?;
    let batch = hub.service.receive_feedback(None).await?.expect("a batch");
    assert_eq!(batch.records[0].original_message_id, "m-1");
    assert!(hub.service.receive_feedback(None).await?.is_none(), "it is locked");
    batch.abandon().await?;
    let batch = hub.service.receive_feedback(None).await?.expect("a batch");
    batch.complete().await?;
    assert!(hub.service.receive_feedback(None).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn what_is_settled_too_late_comes_again() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let lock = Duration::from_secs(60);
    hub.send_and_take("m-1").await?;
    let late = hub.service.receive_feedback(None).await?.expect("a batch");
    hub.emulator.clock().advance(lock);
    let error = late.complete().await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceMessageLockLost), "{error}");

    let mut feedback = hub.service.feedback(None);
    let late = soon("feedback", feedback.next()).await.expect("goes on")?;
    hub.emulator.clock().advance(lock);
    let again = soon("feedback", feedback.next()).await.expect("goes on")?;
    assert_eq!(again.records, late.records);
    // Over AMQP this is a word that the hub does not answer.
    late.complete().await?;
    hub.emulator.clock().advance(lock);
    assert_eq!(read(&mut feedback, 1).await?.len(), 1, "it is not completed");
    let error = again.complete().await;
    assert!(error.is_ok(), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn a_message_is_confirmed() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    for reject in [false, true] {
        let call = confirming(&hub, "m-1");
        let message = hub.device().recv().await;
        assert_eq!(message.ack, iothub_emulator::Ack::Full);
        let expected = match reject {
            true => message.reject().map(|_| FeedbackStatus::Rejected)?,
            false => message.complete().map(|_| FeedbackStatus::Success)?,
        };
        hub.close_batch();
        assert_eq!(soon("the record", call).await.expect("no panic")?, expected);
    }
    Ok(())
}

#[tokio::test]
async fn who_waits_for_one_record_leaves_the_others() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    hub.send_traced("theirs").await?;
    hub.device().recv().await.complete()?;
    let call = confirming(&hub, "ours");
    hub.device().recv().await.complete()?;
    hub.close_batch();
    soon("the record", call).await.expect("no panic")?;

    // Another backend, which finds both.
    let records = read(&mut hub.service_of("service").feedback(None), 2).await?;
    assert!(records.contains_key("theirs") && records.contains_key("ours"));
    Ok(())
}

#[tokio::test]
async fn a_device_that_is_away_is_not_waited_for_long() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let options = SendAndConfirmOptions {
        confirm_timeout: Some(Duration::from_millis(300)),
        ..SendAndConfirmOptions::default()
    };
    let message = CloudToDeviceMessage::new("on");
    let error = hub
        .service
        .send_and_confirm(&hub.lamp, message, Some(options))
        .await
        .unwrap_err();
    assert!(maybe_applied(&error), "{error}");
    assert_eq!(hub.queued(), 1);
    Ok(())
}

#[tokio::test]
async fn a_receiver_survives_whatever_ends_its_link() -> Result<()> {
    const CONDITIONS: [Option<&str>; 4] = [
        None,
        Some("amqp:link:detach-forced"),
        Some("com.microsoft:timeout"),
        Some("vendor:never-seen"),
    ];
    let hub = Hub::with_a_lamp().await;
    let mut feedback = hub.service.feedback(None);
    for (number, condition) in CONDITIONS.into_iter().enumerate() {
        hub.send_and_take(&format!("before {number}")).await?;
        assert_eq!(read(&mut feedback, 1).await?.len(), 1, "{condition:?}");
        hub.faults().detach_links("feedback", condition);
        hub.send_and_take(&format!("after {number}")).await?;
        // What is no condition of a link that is made anew in silence is told, and then the link is made anew.
        let id = loop {
            match soon("feedback", feedback.next()).await.expect("goes on") {
                Ok(batch) => {
                    let id = batch.records[0].original_message_id.clone();
                    batch.complete().await?;
                    if id.starts_with("after") {
                        break id;
                    }
                }
                Err(error) => assert!(error.to_string().contains("vendor:never-seen"), "{error}"),
            }
        };
        assert_eq!(id, format!("after {number}"), "{condition:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_closed_receiver_was_not_lost() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let mut feedback = hub.service.feedback(None);
    let watch = feedback.watch();
    assert!(futures::poll!(feedback.next()).is_pending());
    await_connected(watch.clone()).await;
    hub.service.close().await?;
    assert!(soon("the end", feedback.next()).await.is_none());
    let status = watch.status();
    assert!(matches!(status.state, ReceiverState::Closed), "{status:?}");
    assert_eq!(status.losses, 0);
    Ok(())
}

#[tokio::test]
async fn a_policy_without_the_permission_is_told_so() {
    let hub = Hub::with_a_lamp().await;
    let service: ServiceClient = hub.service_of("registryRead");
    let error = soon("a refusal", service.feedback(None).next())
        .await
        .expect("goes on")
        .unwrap_err();
    let status = code(&error).and_then(HubErrorCode::status).map(u16::from);
    assert!(matches!(status, Some(401 | 403)), "{error}");
}

async fn await_connected(mut watch: iothub_service::ReceiverWatch) {
    while !matches!(watch.status().state, ReceiverState::Connected) {
        soon("a change", watch.changed()).await.expect("the client lives");
    }
}

use iothub_core::{amqp::Settlement, models::FeedbackStatus};

use super::{
    receiving::{FEEDBACK, batch, message},
    *,
};
use crate::{Confirmed, SendAndConfirmOptions};

fn named(id: &str) -> CloudToDeviceMessage {
    CloudToDeviceMessage {
        message_id: Some(id.to_owned()),
        ..on()
    }
}

fn confirming(service: &ServiceClient, id: &str) -> tokio::task::JoinHandle<Result<Confirmed>> {
    let (service, message) = (service.clone(), named(id));
    tokio::spawn(async move { service.send_and_confirm(&lamp(), message, None).await })
}

#[tokio::test(start_paused = true)]
async fn the_record_of_the_message_is_awaited() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let service = service(&hub);
    let confirming = {
        let service = service.clone();
        tokio::spawn(async move { service.send_and_confirm(&lamp(), on(), None).await })
    };
    hub.until(|hub| hub.sent().len() == 1).await;
    let sent = &hub.sent()[0];
    assert_eq!(sent.application_property("iothub-ack"), Some(&"full".into()));
    let id = sent
        .message_id
        .as_ref()
        .and_then(AmqpValue::as_str)
        .expect("an id")
        .to_owned();
    let json = format!(r#"[{{"originalMessageId":"{id}","deviceId":"lamp","statusCode":"Rejected"}}]"#);
    let tag = hub.deliver(FEEDBACK, message(&json));

    let confirmed = confirming.await.expect("no panic")?;
    assert_eq!(confirmed.sent.message_id.as_deref(), Some(id.as_str()));
    assert_eq!(confirmed.record.status, FeedbackStatus::Rejected);
    hub.until(|hub| hub.open_links(FEEDBACK) == 0).await;
    assert_eq!(hub.settlements(), [(tag, Settlement::Accepted)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn records_of_others_are_given_back() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let service = service(&hub);
    let calls = [confirming(&service, "m-1"), confirming(&service, "m-2")];
    hub.until(|hub| hub.sent().len() == 2).await;
    let mixed = hub.deliver(FEEDBACK, batch(&["theirs", "m-1"]));
    let [first, second] = calls;
    first.await.expect("no panic")?;
    assert!(
        hub.settlements().is_empty(),
        "as long as somebody waits it would only come back"
    );
    let ours = hub.deliver(FEEDBACK, batch(&["m-2"]));
    second.await.expect("no panic")?;
    hub.until(|hub| hub.open_links(FEEDBACK) == 0).await;
    assert_eq!(
        hub.settlements(),
        [(ours, Settlement::Accepted), (mixed, Settlement::Released)]
    );

    let mut feedback = service.feedback(None);
    let delivery = feedback.next().await.expect("goes on")?;
    assert_eq!(delivery.records[0].original_message_id, "theirs");
    delivery.complete().await
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_the_application_gets_every_batch() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let service = service(&hub);
    let mut feedback = service.feedback(None);
    assert!(futures::poll!(feedback.next()).is_pending());
    let call = confirming(&service, "m-1");
    hub.until(|hub| hub.sent().len() == 1).await;
    hub.deliver(FEEDBACK, batch(&["m-1"]));
    hub.deliver(FEEDBACK, batch(&["theirs"]));
    // The stream is not read meanwhile.
    assert_eq!(call.await.expect("no panic")?.record.original_message_id, "m-1");
    for id in ["m-1", "theirs"] {
        let delivery = feedback.next().await.expect("goes on")?;
        assert_eq!(delivery.records[0].original_message_id, id);
        delivery.complete().await?;
    }
    assert_eq!(hub.attaches(FEEDBACK), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_record_of_another_device_is_not_taken_for_ours() {
    let hub = ScriptedAmqp::new();
    let call = confirming(&service(&hub), "m-1");
    hub.until(|hub| hub.sent().len() == 1).await;
    hub.deliver(FEEDBACK, message(r#"[{"originalMessageId":"m-1","deviceId":"fan"}]"#));
    let error = call.await.expect("no panic").unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Io);
}

#[tokio::test(start_paused = true)]
async fn a_message_of_which_nothing_is_heard_may_have_arrived() {
    let hub = ScriptedAmqp::new();
    let begin = Instant::now();
    let options = SendAndConfirmOptions {
        confirm_timeout: Some(Duration::from_secs(7)),
        ..SendAndConfirmOptions::default()
    };
    let error = service(&hub)
        .send_and_confirm(&lamp(), named("m-1"), Some(options))
        .await
        .unwrap_err();
    assert_eq!(begin.elapsed().as_secs(), 7);
    assert!(error.to_string().contains("m-1"), "{error}");
    assert!(CallFacts::of(&error).expect("facts").maybe_applied);
    hub.until(|hub| hub.open_links(FEEDBACK) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_stored_is_not_waited_for() {
    let hub = ScriptedAmqp::new();
    hub.answer_sends([SendAnswer::rejected("amqp:not-found")]);
    let error = service(&hub).send_and_confirm(&lamp(), on(), None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceNotFound));
    assert!(!CallFacts::of(&error).expect("facts").maybe_applied);

    let options = SendAndConfirmOptions {
        confirm_timeout: Some(Duration::ZERO),
        ..SendAndConfirmOptions::default()
    };
    let begin = Instant::now();
    let error = service(&hub)
        .send_and_confirm(&lamp(), on(), Some(options))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("zero"), "{error}");
    assert_eq!((begin.elapsed(), hub.sent().len()), (Duration::ZERO, 1));
}

#[tokio::test(start_paused = true)]
async fn a_refused_receiving_link_is_told_at_once() {
    let hub = ScriptedAmqp::new();
    let refusal = AmqpError::new(AmqpScope::Link).with_condition("amqp:not-allowed", "no feedback for you");
    hub.refuse_attaches(FEEDBACK, [refusal]);
    let begin = Instant::now();
    let error = service(&hub).send_and_confirm(&lamp(), on(), None).await.unwrap_err();
    assert!(error.to_string().contains("no feedback for you"), "{error}");
    assert!(CallFacts::of(&error).expect("facts").maybe_applied);
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_is_no_reason_to_stop_waiting() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let call = confirming(&service(&hub), "m-1");
    hub.until(|hub| hub.sent().len() == 1 && hub.open_links(FEEDBACK) == 1)
        .await;
    hub.end_connections(&AmqpError::new(AmqpScope::Connection));
    hub.deliver(FEEDBACK, batch(&["m-1"]));
    call.await.expect("no panic")?;
    Ok(())
}

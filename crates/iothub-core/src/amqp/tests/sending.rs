use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::*;
use crate::{CallLimits, testing::SendAnswer};

#[tokio::test(start_paused = true)]
async fn nothing_is_opened_before_the_first_message() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let sender = c2d(&connect(&hub));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(hub.connects(), 0);

    assert_eq!(send(&sender, 1).await?.attempts, 1);
    assert_eq!((hub.connects(), hub.attaches("$cbs"), hub.attaches(C2D)), (1, 2, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn hundreds_are_under_way_on_one_link_and_in_order() -> Result<()> {
    let hub = ScriptedAmqp::new();
    hub.answer_sends((0..500).map(|_| SendAnswer::Hold));
    let sender = c2d(&connect(&hub));
    let mut receipts = Vec::new();
    for id in 0..500 {
        receipts.push(sender.send(message(id), SendOptions::default()).await?);
    }
    let expected: Vec<String> = (0..500).map(|id| id.to_string()).collect();
    assert_eq!(ids(&hub), expected);

    hub.settle_held(&Outcome::Accepted);
    let sent: Vec<_> = stream::iter(receipts).buffered(500).collect().await;
    assert!(sent.iter().all(Result::is_ok));
    assert_eq!(hub.attaches(C2D), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_message_given_back_is_sent_again_as_it_was() -> Result<()> {
    for outcome in [
        Outcome::Released,
        Outcome::Modified {
            undeliverable_here: false,
        },
    ] {
        let hub = ScriptedAmqp::new();
        hub.answer_sends([SendAnswer::Settle(outcome)]);
        let sent = send(&c2d(&connect(&hub)), "a").await?;
        assert_eq!((sent.attempts, ids(&hub)), (2, vec!["a".to_owned(), "a".to_owned()]));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_undeliverable_here_is_not_sent_again() {
    let hub = ScriptedAmqp::new();
    hub.answer_sends([SendAnswer::Settle(Outcome::Modified {
        undeliverable_here: true,
    })]);
    let error = send(&c2d(&connect(&hub)), "a").await.unwrap_err();
    assert_eq!((facts(&error).attempts, facts(&error).maybe_applied), (1, false));
    assert_eq!(hub.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_gives_back_for_ever_is_asked_nine_times() {
    let hub = ScriptedAmqp::new();
    hub.answer_sends((0..20).map(|_| SendAnswer::Settle(Outcome::Released)));
    let error = send(&c2d(&connect(&hub)), "a").await.unwrap_err();
    assert_eq!((facts(&error).attempts, hub.sent().len()), (9, 9));
    assert!(!facts(&error).maybe_applied);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_message_says_why_and_leaves_the_link_as_it_is() {
    let hub = ScriptedAmqp::new();
    hub.answer_sends([
        SendAnswer::rejected("amqp:resource-limit-exceeded"),
        SendAnswer::rejected("amqp:not-found"),
    ]);
    let sender = c2d(&connect(&hub));
    let full = send(&sender, "a").await.unwrap_err();
    assert_eq!(code(&full).as_deref(), Some("DeviceMaximumQueueDepthExceeded"));
    let missing = send(&sender, "b").await.unwrap_err();
    assert_eq!(code(&missing).as_deref(), Some("DeviceNotFound"));
    assert!(!facts(&full).maybe_applied && !facts(&missing).maybe_applied);
    assert_eq!((hub.sent().len(), hub.attaches(C2D)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_disabled_device_is_not_taken_for_a_bad_token() {
    for (info, tokens) in [
        (vec![], 2),
        (
            vec![("com.microsoft:error-code".to_owned(), "DeviceDisabled".into())],
            1,
        ),
    ] {
        let hub = ScriptedAmqp::new();
        let rejected = Outcome::Rejected {
            condition: Some("amqp:unauthorized-access".into()),
            description: None,
            info,
        };
        hub.answer_sends([rejected.clone(), rejected].map(SendAnswer::Settle));
        assert!(send(&c2d(&connect(&hub)), 1).await.is_err());
        assert_eq!((hub.tokens().len(), hub.sent().len()), (tokens, tokens));
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_message_waits_for_seconds() -> Result<()> {
    let hub = ScriptedAmqp::new();
    hub.answer_sends([SendAnswer::rejected("com.microsoft:device-container-throttled")]);
    let begin = Instant::now();
    let sent = send(&c2d(&connect(&hub)), "a").await?;
    assert_eq!((sent.attempts, hub.sent().len()), (2, 2));
    assert!(begin.elapsed() >= Duration::from_millis(3750), "{:?}", begin.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_throttled_message_without_the_time_to_wait_fails_at_once() {
    let hub = ScriptedAmqp::new();
    hub.answer_sends([SendAnswer::rejected("com.microsoft:device-container-throttled")]);
    let options = SendOptions {
        limits: within(Duration::from_secs(2)),
        ..SendOptions::default()
    };
    let begin = Instant::now();
    let receipt = c2d(&connect(&hub)).send(message("a"), options).await.unwrap();
    let error = receipt.await.unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("ThrottlingException"));
    assert!(
        facts(&error)
            .retry_after
            .is_some_and(|wait| wait > Duration::from_secs(2))
    );
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_message_without_an_outcome_may_have_been_stored() {
    for scope in [AmqpScope::Link, AmqpScope::Session, AmqpScope::Connection] {
        let hub = ScriptedAmqp::new();
        hub.answer_sends([SendAnswer::End(end_of(scope))]);
        let sender = c2d(&connect(&hub));
        let error = send(&sender, "a").await.unwrap_err();
        assert_eq!((facts(&error).attempts, facts(&error).maybe_applied), (1, true));
        assert_eq!(error.kind(), &ErrorKind::Io);
        assert_eq!(ids(&hub), ["a"], "it was not sent again");

        send(&sender, "b").await.expect("the link is made anew");
        let connects = if scope == AmqpScope::Connection { 2 } else { 1 };
        assert_eq!((hub.connects(), hub.attaches(C2D)), (connects, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_at_least_once_gets_it_with_the_same_id() -> Result<()> {
    let hub = ScriptedAmqp::new();
    hub.answer_sends([
        SendAnswer::End(end_of(AmqpScope::Link)),
        SendAnswer::End(end_of(AmqpScope::Connection)),
    ]);
    let options = SendOptions {
        at_least_once: true,
        ..SendOptions::default()
    };
    let sent = c2d(&connect(&hub)).send(message("a"), options).await?.await?;
    assert_eq!((sent.attempts, ids(&hub)), (3, vec!["a".to_owned(); 3]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_lost_try_does_not_hide_that_the_first_may_have_been_stored() {
    let hub = ScriptedAmqp::new();
    hub.answer_sends([
        SendAnswer::End(end_of(AmqpScope::Link)),
        SendAnswer::rejected("amqp:resource-limit-exceeded"),
    ]);
    let options = SendOptions {
        at_least_once: true,
        ..SendOptions::default()
    };
    let receipt = c2d(&connect(&hub)).send(message("a"), options).await.unwrap();
    let error = receipt.await.unwrap_err();
    assert_eq!((facts(&error).attempts, facts(&error).maybe_applied), (2, true));
    assert_eq!(code(&error).as_deref(), Some("DeviceMaximumQueueDepthExceeded"));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_not_handed_over_goes_out_over_the_next_link() -> Result<()> {
    let hub = ScriptedAmqp::new();
    hub.answer_sends([
        SendAnswer::Refuse(end_of(AmqpScope::Link)),
        SendAnswer::Refuse(end_of(AmqpScope::Connection)),
    ]);
    let sent = send(&c2d(&connect(&hub)), "a").await?;
    assert_eq!((sent.attempts, ids(&hub)), (3, vec!["a".to_owned()]));
    assert_eq!((hub.connects(), hub.attaches(C2D)), (2, 3));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_transport_refuses_costs_no_link() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let sender = c2d(&connect(&hub));
    let too_large = AmqpError::new(AmqpScope::Message).with_condition("amqp:link:message-size-exceeded", "1 MiB");
    hub.answer_sends([SendAnswer::Refuse(too_large)]);
    let error = send(&sender, 1).await.unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("MessageTooLarge"));
    assert_eq!((facts(&error).attempts, facts(&error).maybe_applied), (1, false));
    send(&sender, 2).await?;
    assert_eq!((hub.connects(), hub.attaches(C2D)), (1, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_cannot_succeed_is_not_repeated() {
    let refused = || AmqpError::new(AmqpScope::Connection).with_description("this is not AMQP");
    for error in [
        Error::with_message(ErrorKind::Other, "the certificate is not trusted"),
        Error::new(ErrorKind::Other, refused()),
    ] {
        let hub = ScriptedAmqp::new();
        let expected = error.to_string();
        hub.fail_connects([error]);
        let begin = Instant::now();
        let error = send(&c2d(&connect(&hub)), 1).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (&ErrorKind::Other, expected));
        assert_eq!((hub.connects(), begin.elapsed()), (1, Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_ends_by_its_deadline() {
    let deadline = Duration::from_secs(7);
    let options = SendOptions {
        limits: within(deadline),
        ..SendOptions::default()
    };

    // Nothing listens.
    let hub = ScriptedAmqp::new();
    hub.refuse_connects(1000);
    let begin = Instant::now();
    let error = c2d(&connect(&hub)).send(message(1), options.clone()).await.unwrap_err();
    assert_eq!(begin.elapsed(), deadline);
    assert_eq!(error.kind(), &ErrorKind::Connection);
    assert!(!facts(&error).maybe_applied);
    assert!(error.to_string().contains("connection refused"), "{error}");

    // There is no credit.
    let hub = ScriptedAmqp::new();
    hub.set_credit(Some(0));
    let begin = Instant::now();
    let error = c2d(&connect(&hub)).send(message(1), options.clone()).await.unwrap_err();
    assert_eq!(begin.elapsed(), deadline);
    assert_eq!(
        error.kind(),
        &ErrorKind::Io,
        "it cannot be told whether it was being written"
    );

    // The message is never settled.
    let hub = ScriptedAmqp::new();
    hub.answer_sends([SendAnswer::Hold]);
    let begin = Instant::now();
    let receipt = c2d(&connect(&hub)).send(message(1), options).await.unwrap();
    let error = receipt.await.unwrap_err();
    assert_eq!(begin.elapsed(), deadline);
    assert!(facts(&error).maybe_applied);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_zero_fails_at_once() {
    let hub = ScriptedAmqp::new();
    let options = SendOptions {
        limits: within(Duration::ZERO),
        ..SendOptions::default()
    };
    let error = c2d(&connect(&hub)).send(message(1), options).await.unwrap_err();
    assert!(error.to_string().contains("zero"), "{error}");
    assert_eq!(hub.connects(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_gone_silent_is_replaced() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let sender = c2d(&connect(&hub));
    send(&sender, 1).await?;
    hub.fall_silent();
    let error = send(&sender, 2).await.unwrap_err();
    assert!(facts(&error).maybe_applied);

    // The unsettled message made the connection suspect, and the question whether it lives stays without an answer.
    let begin = Instant::now();
    hub.until(|hub| hub.open_connections() == 0).await;
    assert_eq!(begin.elapsed(), Duration::from_secs(15));
    send(&sender, 3).await?;
    assert_eq!(hub.connects(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_answers_survives_suspicion() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let sender = c2d(&connect(&hub));
    hub.answer_sends([SendAnswer::Hold]);
    send(&sender, 1).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(30)).await;
    send(&sender, 2).await?;
    assert_eq!((hub.connects(), hub.attaches(C2D), hub.tokens().len()), (1, 1, 2));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_link_that_was_closed_while_idle_is_not_noticed() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let sender = c2d(&connect(&hub));
    send(&sender, 1).await?;
    tokio::time::sleep(Duration::from_secs(600)).await;
    hub.end_links(C2D, &end_of(AmqpScope::Link));
    tokio::time::sleep(Duration::from_secs(300)).await;
    hub.end_connections(&end_of(AmqpScope::Connection));
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(hub.connects(), 1, "nobody needed a connection");

    let begin = Instant::now();
    assert_eq!(send(&sender, 2).await?.attempts, 1);
    assert!(begin.elapsed() < Duration::from_secs(1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_try_is_one_try() {
    for answer in [
        SendAnswer::Settle(Outcome::Released),
        SendAnswer::Refuse(end_of(AmqpScope::Link)),
        SendAnswer::rejected("com.microsoft:server-busy"),
    ] {
        let hub = ScriptedAmqp::new();
        hub.answer_sends([answer]);
        let limits = CallLimits {
            tries: Some(1),
            ..CallLimits::default()
        };
        let options = SendOptions {
            limits,
            ..SendOptions::default()
        };
        let sender = c2d(&connect(&hub));
        let error = match sender.send(message("a"), options).await {
            Ok(receipt) => receipt.await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(
            (facts(&error).attempts, facts(&error).maybe_applied),
            (1, false),
            "{error}"
        );
    }
}

fn within(deadline: Duration) -> CallLimits {
    CallLimits {
        deadline: Some(deadline),
        ..CallLimits::default()
    }
}

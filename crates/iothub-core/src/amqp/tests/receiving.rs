use futures::TryStreamExt;
use tokio::time::{Instant, timeout};

use super::*;

/// The next message, whatever else is said before it.
async fn delivery(receiver: &mut HubReceiver) -> HubDelivery {
    loop {
        match receiver.next().await {
            Some(Ok(ReceiverEvent::Delivery(delivery))) => return delivery,
            Some(_) => {}
            None => panic!("closed"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_are_received_and_settled_while_others_are_awaited() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let mut receiver = feedback(&connect(&hub));
    let first = hub.deliver(FEEDBACK, message("a"));
    let second = hub.deliver(FEEDBACK, message("b"));
    let a = delivery(&mut receiver).await;
    let b = delivery(&mut receiver).await;
    assert_eq!((a.message.clone(), b.message.clone()), (message("a"), message("b")));

    let (settled, waited) = futures::join!(
        async {
            (
                b.settle(Settlement::Accepted).await,
                a.settle(Settlement::Rejected).await,
            )
        },
        timeout(Duration::from_secs(1), receiver.next())
    );
    assert!(settled.0.is_ok() && settled.1.is_ok() && waited.is_err());
    assert_eq!(
        hub.settlements(),
        [(second, Settlement::Accepted), (first, Settlement::Rejected)]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_dead_link_is_not_ours_any_more() -> Result<()> {
    for scope in [AmqpScope::Link, AmqpScope::Connection] {
        let hub = ScriptedAmqp::new();
        let mut receiver = feedback(&connect(&hub));
        hub.deliver(FEEDBACK, message("a"));
        let seen = delivery(&mut receiver).await;
        let unseen = {
            hub.deliver(FEEDBACK, message("b"));
            delivery(&mut receiver).await
        };
        match scope {
            AmqpScope::Connection => hub.end_connections(&end_of(scope)),
            _ => hub.end_links(FEEDBACK, &end_of(scope)),
        }
        // Whether the receiver has noticed or not.
        let error = unseen.settle(Settlement::Accepted).await.unwrap_err();
        assert_eq!(code(&error).as_deref(), Some("DeviceMessageLockLost"));
        let again = delivery(&mut receiver).await;
        let error = seen.settle(Settlement::Accepted).await.unwrap_err();
        assert_eq!(code(&error).as_deref(), Some("DeviceMessageLockLost"));

        assert_eq!(again.message, message("a"), "it is delivered again");
        again.settle(Settlement::Accepted).await?;
        assert_eq!(hub.settlements().len(), 1);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn credit_bounds_what_waits_for_the_application() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let mut receiver = feedback(&connect(&hub));
    for id in 0..15 {
        hub.deliver(FEEDBACK, message(id));
    }
    let mut unsettled = Vec::new();
    for _ in 0..10 {
        unsettled.push(delivery(&mut receiver).await);
    }
    assert!(
        timeout(HOUR, delivery(&mut receiver)).await.is_err(),
        "the application owes ten settlements"
    );
    unsettled.remove(0).settle(Settlement::Accepted).await?;
    assert_eq!(delivery(&mut receiver).await.message, message(10));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_something_is_heard_every_minute_and_it_ends_with_it() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let mut receiver = feedback(&connect(&hub));
    receiver.next().await;
    hub.refuse_connects(40);
    hub.end_connections(&end_of(AmqpScope::Connection));
    let begin = Instant::now();
    let mut connects = Vec::new();
    loop {
        let event = timeout(Duration::from_secs(60), receiver.next())
            .await
            .expect("something is heard every minute")
            .expect("not closed")?;
        connects.push((begin.elapsed(), hub.connects()));
        match event {
            ReceiverEvent::Connected => break,
            ReceiverEvent::Reconnecting { cause } => assert!(!cause.to_string().is_empty()),
            ReceiverEvent::Delivery(_) => panic!("nothing was delivered"),
        }
    }
    let by = |at: Duration| connects.iter().filter(|(when, _)| *when <= at).map(|(_, n)| *n).max();
    assert!(by(Duration::from_secs(60)) <= Some(21), "{connects:?}");
    // A hub that is back within that time is found again within five seconds.
    for pair in connects.windows(2).filter(|pair| pair[1].0 < Duration::from_secs(45)) {
        assert!(pair[1].0 - pair[0].0 <= Duration::from_secs(5), "{connects:?}");
    }
    assert_eq!(hub.connects(), 42);
    assert!(begin.elapsed() > Duration::from_secs(8 * 60), "{:?}", begin.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hears_nothing_for_a_day_hears_what_comes_then() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let mut receiver = feedback(&connect(&hub));
    for reconnect in 0..20 {
        assert!(matches!(receiver.next().await, Some(Ok(ReceiverEvent::Connected))));
        let silence = timeout(Duration::from_secs(72 * 60), receiver.next()).await;
        assert!(silence.is_err(), "{silence:?}");
        hub.deliver(FEEDBACK, message(reconnect));
        let delivery = delivery(&mut receiver).await;
        assert_eq!(delivery.message, message(reconnect));
        delivery.settle(Settlement::Accepted).await?;
        match reconnect % 2 {
            0 => hub.end_links(FEEDBACK, &end_of(AmqpScope::Link)),
            _ => hub.end_connections(&end_of(AmqpScope::Connection)),
        }
        let said = receiver.next().await;
        assert!(matches!(said, Some(Ok(ReceiverEvent::Reconnecting { .. }))), "{said:?}");
    }
    assert_eq!(hub.settlements().len(), 20);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_loses_nothing() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let mut receiver = feedback(&connect(&hub));
    // Dropped at every point at which it waits, from the connect to the message.
    hub.deliver(FEEDBACK, message("a"));
    for polls in 0..50 {
        let mut left = polls;
        let event = {
            let next = receiver.next();
            futures::pin_mut!(next);
            std::future::poll_fn(|cx| match next.as_mut().poll(cx) {
                std::task::Poll::Ready(event) => std::task::Poll::Ready(Some(event)),
                std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(None),
                std::task::Poll::Pending => {
                    left -= 1;
                    std::task::Poll::Pending
                }
            })
            .await
        };
        tokio::task::yield_now().await;
        if let Some(Some(Ok(ReceiverEvent::Delivery(delivery)))) = event {
            assert_eq!(delivery.message, message("a"));
            assert_eq!((hub.connects(), hub.attaches(FEEDBACK)), (1, 1));
            return delivery.settle(Settlement::Accepted).await;
        }
    }
    panic!("the message did not come");
}

#[tokio::test(start_paused = true)]
async fn errors_only_the_application_can_mend_come_slower_and_slower() {
    let hub = ScriptedAmqp::new();
    hub.refuse_attaches(
        FEEDBACK,
        (0..100).map(|_| AmqpError::new(AmqpScope::Link).with_condition("amqp:not-allowed", "no right to listen")),
    );
    let mut receiver = feedback(&connect(&hub));
    let begin = Instant::now();
    for _ in 0..12 {
        assert!(receiver.next().await.expect("not closed").is_err());
    }
    assert!(begin.elapsed() > Duration::from_secs(40), "{:?}", begin.elapsed());
    assert_eq!(hub.connects(), 1);
}

#[tokio::test(start_paused = true)]
async fn closing_the_connection_ends_the_stream() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let connection = connect(&hub);
    let stream = feedback(&connection).into_stream();
    futures::pin_mut!(stream);
    assert!(matches!(stream.try_next().await?, Some(ReceiverEvent::Connected)));
    connection.close().await?;
    assert!(stream.try_next().await.is_err());
    assert!(stream.try_next().await?.is_none());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn closing_the_connection_wakes_a_receiver_that_waits() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let connection = connect(&hub);
    let mut receiver = feedback(&connection);
    receiver.next().await;
    let (closed, event) = futures::join!(connection.close(), receiver.next());
    closed?;
    assert!(event.expect("an error first").is_err());
    assert!(receiver.next().await.is_none());
    Ok(())
}

use super::*;
use crate::testing::SendAnswer;

/// What a fault comes to.
#[derive(Debug, PartialEq)]
enum Comes {
    /// The link is made anew, and nobody hears of it but as a change of state.
    Mended,
    /// As before, after a token that the hub has not refused.
    MendedWithNewToken,
    /// The caller is told.
    Told,
}

use Comes::{Mended, MendedWithNewToken, Told};

const TABLE: &[(Option<&str>, AmqpScope, usize, Comes)] = &[
    // Condition | where it is seen | connects | to whoever is attaching or receiving then
    (None, AmqpScope::Link, 1, Mended),
    (Some("amqp:link:detach-forced"), AmqpScope::Link, 1, Mended),
    (Some("amqp:link:transfer-limit-exceeded"), AmqpScope::Link, 1, Mended),
    (Some("amqp:session:errant-link"), AmqpScope::Session, 1, Mended),
    (Some("amqp:session:handle-in-use"), AmqpScope::Session, 1, Mended),
    (Some("amqp:session:unattached-handle"), AmqpScope::Session, 1, Mended),
    (Some("amqp:session:window-violation"), AmqpScope::Session, 1, Mended),
    (None, AmqpScope::Session, 1, Mended),
    (Some("amqp:connection:forced"), AmqpScope::Connection, 2, Mended),
    (Some("amqp:connection:framing-error"), AmqpScope::Connection, 2, Mended),
    (None, AmqpScope::Connection, 2, Mended),
    (Some("amqp:unauthorized-access"), AmqpScope::Link, 1, MendedWithNewToken),
    (
        Some("amqp:unauthorized-access"),
        AmqpScope::Connection,
        2,
        MendedWithNewToken,
    ),
    (Some("com.microsoft:server-busy"), AmqpScope::Link, 1, Mended),
    (
        Some("com.microsoft:device-container-throttled"),
        AmqpScope::Link,
        1,
        Mended,
    ),
    (Some("com.microsoft:timeout"), AmqpScope::Link, 1, Mended),
    (Some("amqp:internal-error"), AmqpScope::Link, 1, Mended),
    (Some("com.microsoft:operation-cancelled"), AmqpScope::Link, 1, Mended),
    (Some("com.microsoft:server-busy"), AmqpScope::Connection, 2, Mended),
    (Some("amqp:connection:redirect"), AmqpScope::Connection, 2, Told),
    (Some("amqp:link:redirect"), AmqpScope::Link, 1, Told),
    (Some("amqp:resource-limit-exceeded"), AmqpScope::Link, 1, Told),
    (Some("com.microsoft:quota-exceeded"), AmqpScope::Link, 1, Told),
    (Some("com.microsoft:iot-hub-suspended"), AmqpScope::Connection, 2, Told),
    (
        Some("com.microsoft:iot-hub-not-found-error"),
        AmqpScope::Connection,
        2,
        Told,
    ),
    (Some("amqp:decode-error"), AmqpScope::Link, 1, Told),
    (Some("amqp:invalid-field"), AmqpScope::Link, 1, Told),
    (Some("amqp:not-allowed"), AmqpScope::Link, 1, Told),
    (Some("amqp:not-implemented"), AmqpScope::Link, 1, Told),
    (Some("amqp:not-found"), AmqpScope::Link, 1, Told),
    (Some("com.microsoft:entity-disabled"), AmqpScope::Link, 1, Told),
    (Some("vendor:never-seen"), AmqpScope::Link, 1, Told),
];

fn fault(condition: Option<&'static str>, scope: AmqpScope) -> AmqpError {
    match condition {
        Some(condition) => AmqpError::new(scope).with_condition(condition, "for a test"),
        None => AmqpError::new(scope),
    }
}

fn end(hub: &ScriptedAmqp, address: &str, fault: &AmqpError) {
    match fault.scope {
        AmqpScope::Connection => hub.end_connections(fault),
        _ => hub.end_links(address, fault),
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_was_idle_sends_on_after_every_fault() -> Result<()> {
    for &(condition, scope, connects, _) in TABLE {
        let hub = ScriptedAmqp::new();
        let sender = c2d(&connect(&hub));
        send(&sender, 1).await?;
        end(&hub, C2D, &fault(condition, scope));
        send(&sender, 2).await?;
        assert_eq!((hub.connects(), hub.attaches(C2D)), (connects, 2), "{condition:?}");
        assert_eq!(ids(&hub), ["1", "2"], "{condition:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_at_a_fault_may_have_been_stored_and_the_next_is_sent() -> Result<()> {
    for &(condition, scope, connects, _) in TABLE {
        let hub = ScriptedAmqp::new();
        let sender = c2d(&connect(&hub));
        let receipts = under_way(&hub, &sender, SendOptions::default()).await?;
        end(&hub, C2D, &fault(condition, scope));
        for receipt in receipts {
            let error = receipt.await.unwrap_err();
            assert!(facts(&error).maybe_applied, "{condition:?}: {error}");
        }
        send(&sender, "next").await?;
        assert_eq!(ids(&hub), ["0", "1", "2", "next"], "{condition:?}");
        assert_eq!((hub.connects(), hub.attaches(C2D)), (connects, 2), "{condition:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_is_sent_again_for_whoever_asked_for_at_least_once() -> Result<()> {
    for (condition, scope, connects, comes) in TABLE {
        let hub = ScriptedAmqp::new();
        let sender = c2d(&connect(&hub));
        let options = SendOptions {
            at_least_once: true,
            ..SendOptions::default()
        };
        let receipts = under_way(&hub, &sender, options).await?;
        end(&hub, C2D, &fault(*condition, *scope));
        for settled in futures::future::join_all(receipts).await {
            match comes {
                Mended | MendedWithNewToken => assert_eq!(settled?.attempts, 2, "{condition:?}"),
                Told => assert!(facts(&settled.unwrap_err()).maybe_applied, "{condition:?}"),
            }
        }
        let mut sent = ids(&hub);
        // Each waits for itself where the hub wants to be left alone, so that their order may be another.
        let mut again = sent.split_off(3);
        again.sort_unstable();
        match comes {
            Mended | MendedWithNewToken => {
                assert_eq!(again, sent, "{condition:?}");
                assert_eq!((hub.connects(), hub.attaches(C2D)), (*connects, 2), "{condition:?}");
            }
            Told => assert!(again.is_empty(), "{condition:?}"),
        }
    }
    Ok(())
}

/// Three messages that the hub has and does not settle.
async fn under_way(hub: &ScriptedAmqp, sender: &HubSender, options: SendOptions) -> Result<Vec<HubReceipt>> {
    hub.answer_sends([SendAnswer::Hold, SendAnswer::Hold, SendAnswer::Hold]);
    let mut receipts = Vec::new();
    for id in 0..3 {
        receipts.push(sender.send(message(id), options.clone()).await?);
    }
    Ok(receipts)
}

#[tokio::test(start_paused = true)]
async fn a_sender_whose_attach_is_refused_tries_again_or_says_why() -> Result<()> {
    for (condition, scope, connects, comes) in TABLE {
        let hub = ScriptedAmqp::new();
        let tokens = Tokens::living(HOUR);
        hub.refuse_attaches(C2D, [fault(*condition, *scope)]);
        let sent = send(&c2d(&connect_with(&hub, tokens.clone())), 1).await;
        match comes {
            Mended | MendedWithNewToken => {
                sent?;
                assert_eq!(hub.connects(), *connects, "{condition:?}");
                let refused = usize::from(*comes == MendedWithNewToken);
                assert_eq!(tokens.refusals().len(), refused, "{condition:?}");
            }
            Told => {
                let error = sent.unwrap_err();
                let said = AmqpError::of(&error).and_then(|said| said.condition.as_ref());
                assert_eq!(said.map(AmqpCondition::as_str), *condition);
                assert!(!facts(&error).maybe_applied);
                assert!(hub.sent().is_empty());
            }
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_receiver_goes_on_after_every_fault_and_says_so() -> Result<()> {
    for (condition, scope, connects, comes) in TABLE {
        let hub = ScriptedAmqp::new();
        let mut receiver = feedback(&connect(&hub));
        assert!(matches!(receiver.next().await, Some(Ok(ReceiverEvent::Connected))));
        end(&hub, FEEDBACK, &fault(*condition, *scope));

        let first = receiver.next().await.expect("the connection is not closed");
        match (comes, first) {
            (Mended | MendedWithNewToken, Ok(ReceiverEvent::Reconnecting { cause })) => {
                assert!(AmqpError::of(&cause).is_some());
            }
            (Told, Err(error)) => {
                let said = AmqpError::of(&error).and_then(|said| said.condition.as_ref());
                assert_eq!(said.map(AmqpCondition::as_str), *condition);
            }
            (_, other) => panic!("{condition:?}: {other:?}"),
        }
        hub.deliver(FEEDBACK, message("late"));
        loop {
            if let ReceiverEvent::Delivery(delivery) = receiver.next().await.expect("not closed")? {
                delivery.settle(Settlement::Accepted).await?;
                break;
            }
        }
        assert_eq!(
            (hub.connects(), hub.attaches(FEEDBACK)),
            (*connects, 2),
            "{condition:?}"
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_receiver_does_not_take_a_stolen_link_back_in_silence() {
    let hub = ScriptedAmqp::new();
    let mut receiver = feedback(&connect(&hub));
    receiver.next().await;
    hub.end_links(FEEDBACK, &fault(Some("amqp:link:stolen"), AmqpScope::Link));
    assert!(receiver.next().await.expect("not closed").is_err());
}

#[tokio::test(start_paused = true)]
async fn a_second_refusal_as_unauthorized_is_told() {
    let hub = ScriptedAmqp::new();
    let refusal = || fault(Some("amqp:unauthorized-access"), AmqpScope::Link);
    hub.refuse_attaches(C2D, [refusal(), refusal()]);
    let tokens = Tokens::living(HOUR);
    let sender = c2d(&connect_with(&hub, tokens.clone()));
    let error = send(&sender, 1).await.unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("IotHubUnauthorizedAccess"));
    assert_eq!((tokens.made(), hub.connects()), (2, 1));

    send(&sender, 2)
        .await
        .expect("the next call finds the hub of another mind");
}

use azure_core::error::ErrorKind;
use fe2o3_amqp_types::{
    definitions::{AmqpError as Condition, Error, ErrorCondition, Fields},
    messaging::{Accepted, DeliveryState, Modified, Rejected, Released},
    primitives::{Symbol, Value},
};
use futures::{FutureExt, future::join_all};
use iothub_core::amqp::{
    AmqpBody, AmqpCondition, AmqpConnection, AmqpError, AmqpMessage, AmqpScope, AmqpSender, AmqpValue, Outcome,
    SenderLink,
};

use crate::peer::{Event, Order, Peer, Refusal, Script};

pub(crate) fn link() -> SenderLink {
    SenderLink {
        address: "/messages/devicebound".to_owned(),
        properties: vec![("com.microsoft:client-version".to_owned(), "test".into())],
    }
}

pub(crate) fn message(text: &str) -> AmqpMessage {
    AmqpMessage {
        to: Some("/devices/lamp/messages/devicebound".to_owned()),
        body: AmqpBody::Data(text.to_owned().into()),
        ..Default::default()
    }
}

async fn sender(script: Script) -> (Peer, Box<dyn AmqpConnection>, Box<dyn AmqpSender>) {
    let peer = Peer::start(script).await;
    let connection = peer.connect().await;
    let sender = connection.sender(link()).await.unwrap();
    (peer, connection, sender)
}

/// A refusal as a hub words it, with something in the info map.
fn refusal() -> Error {
    let mut info = Fields::new();
    info.insert(Symbol::from("com.microsoft:tracking"), Value::from("t-1"));
    Error::new(Condition::UnauthorizedAccess, "no role".to_owned(), info)
}

fn check_refusal(found: &AmqpError, scope: AmqpScope) {
    assert_eq!(found.scope, scope);
    assert_eq!(
        found.condition.as_ref().map(AmqpCondition::as_str),
        Some("amqp:unauthorized-access")
    );
    assert_eq!(found.description.as_deref(), Some("no role"));
    assert_eq!(
        found.info,
        [("com.microsoft:tracking".to_owned(), AmqpValue::from("t-1"))]
    );
}

#[tokio::test]
async fn a_message_arrives_and_its_receipt_says_so() {
    let (mut peer, connection, sender) = sender(Script::default()).await;
    let attach = peer
        .until(|event| match event {
            Event::Attach(attach) => Some(attach),
            _ => None,
        })
        .await;
    let properties = attach.properties.unwrap();
    assert_eq!(
        properties.get(&Symbol::from("com.microsoft:client-version")),
        Some(&Value::from("test"))
    );

    let receipt = sender.send(message("on")).await.unwrap();
    assert!(matches!(receipt.await.unwrap(), Outcome::Accepted));
    let arrived = peer.message().await;
    assert!(arrived.ends_with(b"\x00\x53\x75\xa0\x02on"), "{arrived:02x?}");

    connection.close().await.unwrap();
    assert_eq!(sender.detached().await.scope, AmqpScope::Connection);
    assert_eq!(connection.closed().await.scope, AmqpScope::Connection);
    connection.close().await.unwrap();
    let error = sender.send(message("off")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection, "nothing was handed over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_messages_are_under_way_at_once_and_in_order() {
    let script = Script {
        credit: 1000,
        accept: false,
        ..Default::default()
    };
    let (mut peer, _connection, sender) = sender(script).await;
    let mut receipts = Vec::new();
    for number in 0..1000 {
        receipts.push(sender.send(message(&format!("{number:04}"))).await.unwrap());
    }
    for number in 0..1000 {
        let arrived = peer.message().await;
        assert!(arrived.ends_with(format!("{number:04}").as_bytes()), "{number}");
    }
    peer.order(Order::Settle(0, 999, DeliveryState::Accepted(Accepted {})));
    for receipt in join_all(receipts).await {
        assert!(matches!(receipt.unwrap(), Outcome::Accepted));
    }
}

#[tokio::test]
async fn every_outcome_is_told() {
    let script = Script {
        accept: false,
        ..Default::default()
    };
    let (mut peer, _connection, sender) = sender(script).await;
    let modified = |undeliverable_here| Modified {
        delivery_failed: None,
        undeliverable_here,
        message_annotations: None,
    };
    let states = [
        DeliveryState::Rejected(Rejected { error: Some(refusal()) }),
        DeliveryState::Rejected(Rejected { error: None }),
        DeliveryState::Released(Released {}),
        DeliveryState::Modified(modified(None)),
        DeliveryState::Modified(modified(Some(true))),
    ];
    let mut outcomes = Vec::new();
    for (number, state) in (0..).zip(states) {
        let receipt = sender.send(message("x")).await.unwrap();
        peer.message().await;
        peer.order(Order::Settle(number, number, state));
        outcomes.push(receipt.await.unwrap());
    }
    let Outcome::Rejected {
        condition,
        description,
        info,
    } = &outcomes[0]
    else {
        panic!("{outcomes:?}")
    };
    check_refusal(
        &AmqpError {
            scope: AmqpScope::Message,
            condition: condition.clone(),
            description: description.clone(),
            info: info.clone(),
        },
        AmqpScope::Message,
    );
    assert!(matches!(&outcomes[1], Outcome::Rejected { condition: None, .. }));
    assert!(matches!(outcomes[2], Outcome::Released));
    assert!(matches!(
        outcomes[3],
        Outcome::Modified {
            undeliverable_here: false
        }
    ));
    assert!(matches!(
        outcomes[4],
        Outcome::Modified {
            undeliverable_here: true
        }
    ));
}

#[tokio::test]
async fn a_refused_attach_is_an_error_with_the_peers_words() {
    for refuse in [Refusal::NullTerminus(refusal()), Refusal::AttachAndDetach(refusal())] {
        let peer = Peer::start(Script {
            refuse: Some(refuse),
            ..Default::default()
        })
        .await;
        let connection = peer.connect().await;
        let error = connection.sender(link()).await.unwrap_err();
        check_refusal(AmqpError::of(&error).unwrap(), AmqpScope::Link);
        // The connection is as good as before.
        let again = connection.sender(link()).await.unwrap_err();
        check_refusal(AmqpError::of(&again).unwrap(), AmqpScope::Link);
    }
}

#[tokio::test]
async fn a_forced_detach_reaches_whoever_waits() {
    for closed in [true, false] {
        let script = Script {
            credit: 1,
            accept: false,
            ..Default::default()
        };
        let (mut peer, connection, sender) = sender(script).await;
        let receipt = sender.send(message("unsettled")).await.unwrap();
        peer.message().await;
        let (detached, refused, ()) = tokio::join!(sender.detached(), sender.send(message("no credit")), async {
            peer.order(Order::Detach(Some(refusal()), closed));
        });
        check_refusal(&detached, AmqpScope::Link);
        let refused = refused.unwrap_err();
        assert_eq!(*refused.kind(), ErrorKind::Connection, "it was not handed over");
        check_refusal(AmqpError::of(&refused).unwrap(), AmqpScope::Link);
        let unknown = receipt.await.unwrap_err();
        assert_eq!(*unknown.kind(), ErrorKind::Io, "it may have been stored");
        check_refusal(AmqpError::of(&unknown).unwrap(), AmqpScope::Link);
        check_refusal(&sender.detached().await, AmqpScope::Link);
        // Attaching anew mends it.
        let next = connection.sender(link()).await.unwrap();
        next.send(message("x")).await.unwrap();
    }
}

#[tokio::test]
async fn everybody_in_line_hears_why_the_link_has_ended() {
    let script = Script {
        credit: 0,
        ..Default::default()
    };
    let (peer, _connection, sender) = sender(script).await;
    let waiting = join_all((0..5).map(|_| sender.send(message("no credit"))));
    let (refused, ()) = tokio::join!(waiting, async {
        peer.order(Order::Detach(Some(refusal()), true));
    });
    for refused in refused {
        check_refusal(AmqpError::of(&refused.unwrap_err()).unwrap(), AmqpScope::Link);
    }
}

#[tokio::test]
async fn a_caller_who_looks_away_holds_nobody_up() {
    for order in [
        || Order::Detach(Some(refusal()), true),
        || Order::Detach(Some(refusal()), false),
        || Order::End(Some(refusal())),
        || Order::Drop,
    ] {
        let script = Script {
            credit: 1,
            accept: false,
            ..Default::default()
        };
        let (mut peer, _connection, sender) = sender(script).await;
        let receipt = sender.send(message("unsettled")).await.unwrap();
        peer.message().await;
        // They have begun, wait for credit, and are polled no more.
        let mut away: Vec<_> = (0..2).map(|_| sender.send(message("no credit"))).collect();
        for waiting in &mut away {
            assert!(waiting.now_or_never().is_none());
        }
        peer.order(order());
        let (detached, unknown) = tokio::join!(sender.detached(), receipt);
        let unknown = unknown.unwrap_err();
        assert_eq!(*unknown.kind(), ErrorKind::Io, "it may have been stored");
        assert_eq!(AmqpError::of(&unknown).unwrap().to_string(), detached.to_string());
        assert!(sender.send(message("too late")).await.is_err());
    }
}

#[tokio::test]
async fn an_end_and_a_close_tell_how_far_they_reach() {
    let (peer, connection, sender) = sender(Script::default()).await;
    peer.order(Order::End(Some(refusal())));
    check_refusal(&sender.detached().await, AmqpScope::Session);
    let sender = connection.sender(link()).await.unwrap();
    peer.order(Order::Close(Some(refusal())));
    check_refusal(&sender.detached().await, AmqpScope::Connection);
    check_refusal(&connection.closed().await, AmqpScope::Connection);
    let error = connection.sender(link()).await.unwrap_err();
    check_refusal(AmqpError::of(&error).unwrap(), AmqpScope::Connection);
}

#[tokio::test]
async fn receipts_fail_when_the_socket_does() {
    let script = Script {
        accept: false,
        ..Default::default()
    };
    let (mut peer, connection, sender) = sender(script).await;
    let mut receipts = Vec::new();
    for _ in 0..10 {
        receipts.push(sender.send(message("x")).await.unwrap());
        peer.message().await;
    }
    peer.order(Order::Drop);
    for receipt in join_all(receipts).await {
        let error = receipt.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Io);
        assert_eq!(AmqpError::of(&error).unwrap().scope, AmqpScope::Connection);
    }
    let reason = connection.closed().await;
    assert!(reason.to_string().contains("the hub closed the socket"), "{reason}");
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_given_up() {
    let mut peer = Peer::start(Script {
        credit: 1,
        accept: false,
        ..Default::default()
    })
    .await;
    let options = iothub_transport_amqp::AmqpOptions {
        idle_timeout: std::time::Duration::from_secs(1),
        ..peer.options()
    };
    let connection = peer.connect_with(options).await.unwrap();
    let open = peer
        .until(|event| match event {
            Event::Open(open) => Some(open),
            _ => None,
        })
        .await;
    assert_eq!(open.idle_time_out, Some(1000));
    let sender = connection.sender(link()).await.unwrap();
    let receipt = sender.send(message("x")).await.unwrap();
    peer.message().await;
    peer.order(Order::FallSilent);
    let (receipt, waiting, reason) = tokio::join!(receipt, sender.send(message("no credit")), connection.closed());
    assert_eq!(
        AmqpError::of(&receipt.unwrap_err()).unwrap().scope,
        AmqpScope::Connection
    );
    assert_eq!(
        AmqpError::of(&waiting.unwrap_err()).unwrap().scope,
        AmqpScope::Connection
    );
    assert!(reason.to_string().contains("silent for 1s"), "{reason}");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_send_that_is_given_up_while_it_waits_writes_nothing() {
    let script = Script {
        credit: 1,
        ..Default::default()
    };
    let (mut peer, _connection, sender) = sender(script).await;
    sender.send(message("first")).await.unwrap().await.unwrap();
    assert!(peer.message().await.ends_with(b"first"));
    for _ in 0..100 {
        let mut waiting = Box::pin(sender.send(message("given up")));
        // Far enough that the link's task has it and waits for credit.
        for _ in 0..4 {
            assert!((&mut waiting).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    }
    peer.order(Order::Credit(1000));
    sender.send(message("last")).await.unwrap().await.unwrap();
    assert!(peer.message().await.ends_with(b"last"), "nothing came between");
}

#[tokio::test]
async fn messages_wait_for_credit() {
    let script = Script {
        credit: 2,
        ..Default::default()
    };
    let (mut peer, _connection, sender) = sender(script).await;
    for _ in 0..2 {
        sender.send(message("x")).await.unwrap().await.unwrap();
        peer.message().await;
    }
    let mut third = Box::pin(sender.send(message("third")));
    assert!((&mut third).now_or_never().is_none());
    peer.order(Order::Credit(3));
    third.await.unwrap().await.unwrap();
    assert!(peer.message().await.ends_with(b"third"));
}

#[tokio::test]
async fn a_sender_without_credit_is_still_a_sender() {
    let (peer, _connection, sender) = sender(Script {
        credit: 0,
        ..Default::default()
    })
    .await;
    let mut waiting = Box::pin(sender.send(message("x")));
    assert!((&mut waiting).now_or_never().is_none());
    peer.order(Order::Credit(1));
    waiting.await.unwrap().await.unwrap();
}

#[tokio::test]
async fn a_large_message_goes_in_many_frames() {
    let script = Script {
        max_frame: 512,
        ..Default::default()
    };
    let (mut peer, _connection, sender) = sender(script).await;
    let body: String = (0..100_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    let receipt = sender.send(message(&body)).await.unwrap();
    assert!(peer.message().await.ends_with(body.as_bytes()));
    assert!(matches!(receipt.await.unwrap(), Outcome::Accepted));
    sender.send(message("next")).await.unwrap().await.unwrap();
    assert!(peer.message().await.ends_with(b"next"));
}

#[tokio::test]
async fn a_message_over_the_peers_limit_is_refused_before_the_wire() {
    let script = Script {
        max_message_size: Some(1000),
        ..Default::default()
    };
    let (mut peer, _connection, sender) = sender(script).await;
    let error = sender.send(message(&"x".repeat(1000))).await.unwrap_err();
    let found = AmqpError::of(&error).unwrap();
    assert_eq!(found.scope, AmqpScope::Message);
    assert_eq!(
        found.condition.as_ref().map(AmqpCondition::as_str),
        Some("amqp:link:message-size-exceeded")
    );
    assert!(error.to_string().contains("1000"), "{error}");
    sender.send(message("small")).await.unwrap().await.unwrap();
    assert!(peer.message().await.ends_with(b"small"));
}

#[tokio::test]
async fn a_dropped_sender_detaches_and_a_dropped_connection_goes() {
    let (mut peer, connection, sender) = sender(Script::default()).await;
    drop(sender);
    let detach = peer
        .until(|event| match event {
            Event::Detach(detach) => Some(detach),
            _ => None,
        })
        .await;
    assert!(detach.closed);
    drop(connection);
    peer.until(|event| matches!(event, Event::Close).then_some(())).await;
    peer.gone().await;
}

#[tokio::test]
async fn what_crosses_a_close_disturbs_nothing() {
    let script = Script {
        accept: false,
        ..Default::default()
    };
    let (mut peer, connection, sender) = sender(script).await;
    let receipt = sender.send(message("x")).await.unwrap();
    peer.message().await;
    // The settlement is on its way when the connection is closed, and comes before the answer.
    peer.order(Order::Settle(0, 0, DeliveryState::Accepted(Accepted {})));
    peer.order(Order::Credit(5));
    let (closed, outcome) = tokio::join!(connection.close(), receipt);
    closed.unwrap();
    assert!(matches!(outcome.unwrap(), Outcome::Accepted));
}

#[tokio::test]
async fn a_custom_condition_keeps_its_name() {
    let (peer, _connection, sender) = sender(Script::default()).await;
    let condition = ErrorCondition::Custom(Symbol::from("com.microsoft:iot-hub-suspended"));
    peer.order(Order::Detach(Some(Error::new(condition, None, None)), true));
    let reason = sender.detached().await;
    assert_eq!(
        reason.condition.as_ref().map(AmqpCondition::as_str),
        Some("com.microsoft:iot-hub-suspended")
    );
}

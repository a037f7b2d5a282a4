use azure_core::error::ErrorKind;
use fe2o3_amqp_types::{
    definitions::{Error, LinkError},
    messaging::DeliveryState,
    performatives::{Disposition, Flow},
};
use futures::FutureExt;
use iothub_core::amqp::{
    AmqpBody, AmqpCondition, AmqpConnection, AmqpError, AmqpReceiver, AmqpScope, DeliveryTag, ReceiverLink, Settlement,
};

use crate::{
    peer::{Event, Order, Peer, Refusal, Script},
    sending,
};

/// Properties with `to` = "x", and one data section that holds "hi". Written by hand.
const MESSAGE: &[u8] = b"\x00\x53\x73\xc0\x06\x03\x40\x40\xa1\x01x\x00\x53\x75\xa0\x02hi";

fn link(credit: u32) -> ReceiverLink {
    ReceiverLink {
        address: "/messages/serviceBound/feedback".to_owned(),
        credit,
        properties: Vec::new(),
    }
}

async fn receiver(credit: u32) -> (Peer, Box<dyn AmqpConnection>, Box<dyn AmqpReceiver>) {
    let peer = Peer::start(Script::default()).await;
    let connection = peer.connect().await;
    let receiver = connection.receiver(link(credit)).await.unwrap();
    (peer, connection, receiver)
}

fn deliver(tag: u8) -> Order {
    Order::Deliver(vec![tag; 16], MESSAGE.to_vec(), 1024)
}

fn tag(tag: u8) -> DeliveryTag {
    DeliveryTag(vec![tag; 16].into())
}

async fn flow(peer: &mut Peer) -> Flow {
    peer.until(|event| match event {
        Event::Flow(flow) if flow.handle.is_some() => Some(*flow),
        _ => None,
    })
    .await
}

async fn disposition(peer: &mut Peer) -> Disposition {
    peer.until(|event| match event {
        Event::Disposition(disposition) => Some(*disposition),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_message_is_received_and_settled_while_another_is_awaited() {
    let (mut peer, _connection, mut receiver) = receiver(10).await;
    assert_eq!(flow(&mut peer).await.link_credit, Some(10));
    for number in 1..=3 {
        peer.order(deliver(number));
    }
    for number in 1..=3 {
        let delivery = receiver.recv().await.unwrap();
        assert_eq!(delivery.tag, tag(number));
        assert_eq!(delivery.message.to.as_deref(), Some("x"));
        assert_eq!(delivery.message.body, AmqpBody::Data("hi".into()));
    }
    let settler = receiver.settler();
    let mut waiting = Box::pin(receiver.recv());
    assert!((&mut waiting).now_or_never().is_none());
    settler.settle(&tag(2), Settlement::Accepted).await.unwrap();
    settler.settle(&tag(1), Settlement::Released).await.unwrap();
    settler.settle(&tag(3), Settlement::Rejected).await.unwrap();
    let first = disposition(&mut peer).await;
    assert_eq!((first.first, first.settled), (1, true));
    assert!(matches!(first.state, Some(DeliveryState::Accepted(_))));
    let second = disposition(&mut peer).await;
    assert!(matches!(
        (second.first, second.state),
        (0, Some(DeliveryState::Released(_)))
    ));
    let third = disposition(&mut peer).await;
    assert!(matches!(
        (third.first, third.state),
        (2, Some(DeliveryState::Rejected(_)))
    ));
    for unknown in [2, 9] {
        let error = settler.settle(&tag(unknown), Settlement::Accepted).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Other, "{error}");
    }
    peer.order(deliver(4));
    assert_eq!(waiting.await.unwrap().tag, tag(4));
}

#[tokio::test]
async fn credit_is_topped_up_as_messages_are_settled() {
    let (mut peer, _connection, mut receiver) = receiver(2).await;
    assert_eq!(flow(&mut peer).await.link_credit, Some(2));
    peer.order(deliver(1));
    peer.order(deliver(2));
    receiver.recv().await.unwrap();
    receiver.recv().await.unwrap();
    // Two are received and nothing is settled: the next flow is that of the settlement, and gives back just one.
    receiver.settler().settle(&tag(1), Settlement::Accepted).await.unwrap();
    let topped_up = flow(&mut peer).await;
    assert_eq!((topped_up.delivery_count, topped_up.link_credit), (Some(2), Some(1)));
}

#[tokio::test]
async fn what_cannot_be_read_takes_room_until_somebody_hears_of_it() {
    let unreadable = || Order::Deliver(vec![1; 16], vec![0xff; 8], 1024);
    let (mut peer, connection, unheard) = receiver(1).await;
    flow(&mut peer).await;
    peer.order(unreadable());
    disposition(&mut peer).await;
    connection.close().await.unwrap();
    let more = peer
        .until(|event| match event {
            Event::Flow(flow) if flow.handle.is_some() => Some(true),
            Event::Close => Some(false),
            _ => None,
        })
        .await;
    assert!(!more, "another would find no room");
    drop(unheard);

    let (mut peer, _connection, mut receiver) = receiver(1).await;
    flow(&mut peer).await;
    peer.order(unreadable());
    let error = receiver.recv().await.unwrap_err();
    assert_eq!(AmqpError::of(&error).unwrap().scope, AmqpScope::Message);
    assert_eq!(flow(&mut peer).await.link_credit, Some(1));
    peer.order(deliver(2));
    assert_eq!(receiver.recv().await.unwrap().tag, tag(2));
}

#[tokio::test]
async fn a_recv_that_is_given_up_loses_nothing() {
    let (peer, _connection, mut receiver) = receiver(100).await;
    for number in 0..100 {
        peer.order(deliver(number));
    }
    let mut given_up = 0;
    for number in 0..100 {
        let delivery = loop {
            match receiver.recv().now_or_never() {
                Some(delivery) => break delivery.unwrap(),
                None => given_up += 1,
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(delivery.tag, tag(number));
    }
    assert!(given_up > 0);
}

#[tokio::test]
async fn a_message_in_many_frames_is_one() {
    let (peer, _connection, mut receiver) = receiver(10).await;
    let mut message = b"\x00\x53\x75\xb0\x00\x01\x86\xa0".to_vec();
    message.extend((0..100_000).map(|n| (n % 251) as u8));
    peer.order(Order::Deliver(vec![7], message.clone(), 500));
    let delivery = receiver.recv().await.unwrap();
    assert_eq!(delivery.message.body, AmqpBody::Data(message[8..].to_vec().into()));
    receiver
        .settler()
        .settle(&delivery.tag, Settlement::Accepted)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_refused_attach_is_an_error_with_the_peers_words() {
    let stolen = || Error::new(LinkError::Stolen, "somebody else".to_owned(), None);
    for refuse in [Refusal::NullTerminus(stolen()), Refusal::AttachAndDetach(stolen())] {
        let peer = Peer::start(Script {
            refuse: Some(refuse),
            ..Default::default()
        })
        .await;
        let connection = peer.connect().await;
        let error = connection.receiver(link(1)).await.unwrap_err();
        let found = AmqpError::of(&error).unwrap();
        assert_eq!(found.scope, AmqpScope::Link);
        assert_eq!(
            found.condition.as_ref().map(AmqpCondition::as_str),
            Some("amqp:link:stolen")
        );
        assert_eq!(found.description.as_deref(), Some("somebody else"));
    }
}

#[tokio::test]
async fn what_was_received_can_be_read_after_the_link_has_ended_but_not_settled() {
    let (mut peer, _connection, mut receiver) = receiver(10).await;
    peer.order(deliver(1));
    peer.order(Order::Detach(
        Some(Error::new(LinkError::DetachForced, None, None)),
        true,
    ));
    peer.until(|event| matches!(event, Event::Detach(_)).then_some(()))
        .await;
    assert_eq!(receiver.recv().await.unwrap().tag, tag(1));
    let error = receiver.recv().await.unwrap_err();
    assert_eq!(
        AmqpError::of(&error).unwrap().condition.as_ref().unwrap().as_str(),
        "amqp:link:detach-forced"
    );
    let error = receiver
        .settler()
        .settle(&tag(1), Settlement::Accepted)
        .await
        .unwrap_err();
    assert_eq!(AmqpError::of(&error).unwrap().scope, AmqpScope::Link);
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_rejected_and_the_next_comes() {
    let (mut peer, _connection, mut receiver) = receiver(1).await;
    // A string that claims more bytes than there are.
    peer.order(Order::Deliver(
        vec![1],
        b"\x00\x53\x73\xc0\x06\x03\x40\x40\xa1\xffx".to_vec(),
        1024,
    ));
    let error = receiver.recv().await.unwrap_err();
    let found = AmqpError::of(&error).unwrap();
    assert_eq!(
        (found.scope, found.condition.as_ref().unwrap().as_str()),
        (AmqpScope::Message, "amqp:decode-error")
    );
    assert!(matches!(
        disposition(&mut peer).await.state,
        Some(DeliveryState::Rejected(_))
    ));
    peer.order(deliver(2));
    assert_eq!(receiver.recv().await.unwrap().tag, tag(2));
}

#[tokio::test]
async fn a_dropped_receiver_detaches_and_leaves_the_rest_alone() {
    let (mut peer, connection, receiver) = receiver(10).await;
    let settler = receiver.settler();
    for number in 0..10 {
        peer.order(deliver(number));
    }
    drop(receiver);
    peer.until(|event| matches!(event, Event::Detach(_)).then_some(()))
        .await;
    let error = settler.settle(&tag(1), Settlement::Accepted).await.unwrap_err();
    assert!(error.to_string().contains("dropped"), "{error}");
    let sender = connection.sender(sending::link()).await.unwrap();
    sender.send(sending::message("x")).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn a_receiver_needs_credit() {
    let (_peer, connection, _receiver) = receiver(1).await;
    assert!(
        connection
            .receiver(link(0))
            .await
            .unwrap_err()
            .to_string()
            .contains("credit of 0")
    );
}

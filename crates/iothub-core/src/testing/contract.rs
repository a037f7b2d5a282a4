//! What every AMQP transport has to do, as checks that run against it.
//!
//! Who writes an [`AmqpTransport`] writes a [`Peer`] beside it, over whatever server is at hand, and has [`verify`] put
//! the two through everything that the machine above the seam relies on.

use std::{pin::pin, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    FutureExt,
    future::{join_all, poll_immediate},
};
use time::macros::datetime;
use uuid::uuid;

use crate::{
    HubHost, Result,
    amqp::{
        AmqpBody, AmqpCondition, AmqpConnection, AmqpDelivery, AmqpError, AmqpMessage, AmqpReceiver, AmqpScope,
        AmqpSender, AmqpTransport, AmqpValue, DeliveryTag, Outcome, ReceiverLink, SenderLink, Settlement,
    },
    deadline::within,
};

/// The other side of the transport: a server that does as it is told.
#[async_trait]
pub trait Peer: Send + Sync {
    /// Where it listens.
    fn host(&self) -> HubHost;

    /// Does what the server asks of a connection before links can be attached, such as put-token.
    async fn prepare(&self, _connection: &dyn AmqpConnection) -> Result<()> {
        Ok(())
    }

    /// An address that takes messages.
    fn target(&self) -> String;

    /// An address that gives messages, to one receiver at a time.
    fn source(&self) -> String;

    /// Puts messages into the queue behind [`source`](Self::source). What is not accepted or rejected comes again.
    async fn provide(&self, messages: Vec<AmqpMessage>);

    /// The messages that [`target`](Self::target) took since the last call of this method.
    async fn taken(&self) -> Vec<AmqpMessage>;

    /// Waits until this many deliveries were settled since the last call of this method, and returns how.
    async fn settled(&self, count: usize) -> Vec<Settlement>;

    /// Does something out of the ordinary.
    async fn act(&self, act: Act);
}

/// What a [`Peer`] can be told to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Act {
    /// Refuse the next attach to this address with this error.
    RefuseAttach(String, AmqpError),
    /// Settle the next message so; those after it are accepted again.
    Settle(Outcome),
    /// Take the next message and do not settle it.
    Hold,
    /// Detach every link with this error.
    DetachAll(AmqpError),
    /// Close every connection with this error.
    CloseAll(AmqpError),
}

/// Runs every check.
///
/// # Panics
///
/// The transport does not keep the contract. The message says which part.
pub async fn verify(transport: &dyn AmqpTransport, peer: &dyn Peer) {
    let bench = Bench { transport, peer };
    bounded("messages arrive whole, in order, and are settled", bench.order()).await;
    bounded("every part of a message gets through, both ways", bench.fidelity()).await;
    bounded("a message of many frames is one message", bench.large_messages()).await;
    bounded("a refused attach is an error", bench.refused_attach()).await;
    bounded("outcomes are told apart", bench.outcomes()).await;
    bounded("a detached link fails its calls and no others", bench.detached_link()).await;
    bounded("a closed connection fails everything on it", bench.closed_connection()).await;
    bounded("close ends the connection", bench.close()).await;
    bounded("a dropped recv loses no message", bench.cancelled_recv()).await;
    bounded("deliveries are settled once, by their link", bench.settlement()).await;
    bounded("no more messages come than there is credit", bench.credit()).await;
    bounded("a dropped link is detached", bench.dropped_links()).await;
}

async fn bounded(what: &str, check: impl Future<Output = ()>) {
    let result = within(LIMIT, check).await;
    assert!(result.is_some(), "{what}: the check was not done in {LIMIT:?}");
}

struct Bench<'a> {
    transport: &'a dyn AmqpTransport,
    peer: &'a dyn Peer,
}

impl Bench<'_> {
    async fn order(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        let mut receipts = Vec::new();
        for number in 0..50 {
            let handed_over = sender.send(numbered(number)).await;
            receipts.push(handed_over.expect("a message is handed over while earlier ones are unsettled"));
        }
        for receipt in join_all(receipts).await {
            assert!(
                matches!(receipt, Ok(Outcome::Accepted)),
                "an accepted message: {receipt:?}"
            );
        }
        let taken = self.peer.taken().await;
        assert!(
            taken.iter().map(id).eq((0..50).map(Some)),
            "messages keep the order of the calls"
        );
    }

    async fn fidelity(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        let mut receiver = self.receiver(&*connection, 10).await;
        for message in samples() {
            sent(&*sender, message.clone()).await;
            assert_same(&self.peer.taken().await, &message);
            self.peer.provide(vec![message.clone()]).await;
            let received = receive(&mut *receiver).await;
            assert_same(&[received.message], &message);
            settle(&*receiver, &received.tag, Settlement::Accepted)
                .await
                .expect("settled");
        }
        self.peer.settled(samples().len()).await;
    }

    async fn large_messages(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        let mut receiver = self.receiver(&*connection, 1).await;
        let body: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let message = AmqpMessage {
            body: AmqpBody::Data(body.into()),
            ..numbered(1)
        };
        sent(&*sender, message.clone()).await;
        assert_same(&self.peer.taken().await, &message);
        self.peer.provide(vec![message.clone()]).await;
        let received = receive(&mut *receiver).await;
        assert_same(&[received.message], &message);
        settle(&*receiver, &received.tag, Settlement::Accepted)
            .await
            .expect("settled");
        self.peer.settled(1).await;
    }

    async fn refused_attach(&self) {
        let connection = self.connect().await;
        let refusal = || AmqpError::new(AmqpScope::Link).with_condition("amqp:not-found", "no such address");
        self.peer.act(Act::RefuseAttach(self.peer.target(), refusal())).await;
        let error = connection.sender(self.sender_link()).await.err();
        assert_said(
            error.as_ref().and_then(AmqpError::of),
            "amqp:not-found",
            AmqpScope::Link,
        );
        self.peer.act(Act::RefuseAttach(self.peer.source(), refusal())).await;
        let error = connection.receiver(self.receiver_link(1)).await.err();
        assert_said(
            error.as_ref().and_then(AmqpError::of),
            "amqp:not-found",
            AmqpScope::Link,
        );
        sent(&*self.sender(&*connection).await, numbered(1)).await;
        self.peer.taken().await;
    }

    async fn outcomes(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        let rejected = Outcome::Rejected {
            condition: Some("com.microsoft:argument-error".into()),
            description: Some("what it is".to_owned()),
            info: Vec::new(),
        };
        self.peer.act(Act::Settle(rejected)).await;
        match outcome(&*sender, numbered(1)).await {
            Outcome::Rejected {
                condition: Some(condition),
                description,
                ..
            } => {
                assert_eq!(condition.as_str(), "com.microsoft:argument-error");
                assert_eq!(description.as_deref(), Some("what it is"));
            }
            other => panic!("a rejected message: {other:?}"),
        }
        self.peer.act(Act::Settle(Outcome::Released)).await;
        let released = outcome(&*sender, numbered(2)).await;
        assert!(
            matches!(released, Outcome::Released),
            "a released message: {released:?}"
        );
        for expected in [true, false] {
            let modified = Outcome::Modified {
                undeliverable_here: expected,
            };
            self.peer.act(Act::Settle(modified)).await;
            match outcome(&*sender, numbered(3)).await {
                Outcome::Modified { undeliverable_here } => assert_eq!(undeliverable_here, expected),
                other => panic!("a modified message: {other:?}"),
            }
        }
        sent(&*sender, numbered(4)).await;
        self.peer.taken().await;
    }

    async fn detached_link(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        let mut receiver = self.receiver(&*connection, 1).await;
        self.peer.act(Act::Hold).await;
        let receipt = sender.send(numbered(1)).await.expect("handed over");
        assert!(
            poll_immediate(pin!(sender.detached())).await.is_none(),
            "it is attached"
        );

        let error = AmqpError::new(AmqpScope::Link).with_condition("amqp:link:detach-forced", "for a test");
        self.peer.act(Act::DetachAll(error)).await;
        for _ in 0..2 {
            assert_said(
                Some(&sender.detached().await),
                "amqp:link:detach-forced",
                AmqpScope::Link,
            );
        }
        assert!(
            receipt.await.is_err(),
            "nobody settles a message of a link that has ended"
        );
        assert!(
            sender.send(numbered(2)).await.is_err(),
            "nothing is handed over to a link that has ended"
        );
        let error = receiver.recv().await.err();
        assert_said(
            error.as_ref().and_then(AmqpError::of),
            "amqp:link:detach-forced",
            AmqpScope::Link,
        );
        assert!(
            poll_immediate(pin!(connection.closed())).await.is_none(),
            "the connection lives"
        );

        let again = self.sender(&*connection).await;
        sent(&*again, numbered(3)).await;
        let taken = self.peer.taken().await;
        assert!(taken.iter().map(id).eq([Some(1), Some(3)]), "{taken:?}");
    }

    async fn closed_connection(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        let mut receiver = self.receiver(&*connection, 1).await;
        self.peer.act(Act::Hold).await;
        let receipt = sender.send(numbered(1)).await.expect("handed over");
        let error = AmqpError::new(AmqpScope::Connection).with_condition("amqp:connection:forced", "for a test");
        self.peer.act(Act::CloseAll(error)).await;
        for _ in 0..2 {
            assert_said(
                Some(&connection.closed().await),
                "amqp:connection:forced",
                AmqpScope::Connection,
            );
        }
        assert_eq!(sender.detached().await.scope, AmqpScope::Connection);
        assert!(
            receipt.await.is_err(),
            "nobody settles a message of a connection that has ended"
        );
        assert!(sender.send(numbered(2)).await.is_err(), "nothing is handed over");
        let error = receiver.recv().await.err();
        let scope = error.as_ref().and_then(AmqpError::of).map(|error| error.scope);
        assert_eq!(scope, Some(AmqpScope::Connection));
        assert!(
            connection.sender(self.sender_link()).await.is_err(),
            "no link is attached"
        );
        self.peer.taken().await;
    }

    async fn close(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        sent(&*sender, numbered(1)).await;
        connection.close().await.expect("the peer answers the close");
        connection.closed().await;
        assert!(sender.send(numbered(2)).await.is_err(), "nothing is handed over");
        assert!(
            connection.sender(self.sender_link()).await.is_err(),
            "no link is attached"
        );
        let taken = self.peer.taken().await;
        assert!(taken.iter().map(id).eq([Some(1)]), "{taken:?}");
    }

    async fn cancelled_recv(&self) {
        let connection = self.connect().await;
        let mut receiver = self.receiver(&*connection, 50).await;
        self.peer.provide((0..50).map(numbered).collect()).await;
        let mut received = Vec::new();
        while received.len() < 50 {
            // Looked at once and dropped, which is all that a select does.
            let delivery = match receiver.recv().now_or_never() {
                Some(delivery) => delivery.expect("a message"),
                None => match within(Duration::from_millis(1), receiver.recv()).await {
                    Some(delivery) => delivery.expect("a message"),
                    None => continue,
                },
            };
            received.push(id(&delivery.message));
            settle(&*receiver, &delivery.tag, Settlement::Accepted)
                .await
                .expect("settled");
        }
        assert!(
            received.into_iter().eq((0..50).map(Some)),
            "each message once, in order"
        );
        self.peer.settled(50).await;
    }

    async fn settlement(&self) {
        let connection = self.connect().await;
        let mut receiver = self.receiver(&*connection, 10).await;
        self.peer.provide((0..4).map(numbered).collect()).await;
        let mut tags = Vec::new();
        for _ in 0..4 {
            tags.push(receive(&mut *receiver).await.tag);
        }
        settle(&*receiver, &tags[1], Settlement::Accepted)
            .await
            .expect("settled, and not in order");
        settle(&*receiver, &tags[0], Settlement::Rejected)
            .await
            .expect("settled");
        settle(&*receiver, &tags[2], Settlement::Released)
            .await
            .expect("settled");
        let settled = self.peer.settled(3).await;
        assert_eq!(
            settled,
            [Settlement::Accepted, Settlement::Rejected, Settlement::Released]
        );
        assert!(
            settle(&*receiver, &tags[1], Settlement::Accepted).await.is_err(),
            "it was settled before"
        );
        let unknown = DeliveryTag(Bytes::from_static(b"of nobody"));
        assert!(
            settle(&*receiver, &unknown, Settlement::Accepted).await.is_err(),
            "it was not delivered"
        );

        let again = receive(&mut *receiver).await;
        assert_eq!(id(&again.message), Some(2), "what is released comes again");
        let (settler, waits) = (receiver.settler(), receiver.recv());
        let mut waits = pin!(waits);
        assert!(poll_immediate(&mut waits).await.is_none());
        settler
            .settle(&again.tag, Settlement::Accepted)
            .await
            .expect("settled while the receiver waits");
        self.peer.settled(1).await;

        self.peer.act(Act::DetachAll(AmqpError::new(AmqpScope::Link))).await;
        assert!(waits.await.is_err(), "the link has ended");
        let late = settler.settle(&tags[3], Settlement::Accepted).await;
        assert!(late.is_err(), "a delivery of a link that has ended cannot be settled");
        let mut receiver = self.receiver(&*connection, 10).await;
        let again = receive(&mut *receiver).await;
        assert_eq!(id(&again.message), Some(3), "what was not settled comes again");
        settle(&*receiver, &again.tag, Settlement::Accepted)
            .await
            .expect("settled");
        self.peer.settled(1).await;
    }

    async fn credit(&self) {
        let connection = self.connect().await;
        let mut receiver = self.receiver(&*connection, 3).await;
        self.peer.provide((0..7).map(numbered).collect()).await;
        let mut tags = Vec::new();
        for _ in 0..3 {
            tags.push(receive(&mut *receiver).await.tag);
        }
        let fourth = within(Duration::from_millis(200), receiver.recv()).await;
        assert!(
            fourth.is_none(),
            "three messages are unsettled, and no more were asked for"
        );
        for tag in tags.drain(..) {
            settle(&*receiver, &tag, Settlement::Accepted).await.expect("settled");
        }
        for number in 3..7 {
            let delivery = receive(&mut *receiver).await;
            assert_eq!(id(&delivery.message), Some(number), "credit comes back with settlement");
            settle(&*receiver, &delivery.tag, Settlement::Accepted)
                .await
                .expect("settled");
        }
        self.peer.settled(7).await;
    }

    async fn dropped_links(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        let mut receiver = self.receiver(&*connection, 10).await;
        self.peer.provide((0..2).map(numbered).collect()).await;
        receive(&mut *receiver).await;
        drop(receiver);
        let mut receiver = self.receiver(&*connection, 10).await;
        for number in 0..2 {
            let delivery = receive(&mut *receiver).await;
            assert_eq!(
                id(&delivery.message),
                Some(number),
                "what a dropped receiver had is given back"
            );
            settle(&*receiver, &delivery.tag, Settlement::Accepted)
                .await
                .expect("settled");
        }
        sent(&*sender, numbered(1)).await;
        drop(sender);
        sent(&*self.sender(&*connection).await, numbered(2)).await;
        self.peer.settled(2).await;
        self.peer.taken().await;
    }

    async fn connect(&self) -> Box<dyn AmqpConnection> {
        let connection = self.transport.connect(&self.peer.host()).await.expect("connected");
        self.peer.prepare(&*connection).await.expect("prepared");
        connection
    }

    fn sender_link(&self) -> SenderLink {
        SenderLink {
            address: self.peer.target(),
            ..SenderLink::default()
        }
    }

    fn receiver_link(&self, credit: u32) -> ReceiverLink {
        ReceiverLink {
            address: self.peer.source(),
            credit,
            ..ReceiverLink::default()
        }
    }

    async fn sender(&self, connection: &dyn AmqpConnection) -> Box<dyn AmqpSender> {
        connection.sender(self.sender_link()).await.expect("attached")
    }

    async fn receiver(&self, connection: &dyn AmqpConnection, credit: u32) -> Box<dyn AmqpReceiver> {
        connection.receiver(self.receiver_link(credit)).await.expect("attached")
    }
}

async fn outcome(sender: &dyn AmqpSender, message: AmqpMessage) -> Outcome {
    let receipt = sender.send(message).await.expect("handed over");
    receipt.await.expect("settled")
}

async fn sent(sender: &dyn AmqpSender, message: AmqpMessage) {
    let outcome = outcome(sender, message).await;
    assert!(matches!(outcome, Outcome::Accepted), "an accepted message: {outcome:?}");
}

async fn receive(receiver: &mut dyn AmqpReceiver) -> AmqpDelivery {
    receiver.recv().await.expect("a message")
}

async fn settle(receiver: &dyn AmqpReceiver, tag: &DeliveryTag, settlement: Settlement) -> Result<()> {
    receiver.settler().settle(tag, settlement).await
}

fn assert_said(said: Option<&AmqpError>, condition: &str, scope: AmqpScope) {
    let said = said.expect("the peer's words are an `AmqpError` inside the error");
    assert_eq!(said.condition.as_ref().map(AmqpCondition::as_str), Some(condition));
    assert_eq!(said.scope, scope, "{said}");
}

/// Compared in parts, since the `Debug` of a message hides most of it.
fn assert_same(found: &[AmqpMessage], expected: &AmqpMessage) {
    let [found] = found else {
        panic!("one message, not {}", found.len());
    };
    assert_eq!(found.application_properties, expected.application_properties);
    assert_eq!(found.message_annotations, expected.message_annotations);
    assert!(
        found.body == expected.body,
        "{:?} is not {:?}",
        found.body,
        expected.body
    );
    assert!(found == expected, "{found:?} is not {expected:?}");
}

fn numbered(number: u64) -> AmqpMessage {
    AmqpMessage {
        message_id: Some(AmqpValue::Ulong(number)),
        body: AmqpBody::Data(Bytes::from_static(b"x")),
        ..AmqpMessage::default()
    }
}

fn id(message: &AmqpMessage) -> Option<u64> {
    match message.message_id {
        Some(AmqpValue::Ulong(number)) => Some(number),
        _ => None,
    }
}

fn samples() -> Vec<AmqpMessage> {
    let property = |name: &str, value: AmqpValue| (name.to_owned(), value);
    let bare = AmqpMessage {
        body: AmqpBody::Data(Bytes::new()),
        ..AmqpMessage::default()
    };
    let full = AmqpMessage {
        message_id: Some("m-1".into()),
        user_id: Some(Bytes::from_static(b"\x00\xff")),
        to: Some("/devices/lamp/messages/devicebound".to_owned()),
        subject: Some("s".to_owned()),
        reply_to: Some("r".to_owned()),
        correlation_id: Some(AmqpValue::Uuid(uuid!("67e55044-10b1-426f-9247-bb680e5fe0c8"))),
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("utf-8".to_owned()),
        absolute_expiry_time: Some(datetime!(2031-02-03 04:05:06.007 UTC)),
        creation_time: Some(datetime!(2001-02-03 04:05:06.007 UTC)),
        message_annotations: vec![
            property("x-opt-a", AmqpValue::Long(-1)),
            property("x-opt-b", AmqpValue::Timestamp(datetime!(2031-02-03 04:05:06.007 UTC))),
        ],
        application_properties: vec![
            property("text", "größer".into()),
            property("int", AmqpValue::Int(200)),
            property("bool", AmqpValue::Boolean(true)),
            property("double", AmqpValue::Double(0.5)),
            property("null", AmqpValue::Null),
        ],
        body: AmqpBody::Data(Bytes::from_static(b"{}")),
    };
    let value = AmqpMessage {
        message_id: Some(AmqpValue::Binary(Bytes::from_static(b"id"))),
        body: AmqpBody::Value(AmqpValue::Map(vec![
            ("list".into(), AmqpValue::List(vec![AmqpValue::Uint(1), "two".into()])),
            ("symbol".into(), AmqpValue::Symbol("amqp:accepted:list".to_owned())),
        ])),
        ..AmqpMessage::default()
    };
    vec![bare, full, value]
}

const LIMIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ScriptedAmqp, SendAnswer};

    #[derive(Default)]
    struct ScriptedPeer {
        hub: ScriptedAmqp,
        seen: std::sync::Mutex<(usize, usize)>,
    }

    #[async_trait]
    impl Peer for ScriptedPeer {
        fn host(&self) -> HubHost {
            "localhost".parse().unwrap()
        }

        fn target(&self) -> String {
            "target".to_owned()
        }

        fn source(&self) -> String {
            "source".to_owned()
        }

        async fn provide(&self, messages: Vec<AmqpMessage>) {
            for message in messages {
                self.hub.deliver("source", message);
            }
        }

        async fn taken(&self) -> Vec<AmqpMessage> {
            let sent = self.hub.sent();
            let before = std::mem::replace(&mut self.seen.lock().unwrap().0, sent.len());
            sent[before..].to_vec()
        }

        async fn settled(&self, count: usize) -> Vec<Settlement> {
            let before = self.seen.lock().unwrap().1;
            self.hub.until(|hub| hub.settlements().len() >= before + count).await;
            self.seen.lock().unwrap().1 += count;
            let settlements = self.hub.settlements().into_iter();
            settlements.skip(before).map(|(_, settlement)| settlement).collect()
        }

        async fn act(&self, act: Act) {
            match act {
                Act::RefuseAttach(address, error) => self.hub.refuse_attaches(&address, [error]),
                Act::Settle(outcome) => self.hub.answer_sends([SendAnswer::Settle(outcome)]),
                Act::Hold => self.hub.answer_sends([SendAnswer::Hold]),
                Act::DetachAll(error) => {
                    self.hub.end_links("target", &error);
                    self.hub.end_links("source", &error);
                }
                Act::CloseAll(error) => self.hub.end_connections(&error),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_scripted_transport_keeps_the_contract() {
        let peer = ScriptedPeer::default();
        verify(&peer.hub, &peer).await;
        assert_eq!(peer.hub.open_connections(), 0);
    }
}

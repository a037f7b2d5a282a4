//! What every AMQP transport has to do, as checks that run against it.
//!
//! Who writes an [`AmqpTransport`] writes a [`Peer`] beside it, over whatever server is at hand, and has [`verify`] put
//! the two through everything that the machine above the seam relies on.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    HubHost, Result,
    amqp::{
        AmqpBody, AmqpConnection, AmqpDelivery, AmqpError, AmqpMessage, AmqpReceiver, AmqpSender, AmqpTransport,
        AmqpValue, DeliveryTag, Outcome, ReceiverLink, SenderLink, Settlement,
    },
    deadline::within,
};

mod endings;
mod messages;
mod receiving;
mod sending;

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

use std::{
    fmt::{self, Debug},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use azure_core::Result;
use bytes::Bytes;
use futures::future::BoxFuture;

use super::{AmqpCondition, AmqpError, AmqpMessage, AmqpValue};
use crate::HubHost;

/// Opens connections to a hub. This is what a vendor implements to bring another AMQP stack.
///
/// A connection is TLS first, then AMQP 1.0, with SASL `ANONYMOUS` or none: the hub is told who asks by put-token, which
/// is done above this trait.
#[async_trait]
pub trait AmqpTransport: Debug + Send + Sync {
    /// Connects, verifies the hub's certificate against `host`, and opens the connection.
    ///
    /// # Errors
    ///
    /// `ErrorKind::Connection` while nothing was sent that could have an effect; `ErrorKind::Other` if trying again
    /// cannot help, such as a certificate that was refused.
    async fn connect(&self, host: &HubHost) -> Result<Box<dyn AmqpConnection>>;
}

/// An open connection. Dropping it closes the socket.
#[async_trait]
pub trait AmqpConnection: Debug + Send + Sync {
    /// Attaches a sender, on a session of its own, so that whatever ends it can be mended by attaching anew.
    ///
    /// # Errors
    ///
    /// A refusal of the peer, in the attach or at once after it, with the peer's condition in an [`AmqpError`].
    async fn sender(&self, link: SenderLink) -> Result<Box<dyn AmqpSender>>;

    /// Attaches a receiver, likewise.
    async fn receiver(&self, link: ReceiverLink) -> Result<Box<dyn AmqpReceiver>>;

    /// Resolves when the connection has ended, with the reason. Cancel safe, and may be called again.
    async fn closed(&self) -> AmqpError;

    /// Closes the connection in order: the peer is told and its answer awaited, for a bounded time.
    async fn close(&self) -> Result<()>;
}

/// What a sender is attached with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SenderLink {
    /// The target address, `/messages/devicebound` for one.
    pub address: String,
    /// Link properties; keys are symbols.
    pub properties: Vec<(String, AmqpValue)>,
}

/// What a receiver is attached with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReceiverLink {
    /// The source address.
    pub address: String,
    /// How many messages the peer may send before earlier ones are settled. The transport tops it up as they are.
    pub credit: u32,
    /// Link properties; keys are symbols.
    pub properties: Vec<(String, AmqpValue)>,
}

/// An attached sender. Dropping it detaches the link.
#[async_trait]
pub trait AmqpSender: Debug + Send + Sync {
    /// Waits for credit and hands `message` over.
    ///
    /// Messages go out in the order of the calls. The receipt resolves when the peer has settled, so that many can be
    /// under way without a task each. A future dropped before it resolved has written nothing or the whole message.
    ///
    /// # Errors
    ///
    /// Nothing was handed over. Faults after that are in the [`Receipt`].
    async fn send(&self, message: AmqpMessage) -> Result<Receipt>;

    /// Resolves when the link has ended, with the reason. Cancel safe, and may be called again.
    async fn detached(&self) -> AmqpError;
}

/// An attached receiver. Dropping it detaches the link.
#[async_trait]
pub trait AmqpReceiver: Debug + Send + Sync {
    /// Waits for the next message. Cancel safe: a dropped call loses no message.
    ///
    /// # Errors
    ///
    /// The link, its session or the connection ended.
    async fn recv(&mut self) -> Result<AmqpDelivery>;

    /// What settles the deliveries of this receiver, also while [`recv`](Self::recv) waits. It does not keep the link
    /// attached.
    fn settler(&self) -> Arc<dyn AmqpSettler>;
}

/// Settles the deliveries of one receiver.
#[async_trait]
pub trait AmqpSettler: Debug + Send + Sync {
    /// Settles a delivery, and waits until that is on its way.
    ///
    /// # Errors
    ///
    /// The link has ended, so that the peer will deliver the message again; or the delivery is not one of this link, or
    /// was settled before.
    async fn settle(&self, tag: &DeliveryTag, settlement: Settlement) -> Result<()>;
}

/// A received message and the name to settle it by.
#[derive(Clone, Debug)]
pub struct AmqpDelivery {
    /// The name to settle it by.
    pub tag: DeliveryTag,
    /// The message.
    pub message: AmqpMessage,
}

/// The name of a delivery on its link, chosen by the peer that sent it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryTag(pub Bytes);

/// What a receiver answers to a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// Done with; it is not delivered again.
    Accepted,
    /// Refused; it is not delivered again.
    Rejected,
    /// Given back; it is delivered again.
    Released,
}

/// What the peer answered to a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Stored.
    Accepted,
    /// Refused, not stored.
    Rejected {
        /// Why, when the peer says.
        condition: Option<AmqpCondition>,
        /// The peer's text.
        description: Option<String>,
        /// The info map of the error.
        info: Vec<(String, AmqpValue)>,
    },
    /// Given back untouched; sending it again is safe.
    Released,
    /// Given back.
    Modified {
        /// Sending it here again is useless.
        undeliverable_here: bool,
    },
}

/// The settlement of one message, in the future.
///
/// # Errors
///
/// The link or the connection ended, or the receipt was given up, before the peer settled: whether the message was
/// stored is unknown.
pub struct Receipt(BoxFuture<'static, Result<Outcome>>);

impl Receipt {
    /// Wraps the future of a transport.
    pub fn new(settled: impl Future<Output = Result<Outcome>> + Send + 'static) -> Self {
        Self(Box::pin(settled))
    }
}

impl Future for Receipt {
    type Output = Result<Outcome>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}

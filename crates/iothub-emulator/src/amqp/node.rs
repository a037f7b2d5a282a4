//! What a peer can attach to. The engine knows nodes by the two traits here and by nothing else.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use uuid::Uuid;

use super::{error::AmqpError, outcome::Outcome, value::Value};
use crate::hub::{self, DataAction, fault::SettlementGarble};

/// Our end of a link, and what it takes to keep it.
pub(crate) struct Terminus<N> {
    pub(crate) node: N,
    pub(crate) access: Access,
    /// Resolves when the hub ends the link, with the reason.
    pub(crate) end: Option<BoxFuture<'static, AmqpError>>,
}

/// Where the messages of a peer's sender go.
pub(crate) type Target = Terminus<Box<dyn LinkTarget>>;

/// Where the messages for a peer's receiver come from.
pub(crate) type Source = Terminus<Arc<dyn LinkSource>>;

impl<N> Terminus<N> {
    pub(crate) fn new(node: N, access: Access) -> Self {
        Self {
            node,
            access,
            end: None,
        }
    }

    /// The link ends when this resolves, unless the peer ends it before.
    #[must_use]
    pub(crate) fn until(self, end: impl Future<Output = AmqpError> + Send + 'static) -> Self {
        Self {
            end: Some(Box::pin(end)),
            ..self
        }
    }
}

/// What a connection must be allowed to, to keep a link.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    /// Nothing: `$cbs`, where it says who it is.
    Open,
    /// An action on a resource, for as long as its token lasts.
    Needs { action: DataAction, resource: String },
    /// To be this device or module.
    Device(hub::Target),
}

/// Takes the messages that a peer sends over one link.
pub(crate) trait LinkTarget: Send {
    /// Takes a message. Called in the order of the link, so what has to keep that order happens before it returns.
    fn deliver(&mut self, message: IncomingMessage) -> Settlement;

    /// How many messages the peer may have under way, unsettled ones counted.
    fn credit(&self) -> u32 {
        100
    }
}

/// Gives the messages that a peer receives over one link.
pub(crate) trait LinkSource: Send + Sync {
    /// Waits for the next message. It is asked once at a time, and only while the peer wants a message.
    ///
    /// Dropping the future must lose nothing: a message leaves its queue when the future resolves, not before. An error
    /// detaches the link.
    fn next(&self) -> BoxFuture<'_, Result<OutgoingMessage, AmqpError>>;

    /// The peer said what became of a message, or the link ended before it did, which counts as released.
    ///
    /// The answer tells the peer how the hub sees it: nothing wrong, or why it comes too late.
    fn settle(&self, tag: Uuid, outcome: Outcome) -> Result<(), AmqpError>;
}

/// A message as it came over a link.
pub(crate) struct IncomingMessage {
    /// 0, or the number of a format such as that of a batch.
    pub(crate) format: u32,
    /// The sections, encoded.
    pub(crate) payload: Bytes,
}

/// A message for a peer.
pub(crate) struct OutgoingMessage {
    /// The delivery tag: clients read its sixteen bytes as a GUID, the lock token of the message.
    pub(crate) tag: Uuid,
    /// The sections, encoded.
    pub(crate) payload: Bytes,
}

/// What becomes of a delivery.
pub(crate) enum Settlement {
    Now(Outcome),
    Later(BoxFuture<'static, Outcome>),
    /// It is told in an odd way. A fault asked for that.
    Garbled(Outcome, SettlementGarble),
    /// It is never settled: the connection breaks. A fault asked for that.
    Never,
}

impl Settlement {
    /// The name of the outcome, or that it is not known yet.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Now(outcome) | Self::Garbled(outcome, _) => outcome.name(),
            Self::Later(_) => "later".to_owned(),
            Self::Never => "never".to_owned(),
        }
    }
}

/// What a peer asks for when it attaches.
pub(crate) struct LinkRequest<'a> {
    /// Where the link goes: the target of a sender, the source of a receiver.
    pub(crate) address: &'a str,
    /// The address of the peer's own end, if it gave one.
    pub(crate) peer_address: Option<&'a str>,
    /// The channel of the session, which is where a link's counterpart is looked for.
    pub(crate) session: u16,
    /// What the peer would like the link to do.
    pub(crate) desired: &'a [String],
    /// What else the peer says of the link.
    pub(crate) properties: &'a [(String, Value)],
    /// The source, with the filter that a receiver may want.
    pub(crate) source: &'a Value,
}

impl<'a> LinkRequest<'a> {
    pub(crate) fn desires(&self, capability: &str) -> bool {
        self.desired.iter().any(|desired| desired == capability)
    }

    pub(crate) fn property(&self, name: &str) -> Option<&'a Value> {
        let (_, value) = self.properties.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    /// What a link has in common with its counterpart on which the other direction goes.
    pub(crate) fn pair(&self) -> Option<&'a str> {
        self.property("com.microsoft:channel-correlation-id")?.as_text()
    }
}

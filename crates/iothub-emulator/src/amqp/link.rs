use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::{
    error::{AmqpError, condition},
    node::{Access, IncomingMessage, LinkSource, LinkTarget},
    performative::{Flow, Transfer},
    wire::{LinkKey, Wake, Wire},
};

/// A link of a session.
pub(super) struct Link {
    pub(super) key: LinkKey,
    pub(super) name: String,
    /// As the peer wrote it.
    pub(super) address: String,
    pub(super) access: Access,
    pub(super) end: End,
    /// Dropping it ends the wait for the hub to end the link.
    _watch: Option<oneshot::Sender<()>>,
}

/// Our end of a link.
pub(super) enum End {
    Target(IncomingLink),
    Source(OutgoingLink),
}

/// Our end of a link on which the peer sends.
pub(super) struct IncomingLink {
    node: Box<dyn LinkTarget>,
    delivery_count: u32,
    credit: u32,
    /// The most credit at once, if that is less than the node gives.
    limit: Option<u32>,
    /// How many messages the node has not settled yet.
    unsettled: u32,
    partial: Option<Partial>,
}

/// A message that has not arrived completely.
struct Partial {
    delivery_id: u32,
    format: u32,
    settled: bool,
    payload: BytesMut,
}

/// A message that has.
pub(super) struct Arrived {
    pub(super) delivery_id: u32,
    /// Whether the peer wants to hear nothing of it.
    pub(super) settled: bool,
    pub(super) message: IncomingMessage,
}

/// Our end of a link on which the peer receives.
pub(super) struct OutgoingLink {
    pub(super) node: Arc<dyn LinkSource>,
    /// Whether deliveries are settled as they are sent.
    pub(super) settled: bool,
    delivery_count: u32,
    credit: u32,
    drain: bool,
    wait: Option<Wait>,
    waits: u64,
}

/// While a node is asked for a message. Dropping it ends the wait without one.
struct Wait {
    number: u64,
    _interrupt: oneshot::Sender<()>,
}

impl Link {
    /// A link that ends when `ended` resolves, if it is not gone before.
    pub(super) fn new(
        key: LinkKey,
        (name, address): (String, String),
        access: Access,
        end: End,
        ended: Option<BoxFuture<'static, AmqpError>>,
        wire: &mut Wire,
    ) -> Self {
        let watch = ended.map(|ended| {
            let (watch, gone) = oneshot::channel();
            wire.waiting.push(Box::pin(async move {
                let error = tokio::select! {
                    biased;
                    _ = gone => None,
                    error = ended => Some(error),
                };
                Wake::Ended { link: key, error }
            }));
            watch
        });
        Self {
            key,
            name,
            address,
            access,
            end,
            _watch: watch,
        }
    }
}

impl IncomingLink {
    pub(super) fn new(node: Box<dyn LinkTarget>, limit: Option<u32>) -> Self {
        Self {
            node,
            delivery_count: 0,
            credit: 0,
            limit,
            unsettled: 0,
            partial: None,
        }
    }

    /// Takes a frame of a message, and gives the message when it is complete.
    pub(super) fn receive(
        &mut self,
        transfer: &Transfer,
        payload: Bytes,
        wire: &mut Wire,
    ) -> Result<Option<Arrived>, AmqpError> {
        let mut partial = match self.partial.take() {
            Some(partial) => partial,
            None => self.begin(transfer)?,
        };
        wire.partial -= partial.payload.len();
        if transfer.delivery_id.is_some_and(|id| id != partial.delivery_id) {
            let text = "a delivery began before the last frame of the one before it";
            return Err(AmqpError::new(condition::NOT_ALLOWED, text));
        }
        if transfer.aborted {
            return Ok(None);
        }
        let length = partial.payload.len() + payload.len();
        if length > MAX_MESSAGE_SIZE {
            let text = format!("a message has at most {MAX_MESSAGE_SIZE} bytes");
            return Err(AmqpError::new(condition::MESSAGE_SIZE_EXCEEDED, text));
        }
        partial.settled |= transfer.settled.unwrap_or_default();
        if transfer.more {
            if wire.partial + length > MAX_PARTIAL {
                let text = "too many messages have arrived in part only";
                return Err(AmqpError::new(condition::RESOURCE_LIMIT_EXCEEDED, text));
            }
            wire.partial += length;
            partial.payload.extend_from_slice(&payload);
            self.partial = Some(partial);
            return Ok(None);
        }
        let payload = if partial.payload.is_empty() {
            payload
        } else {
            partial.payload.extend_from_slice(&payload);
            partial.payload.freeze()
        };
        Ok(Some(Arrived {
            delivery_id: partial.delivery_id,
            settled: partial.settled,
            message: IncomingMessage {
                format: partial.format,
                payload,
            },
        }))
    }

    fn begin(&mut self, transfer: &Transfer) -> Result<Partial, AmqpError> {
        self.credit = self
            .credit
            .checked_sub(1)
            .ok_or_else(|| AmqpError::new(condition::TRANSFER_LIMIT_EXCEEDED, "a transfer came without credit"))?;
        self.delivery_count = self.delivery_count.wrapping_add(1);
        Ok(Partial {
            delivery_id: transfer.delivery_id.ok_or_else(|| {
                AmqpError::new(
                    condition::INVALID_FIELD,
                    "the first transfer of a delivery has no delivery-id",
                )
            })?,
            format: transfer.message_format.unwrap_or_default(),
            settled: false,
            payload: BytesMut::new(),
        })
    }

    pub(super) fn node(&mut self) -> &mut dyn LinkTarget {
        &mut *self.node
    }

    /// Counts a message that the node settles later.
    pub(super) fn hold(&mut self) {
        self.unsettled += 1;
    }

    /// Counts a message that the node has settled now.
    pub(super) fn let_go(&mut self) {
        self.unsettled = self.unsettled.saturating_sub(1);
    }

    /// Gives new credit when half of it is used, and says whether the peer has to hear of it.
    pub(super) fn top_up(&mut self) -> bool {
        let most = self.node.credit().min(self.limit.unwrap_or(u32::MAX));
        let full = most.saturating_sub(self.unsettled);
        let low = self.credit <= full / 2 && self.credit < full;
        if low {
            self.credit = full;
        }
        low
    }

    /// How many bytes of an incomplete message there are.
    pub(super) fn partial(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.payload.len())
    }
}

impl OutgoingLink {
    pub(super) fn new(node: Arc<dyn LinkSource>, settled: bool) -> Self {
        Self {
            node,
            settled,
            delivery_count: 0,
            credit: 0,
            drain: false,
            wait: None,
            waits: 0,
        }
    }

    /// Takes the credit that the peer gives.
    pub(super) fn update(&mut self, flow: &Flow) {
        let Some(credit) = flow.link_credit else {
            return;
        };
        // The peer counts from the deliveries it has seen; some of ours may still be on their way to it.
        let under_way = self
            .delivery_count
            .wrapping_sub(flow.delivery_count.unwrap_or_default());
        self.credit = credit.saturating_sub(under_way);
        self.drain = flow.drain;
        if self.credit == 0 || self.drain {
            self.wait = None;
        }
    }

    /// Asks the node for a message, if the peer wants one and nobody asks yet.
    pub(super) fn ask(&mut self, link: LinkKey, wire: &mut Wire) {
        if self.credit == 0 || self.wait.is_some() {
            return;
        }
        let (interrupt, interrupted) = oneshot::channel();
        self.waits += 1;
        let wait = self.waits;
        self.wait = Some(Wait {
            number: wait,
            _interrupt: interrupt,
        });
        let node = Arc::clone(&self.node);
        let once = self.drain;
        wire.waiting.push(Box::pin(async move {
            let next = if once {
                // A peer that drains wants what is there now.
                tokio::select! {
                    biased;
                    next = node.next() => Some(next),
                    () = std::future::ready(()) => None,
                }
            } else {
                tokio::select! {
                    biased;
                    _ = interrupted => None,
                    next = node.next() => Some(next),
                }
            };
            Wake::Message { link, wait, node, next }
        }));
    }

    /// Ends a wait that [`ask`](Self::ask) began. False if it had been interrupted before.
    pub(super) fn answered(&mut self, wait: u64) -> bool {
        self.wait.take_if(|current| current.number == wait).is_some()
    }

    /// Uses up one credit.
    pub(super) fn spend(&mut self) {
        self.credit = self.credit.saturating_sub(1);
        self.delivery_count = self.delivery_count.wrapping_add(1);
    }

    /// Gives back the credit that a draining peer has left, and says whether there was such a peer.
    pub(super) fn drained(&mut self) -> bool {
        let drained = std::mem::take(&mut self.drain);
        if drained {
            self.delivery_count = self.delivery_count.wrapping_add(self.credit);
            self.credit = 0;
        }
        drained
    }

    pub(super) fn has_credit(&self) -> bool {
        self.credit > 0
    }
}

impl End {
    /// Fills in what a flow says of the link.
    pub(super) fn describe(&self, flow: &mut Flow) {
        match self {
            Self::Target(link) => {
                flow.delivery_count = Some(link.delivery_count);
                flow.link_credit = Some(link.credit);
            }
            Self::Source(link) => {
                flow.delivery_count = Some(link.delivery_count);
                flow.link_credit = Some(link.credit);
                flow.available = Some(0);
            }
        }
    }
}

/// What a hub says of its links. The limit of a cloud-to-device message is smaller, and kept by refusing the message.
pub(super) const MAX_MESSAGE_SIZE: usize = 1024 * 1024;

/// How many bytes of incomplete messages one connection may leave with us.
const MAX_PARTIAL: usize = 8 * MAX_MESSAGE_SIZE;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{future::BoxFuture, stream::FuturesUnordered};

use super::{
    error::AmqpError,
    frame::{write, write_transfer},
    node::{LinkSource, OutgoingMessage},
    outbox::Answer,
    outcome::Outcome,
    peer::Peer,
    performative::{Disposition, Performative, Role, Transfer},
};
use crate::hub::fault::SettlementGarble;

/// What the sessions of one connection share: where frames go, and what is being waited for.
pub(crate) struct Wire {
    pub(crate) peer: Arc<Peer>,
    /// Frames that have not been written to the socket yet.
    pub(crate) out: BytesMut,
    /// The largest frame that the peer takes.
    pub(crate) max_frame_size: usize,
    pub(crate) waiting: FuturesUnordered<BoxFuture<'static, Wake>>,
    /// Whether a session had something to send while too much was waiting already.
    pub(crate) is_stalled: bool,
    /// Whether a node wants the connection to break.
    pub(crate) is_broken: bool,
    /// Bytes of messages that have arrived in part.
    pub(crate) partial: usize,
    pub(crate) links: usize,
    serial: u64,
}

/// Names a link for good: a handle is used again, a serial number is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkKey {
    pub(crate) channel: u16,
    pub(crate) handle: u32,
    serial: u64,
}

/// Something that was waited for has happened.
pub(crate) enum Wake {
    /// A source has a message; or has none, if the wait was interrupted.
    Message {
        link: LinkKey,
        /// Which of the link's waits it was.
        wait: u64,
        node: Arc<dyn LinkSource>,
        next: Option<Result<OutgoingMessage, AmqpError>>,
    },
    /// The hub ends a link; or does not, if nobody needs to know any more.
    Ended { link: LinkKey, error: Option<AmqpError> },
    /// A target says what became of a message.
    Settled {
        link: LinkKey,
        delivery_id: u32,
        settled: bool,
        /// What shall be odd about it.
        garble: Option<SettlementGarble>,
        outcome: Outcome,
    },
    /// What became of a message is stored, and the peer that said so can hear that it was understood.
    Confirmed { link: LinkKey, confirmation: Disposition },
}

impl Wire {
    pub(crate) fn new(peer: Arc<Peer>, max_frame_size: usize) -> Self {
        Self {
            peer,
            out: BytesMut::with_capacity(8 * 1024),
            max_frame_size,
            waiting: FuturesUnordered::new(),
            is_stalled: false,
            is_broken: false,
            partial: 0,
            links: 0,
            serial: 0,
        }
    }

    pub(crate) fn key(&mut self, channel: u16, handle: u32) -> LinkKey {
        self.serial += 1;
        LinkKey {
            channel,
            handle,
            serial: self.serial,
        }
    }

    pub(crate) fn send(&mut self, channel: u16, performative: Performative) {
        write(channel, performative, &mut self.out);
    }

    /// Writes one frame of a delivery and takes what fits from `payload`.
    pub(crate) fn send_part(&mut self, channel: u16, transfer: &Transfer, payload: &mut Bytes) {
        write_transfer(channel, transfer, payload, self.max_frame_size, &mut self.out);
    }

    /// Settles a delivery of ours of which the peer has said what became of it, when that is stored.
    pub(crate) fn confirm(&mut self, link: LinkKey, answer: Answer) {
        let confirmation = move |outcome: Outcome| Disposition {
            role: Role::Sender,
            first: answer.delivery_id,
            last: Some(answer.delivery_id),
            settled: true,
            state: Some(outcome.into()),
        };
        let outcome = answer.outcome;
        if self.peer.hub.is_persisted() {
            self.send(link.channel, Performative::Disposition(confirmation(outcome)));
            return;
        }
        let persisted = self.peer.hub.persisted();
        self.waiting.push(Box::pin(async move {
            let outcome = persisted
                .await
                .map_or_else(|failure| AmqpError::from(failure).into(), |()| outcome);
            let confirmation = confirmation(outcome);
            Wake::Confirmed { link, confirmation }
        }));
    }

    /// Whether the peer reads too slowly for anything to be added.
    pub(crate) fn is_full(&self) -> bool {
        self.out.len() >= HIGH_WATER
    }
}

impl Wake {
    /// Gives back a message that came for a link that is gone, or wants nothing any more.
    pub(crate) fn give_back(self) {
        if let Self::Message {
            node,
            next: Some(Ok(message)),
            ..
        } = self
        {
            // Nobody is there to be told that the lock was lost before.
            let _ = node.settle(message.tag, Outcome::Released);
        }
    }
}

/// How much may wait for the socket before sources are left alone and nothing more is read.
const HIGH_WATER: usize = 256 * 1024;

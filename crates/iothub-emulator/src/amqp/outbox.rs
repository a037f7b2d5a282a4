use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    node::{LinkSource, OutgoingMessage},
    outcome::Outcome,
    performative::{Flow, Transfer},
    wire::Wire,
};

/// What a session sends: deliveries that wait for the peer's window, and those on which the peer has the last word.
pub(super) struct Outbox {
    channel: u16,
    next_id: u32,
    next_delivery_id: u32,
    /// How many frames with transfers the peer still takes.
    window: u32,
    waiting: VecDeque<Waiting>,
    unsettled: BTreeMap<u32, Unsettled>,
}

/// A delivery of which not everything has been written.
struct Waiting {
    transfer: Transfer,
    payload: Bytes,
}

/// A delivery that the peer has not settled. If it never does, the message is released.
struct Unsettled {
    handle: u32,
    tag: Uuid,
    node: Option<Arc<dyn LinkSource>>,
}

/// What the peer said of a delivery, and what it is answered.
pub(super) struct Answer {
    pub(super) delivery_id: u32,
    pub(super) handle: u32,
    pub(super) outcome: Outcome,
}

impl Outbox {
    pub(super) fn new(channel: u16, window: u32) -> Self {
        Self {
            channel,
            next_id: FIRST_ID,
            next_delivery_id: FIRST_ID,
            window,
            waiting: VecDeque::new(),
            unsettled: BTreeMap::new(),
        }
    }

    /// The number of the next transfer frame.
    pub(super) fn next_id(&self) -> u32 {
        self.next_id
    }

    /// Whether nothing more may be put in for now.
    pub(super) fn is_full(&self) -> bool {
        !self.waiting.is_empty() || self.unsettled.len() >= MAX_UNSETTLED
    }

    /// Takes the window that the peer gives.
    pub(super) fn update(&mut self, flow: &Flow) {
        // The peer counts from the frames it has seen; some of ours may still be on their way to it.
        let under_way = self.next_id.wrapping_sub(flow.next_incoming_id.unwrap_or(FIRST_ID));
        self.window = flow.incoming_window.saturating_sub(under_way);
    }

    /// Puts in a message of `node`, to be sent on the link with this handle.
    pub(super) fn push(&mut self, handle: u32, settled: bool, node: &Arc<dyn LinkSource>, message: OutgoingMessage) {
        let delivery_id = self.next_delivery_id;
        self.next_delivery_id = delivery_id.wrapping_add(1);
        if !settled {
            let unsettled = Unsettled {
                handle,
                tag: message.tag,
                node: Some(Arc::clone(node)),
            };
            self.unsettled.insert(delivery_id, unsettled);
        }
        self.waiting.push_back(Waiting {
            transfer: Transfer {
                handle,
                delivery_id: Some(delivery_id),
                // .NET reads the tag as a GUID, whose first groups it keeps in little-endian order.
                delivery_tag: Some(Bytes::copy_from_slice(&message.tag.to_bytes_le())),
                message_format: Some(0),
                settled: Some(settled),
                more: false,
                rcv_settle_mode: None,
                state: None,
                resume: false,
                aborted: false,
                batchable: true,
            },
            payload: message.payload,
        });
    }

    /// Writes as much as the window takes.
    pub(super) fn write(&mut self, wire: &mut Wire) {
        while self.window > 0
            && let Some(next) = self.waiting.front_mut()
        {
            wire.send_part(self.channel, &next.transfer, &mut next.payload);
            self.window -= 1;
            self.next_id = self.next_id.wrapping_add(1);
            if next.payload.is_empty() {
                self.waiting.pop_front();
            }
        }
    }

    /// The peer says what became of the deliveries from `first` to `last`. Those it does not have are left out.
    pub(super) fn settle(&mut self, first: u32, last: u32, outcome: &Outcome) -> Vec<Answer> {
        let answer = |delivery_id, unsettled: Unsettled| Answer {
            delivery_id,
            handle: unsettled.handle,
            outcome: unsettled.settle(outcome.clone()),
        };
        let ids = self.between(first, last).into_iter();
        ids.filter_map(|id| Some(answer(id, self.unsettled.remove(&id)?)))
            .collect()
    }

    /// Takes out what belongs to a link that is gone.
    pub(super) fn forget(&mut self, handle: u32) {
        self.waiting.retain(|waiting| waiting.transfer.handle != handle);
        self.unsettled.retain(|_, unsettled| unsettled.handle != handle);
    }

    /// The unsettled deliveries in a range, whose numbers begin again at 0 after the highest.
    fn between(&self, first: u32, last: u32) -> Vec<u32> {
        let mut ids = Vec::new();
        if first <= last {
            ids.extend(self.unsettled.range(first..=last).map(|(id, _)| *id));
        } else if last.wrapping_sub(first) < u32::MAX / 2 {
            ids.extend(self.unsettled.range(first..).map(|(id, _)| *id));
            ids.extend(self.unsettled.range(..=last).map(|(id, _)| *id));
        }
        ids
    }
}

impl Unsettled {
    /// Passes on what the peer says, and gives back the outcome that it is answered with.
    fn settle(mut self, outcome: Outcome) -> Outcome {
        let settled = self.node.take().map_or(Ok(()), |node| node.settle(self.tag, outcome));
        // Whatever the outcome was, a peer that lets us settle second expects to hear `accepted` if it came in time.
        settled.map_or_else(Outcome::from, |()| Outcome::Accepted)
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            // The peer is gone, so there is nobody to tell that the lock was lost before.
            let _ = node.settle(self.tag, Outcome::Released);
        }
    }
}

/// What a hub's begin says.
pub(super) const FIRST_ID: u32 = 1;

/// A peer that settles nothing gets no more than this.
const MAX_UNSETTLED: usize = 10_000;

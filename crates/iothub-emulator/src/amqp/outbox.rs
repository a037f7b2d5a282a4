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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::future::{BoxFuture, pending};

    use super::{
        super::{
            error::AmqpError,
            frame::{Frame, FrameReader},
            peer::Peer,
            performative::Performative,
        },
        *,
    };
    use crate::hub::{CertificateChain, Door, Hub};

    /// Remembers what it is told of its messages.
    #[derive(Default)]
    struct Ledger(Mutex<Vec<(Uuid, String)>>);

    impl LinkSource for Ledger {
        fn next(&self) -> BoxFuture<'_, Result<OutgoingMessage, AmqpError>> {
            Box::pin(pending())
        }

        fn settle(&self, tag: Uuid, outcome: Outcome) -> Result<(), AmqpError> {
            self.0.lock().unwrap().push((tag, outcome.name()));
            match outcome {
                Outcome::Modified { .. } => Err(AmqpError::new("com.microsoft:message-lock-lost", "too late")),
                _ => Ok(()),
            }
        }
    }

    fn wire(max_frame_size: usize) -> Wire {
        let hub = Hub::new(vec!["localhost".to_owned()], Vec::new());
        let (number, breaker, _) = hub.faults().amqp().enter();
        Wire::new(
            Arc::new(Peer::new(
                hub,
                (number, breaker),
                Door::Amqp,
                CertificateChain::default(),
            )),
            max_frame_size,
        )
    }

    fn message(number: u128, size: usize) -> OutgoingMessage {
        OutgoingMessage {
            tag: Uuid::from_u128(number),
            payload: vec![7; size].into(),
        }
    }

    fn flow(next_incoming_id: u32, incoming_window: u32) -> Flow {
        Flow {
            next_incoming_id: Some(next_incoming_id),
            incoming_window,
            next_outgoing_id: 0,
            outgoing_window: 0,
            handle: None,
            delivery_count: None,
            link_credit: None,
            available: None,
            drain: false,
            echo: false,
        }
    }

    /// The sizes of the frames that were written, and what is in them.
    async fn written(wire: &mut Wire) -> Vec<(usize, Transfer, Bytes)> {
        let bytes = wire.out.split().freeze();
        let mut reader = FrameReader::new(&bytes[..]);
        let mut frames = Vec::new();
        while let Ok(Some(Frame { body, .. })) = reader.next().await {
            let size = body.len() + 8;
            let Ok((Performative::Transfer(transfer), payload)) = Performative::read(body) else {
                panic!("something else than a transfer");
            };
            frames.push((size, transfer, payload));
        }
        frames
    }

    #[tokio::test]
    async fn a_message_is_cut_to_the_frames_and_the_window_of_the_peer() {
        let node: Arc<dyn LinkSource> = Arc::new(Ledger::default());
        let (mut outbox, mut wire) = (Outbox::new(0, 2), wire(512));
        outbox.push(3, false, &node, message(1, 2000));
        outbox.write(&mut wire);
        let mut frames = written(&mut wire).await;
        assert_eq!(frames.len(), 2, "the window is two");
        assert!(outbox.is_full());
        // It has seen both and takes one more, then as many as there are.
        outbox.update(&flow(3, 1));
        outbox.write(&mut wire);
        outbox.update(&flow(3, 100));
        outbox.write(&mut wire);
        frames.extend(written(&mut wire).await);
        assert!(!outbox.is_full());

        let (last, others) = frames.split_last().unwrap();
        assert!(others.iter().all(|(size, transfer, _)| *size == 512 && transfer.more));
        assert!(last.0 <= 512 && !last.1.more);
        for (_, transfer, _) in &frames {
            assert_eq!((transfer.handle, transfer.delivery_id), (3, Some(1)));
            assert_eq!(transfer.delivery_tag.as_ref().map(Bytes::len), Some(16));
        }
        assert_eq!(frames.iter().map(|(_, _, payload)| payload.len()).sum::<usize>(), 2000);
    }

    /// The bytes are what .NET's `Guid.ToByteArray` gives for this text.
    #[tokio::test]
    async fn a_tag_is_a_guid_as_dotnet_lays_it_out() {
        let node: Arc<dyn LinkSource> = Arc::new(Ledger::default());
        let (mut outbox, mut wire) = (Outbox::new(0, 1), wire(512));
        let tag = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
        let payload = Bytes::from_static(&[7]);
        outbox.push(0, true, &node, OutgoingMessage { tag, payload });
        outbox.write(&mut wire);
        let (_, transfer, _) = &written(&mut wire).await[0];
        let expected = b"\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
        assert_eq!(transfer.delivery_tag.as_deref(), Some(&expected[..]));
        assert_eq!(transfer.settled, Some(true));
    }

    #[test]
    fn what_nobody_settles_is_released_and_nothing_is_settled_twice() {
        let ledger = Arc::new(Ledger::default());
        let node: Arc<dyn LinkSource> = Arc::<Ledger>::clone(&ledger);
        let mut outbox = Outbox::new(0, 0);
        outbox.next_delivery_id = u32::MAX;
        for number in 1..=5 {
            outbox.push(if number == 4 { 9 } else { 3 }, false, &node, message(number, 1));
        }
        let answers = outbox.settle(u32::MAX, 0, &Outcome::Released);
        assert_eq!(answers.len(), 2);
        assert!(answers.iter().all(|answer| answer.outcome == Outcome::Accepted));
        assert!(outbox.settle(u32::MAX, 0, &Outcome::Accepted).is_empty());
        let late = Outcome::Modified {
            undeliverable_here: false,
        };
        assert_eq!(
            outbox.settle(1, 1, &late)[0].outcome.name(),
            "com.microsoft:message-lock-lost"
        );
        outbox.forget(9);
        drop(outbox);
        let told: Vec<_> = ledger
            .0
            .lock()
            .unwrap()
            .iter()
            .map(|(tag, name)| (tag.as_u128(), name.clone()))
            .collect();
        let told: Vec<_> = told.iter().map(|(number, name)| (*number, name.as_str())).collect();
        let expected = [
            (1, "released"),
            (2, "released"),
            (3, "modified"),
            (4, "released"),
            (5, "released"),
        ];
        assert_eq!(told, expected);
    }
}

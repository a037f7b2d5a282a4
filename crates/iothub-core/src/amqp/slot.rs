use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use futures::channel::oneshot;

use super::{AmqpReceiver, AmqpSender, ReceiverLink, SenderLink, backoff::Backoff, fault::Fault};

/// The place of one link at its connection: who waits for it, and how far it is.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) port: Port,
    pub(super) state: SlotState,
    pub(super) backoff: Backoff,
    /// Whether the hub said that we are not authorized, and a new token has not helped yet.
    pub(super) was_refused: bool,
}

#[derive(Debug)]
pub(super) enum SlotState {
    Detached,
    /// A timer runs until the next try.
    Waiting,
    Attaching,
    Attached {
        number: u64,
        /// Dropped with this state, which ends the watch over the link.
        _watch: Option<oneshot::Sender<()>>,
    },
}

/// The two kinds of link, and how those who wait for them are told.
#[derive(Debug)]
pub(super) enum Port {
    Sender {
        link: SenderLink,
        cell: Arc<SenderCell>,
        waiting: Vec<oneshot::Sender<Result<(), Fault>>>,
    },
    Receiver {
        link: ReceiverLink,
        waiting: Option<oneshot::Sender<ReceiverReply>>,
    },
}

/// What one who waits for a receiver is told.
#[derive(Debug)]
pub(super) enum ReceiverReply {
    Attached(AttachedReceiver),
    /// Not yet, and this is why; ask again.
    Retrying(Fault),
    Failed(Fault),
}

/// The current link of a sender, put there by the owner task and read by everybody who sends.
#[derive(Debug, Default)]
pub(super) struct SenderCell(Mutex<Option<Arc<AttachedSender>>>);

#[derive(Debug)]
pub(super) struct AttachedSender {
    pub(super) number: u64,
    /// The connection that the link is on.
    pub(super) generation: u64,
    pub(super) sender: Box<dyn AmqpSender>,
    /// Whether the hub has settled a message over this link.
    has_worked: AtomicBool,
}

#[derive(Debug)]
pub(super) struct AttachedReceiver {
    pub(super) number: u64,
    pub(super) generation: u64,
    pub(super) receiver: Box<dyn AmqpReceiver>,
}

impl Slot {
    pub(super) fn new(port: Port) -> Self {
        Self {
            port,
            state: SlotState::Detached,
            backoff: Backoff::default(),
            was_refused: false,
        }
    }

    pub(super) fn is_attached_as(&self, wanted: u64) -> bool {
        matches!(self.state, SlotState::Attached { number, .. } if number == wanted)
    }

    /// Forgets the link.
    pub(super) fn detach(&mut self) {
        self.state = SlotState::Detached;
        if let Port::Sender { cell, .. } = &self.port {
            cell.set(None);
        }
    }

    /// It works: earlier failures do not count any more.
    pub(super) fn has_worked(&mut self) {
        self.backoff.reset();
        self.was_refused = false;
    }

    /// Whether somebody still waits. Who has given up is forgotten.
    pub(super) fn is_wanted(&mut self) -> bool {
        match &mut self.port {
            Port::Sender { waiting, .. } => {
                waiting.retain(|reply| !reply.is_canceled());
                !waiting.is_empty()
            }
            Port::Receiver { waiting, .. } => waiting.as_ref().is_some_and(|reply| !reply.is_canceled()),
        }
    }

    /// Tells everybody who waits that there is nothing to wait for.
    pub(super) fn fail(&mut self, fault: &Fault) {
        match &mut self.port {
            Port::Sender { waiting, .. } => {
                for reply in waiting.drain(..) {
                    // Who does not wait any more need not know.
                    let _ = reply.send(Err(fault.clone()));
                }
            }
            Port::Receiver { waiting, .. } => {
                if let Some(reply) = waiting.take() {
                    let _ = reply.send(ReceiverReply::Failed(fault.clone()));
                }
            }
        }
    }

    /// Tells those who want to know that it takes longer.
    pub(super) fn report(&mut self, fault: &Fault) {
        if let Port::Receiver { waiting, .. } = &mut self.port
            && let Some(reply) = waiting.take()
        {
            let _ = reply.send(ReceiverReply::Retrying(fault.clone()));
        }
    }
}

impl SenderCell {
    pub(super) fn get(&self) -> Option<Arc<AttachedSender>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, link: Option<Arc<AttachedSender>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = link;
    }

    /// Takes a link out that has failed, unless another has taken its place.
    pub(super) fn clear(&self, number: u64) {
        let mut link = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(link.take_if(|link| link.number == number));
    }
}

impl AttachedSender {
    pub(super) fn new(number: u64, generation: u64, sender: Box<dyn AmqpSender>) -> Self {
        let has_worked = AtomicBool::new(false);
        Self {
            number,
            generation,
            sender,
            has_worked,
        }
    }

    pub(super) fn has_worked(&self) -> bool {
        self.has_worked.load(Ordering::Relaxed)
    }

    pub(super) fn worked(&self) {
        // Seen by everybody after the first message; a plain load keeps the cache line shared.
        if !self.has_worked() {
            self.has_worked.store(true, Ordering::Relaxed);
        }
    }
}

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use iothub_core::HubErrorCode;
use tokio::sync::watch;

use super::amqp_faults::AmqpFaults;

/// What shall go wrong, asked for by name. Clones are handles to the same list.
///
/// Faults happen in the order in which they were asked for, one a request, whatever the request is.
#[derive(Clone, Default)]
pub struct Faults {
    next: Arc<Mutex<VecDeque<Fault>>>,
    transfers_are_held: Arc<watch::Sender<bool>>,
    amqp: AmqpFaults,
}

/// One thing that goes wrong with one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The request is refused before anything happens.
    Refuse(HubErrorCode),
    /// The request is carried out, and the connection ends instead of an answer.
    LoseAnswer,
    /// The connection ends before anything happens.
    LoseRequest,
}

impl Faults {
    /// Answers the next `count` requests with `ThrottlingException`, and does nothing for them.
    pub fn throttle_next(&self, count: usize) {
        self.refuse_next(HubErrorCode::ThrottlingException, count);
    }

    /// Answers the next `count` requests with `code`, and does nothing for them.
    pub fn refuse_next(&self, code: HubErrorCode, count: usize) {
        self.add(&Fault::Refuse(code), count);
    }

    /// Carries out the next `count` requests and ends the connection instead of answering.
    pub fn lose_next_answers(&self, count: usize) {
        self.add(&Fault::LoseAnswer, count);
    }

    /// Ends the connection at the next `count` requests, and does nothing for them.
    pub fn lose_next_requests(&self, count: usize) {
        self.add(&Fault::LoseRequest, count);
    }

    /// Lets import and export jobs stay enqueued until [`release_transfers`](Self::release_transfers).
    pub fn hold_transfers(&self) {
        self.transfers_are_held.send_replace(true);
    }

    /// Lets import and export jobs run again.
    pub fn release_transfers(&self) {
        self.transfers_are_held.send_replace(false);
    }

    /// What shall go wrong on AMQP connections alone.
    pub fn amqp(&self) -> &AmqpFaults {
        &self.amqp
    }

    /// Forgets what has not happened yet.
    pub fn clear(&self) {
        self.lock().clear();
        self.release_transfers();
        self.amqp.clear();
    }

    /// Returns when no import or export job is to be held.
    pub(crate) async fn transfers_released(&self) {
        let mut held = self.transfers_are_held.subscribe();
        // The sender lives as long as `self` does, so that this cannot fail.
        let _ = held.wait_for(|held| !held).await;
    }

    pub(crate) fn take(&self) -> Option<Fault> {
        self.lock().pop_front()
    }

    fn add(&self, fault: &Fault, count: usize) {
        self.lock().extend(std::iter::repeat_n(fault.clone(), count));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Fault>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Refuse(_) => "refuse",
            Self::LoseAnswer => "lose answer",
            Self::LoseRequest => "lose request",
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().iter()).finish()
    }
}

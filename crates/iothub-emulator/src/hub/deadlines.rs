use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use time::OffsetDateTime;
use tokio::sync::Notify;

use super::{Hub, Target};

/// What the hub does by itself when its clock gets there.
#[derive(Default)]
pub(crate) struct Deadlines {
    heap: Mutex<BinaryHeap<Reverse<(OffsetDateTime, Due)>>>,
    added: Notify,
}

/// Something that falls due. It may turn out that there is nothing to do any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A message of this device or module may have expired.
    Messages(Target),
    /// Feedback has waited long enough for more to go with it.
    Feedback,
    /// Batches of feedback or file notifications may have expired.
    ServiceBound,
    /// A fault that a device asked for, by its number.
    InjectedFault(u64),
}

impl Deadlines {
    pub(crate) fn add(&self, at: OffsetDateTime, due: Due) {
        self.heap().push(Reverse((at, due)));
        self.added.notify_waiters();
    }

    fn take(&self, now: OffsetDateTime) -> Option<Due> {
        let mut heap = self.heap();
        heap.peek().filter(|Reverse((at, _))| *at <= now)?;
        heap.pop().map(|Reverse((_, due))| due)
    }

    fn first(&self) -> Option<OffsetDateTime> {
        self.heap().peek().map(|Reverse((at, _))| *at)
    }

    fn heap(&self) -> MutexGuard<'_, BinaryHeap<Reverse<(OffsetDateTime, Due)>>> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Does everything that has fallen due by now.
    ///
    /// Whoever is about to show what depends on time calls this first, so that a turn of the clock is seen at once.
    pub(crate) fn catch_up(&self) {
        let now = self.clock().now();
        while let Some(due) = self.deadlines().take(now) {
            match due {
                Due::Messages(target) => self.expire_messages(&target),
                Due::Feedback => self.close_feedback_batch(&mut self.registry_mut(), now),
                Due::ServiceBound => self.expire_service_bound(now),
                Due::InjectedFault(number) => self.carry_out_injected(number),
            }
        }
    }

    /// Does what falls due when it does, for ever.
    pub(crate) async fn keep_time(self) {
        loop {
            let added = self.deadlines().added.notified();
            tokio::pin!(added);
            // Registered before the heap is read, so that nothing can be added in between.
            added.as_mut().enable();
            self.catch_up();
            match self.deadlines().first() {
                None => added.await,
                Some(at) => tokio::select! {
                    () = added => {}
                    () = self.clock().until(at) => {}
                },
            }
        }
    }
}

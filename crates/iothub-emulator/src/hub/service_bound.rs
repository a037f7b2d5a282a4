//! What goes to the service: the queues of feedback and of file notifications.

use std::sync::{Mutex, MutexGuard, PoisonError};

use iothub_core::HubErrorCode;
use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    Failure, Hub, Locked, Outcome,
    changes::Changes,
    deadlines::Due,
    key::Key,
    lock_queue::{LockQueue, Settled, Waiting},
    options::ServiceQueueOptions,
};

/// A queue that any service may take from.
pub(crate) struct ServiceBound<T> {
    messages: Mutex<LockQueue<T>>,
    arrived: Notify,
    ttl: Duration,
    lock: Duration,
    max_deliveries: u8,
    changes: Changes,
    /// Names the message with a number.
    key: fn(u64) -> Key,
}

impl<T: Clone + Send> ServiceBound<T> {
    /// `max_deliveries` is what holds if the options do not say it.
    pub(crate) fn new(
        options: &ServiceQueueOptions,
        max_deliveries: u8,
        changes: &Changes,
        key: fn(u64) -> Key,
    ) -> Self {
        Self {
            messages: Mutex::default(),
            arrived: Notify::new(),
            ttl: options.ttl.try_into().unwrap_or(Duration::MAX),
            lock: options.lock_timeout.try_into().unwrap_or(Duration::MAX),
            max_deliveries: options.max_delivery_count.unwrap_or(max_deliveries),
            changes: changes.clone(),
            key,
        }
    }

    /// The next message, if one waits.
    pub(crate) fn take(&self, hub: &Hub) -> Option<Locked<T>> {
        hub.catch_up();
        self.messages().take(hub.clock().now(), self.lock)
    }

    /// Waits for the next message. Dropping the future loses nothing.
    pub(crate) async fn next(&self, hub: &Hub) -> Locked<T> {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            // Registered before the queue is read, so that nothing can arrive in between.
            arrived.as_mut().enable();
            if let Some(locked) = self.take(hub) {
                return locked;
            }
            let first_lock_end = self.messages().first_lock_end();
            tokio::select! {
                () = arrived => {}
                () = hub.clock().clone().until_some(first_lock_end) => {}
            }
        }
    }

    /// Ends the lock that `token` holds, the way the service says.
    pub(crate) fn settle(&self, hub: &Hub, token: Uuid, outcome: Outcome) -> Result<(), Failure> {
        let now = hub.clock().now();
        let settled = {
            let mut messages = self.messages();
            let settled = messages.settle(token, outcome, now, self.max_deliveries);
            let settled = settled
                .ok_or_else(|| Failure::new(HubErrorCode::DeviceMessageLockLost, "the lock on the message is lost"))?;
            self.note(settled.sequence);
            settled
        };
        if settled.outcome == Outcome::Abandoned {
            self.arrived.notify_waiters();
        }
        Ok(())
    }

    pub(super) fn push(&self, hub: &Hub, message: T) {
        let now = hub.clock().now();
        let check = {
            let mut messages = self.messages();
            let expires = now.saturating_add(self.ttl);
            self.note(messages.push(message, now, expires));
            messages.watch(Some(expires))
        };
        if let Some(at) = check {
            hub.deadlines().add(at, Due::ServiceBound);
        }
        self.arrived.notify_waiters();
    }

    /// Puts a message back that was stored.
    pub(crate) fn restore(&self, hub: &Hub, waiting: Waiting<T>) {
        let check = {
            let mut messages = self.messages();
            let expires = waiting.expires;
            self.note(waiting.sequence);
            messages.restore(waiting);
            messages.watch(Some(expires))
        };
        if let Some(at) = check {
            hub.deadlines().add(at, Due::ServiceBound);
        }
    }

    /// Forgets all messages.
    pub(super) fn clear(&self) {
        let mut messages = self.messages();
        for Settled { sequence, .. } in messages.purge() {
            self.note(sequence);
        }
    }

    /// Takes out a message that was stored as gone.
    pub(crate) fn forget(&self, number: u64) {
        self.messages().forget(number);
    }

    /// Notes that a message has come, changed or gone. Called with the queue locked.
    pub(super) fn note(&self, sequence: u64) {
        self.changes.note(|| (self.key)(sequence));
    }

    /// Removes what is too old, and says when to look again.
    fn expire(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let mut messages = self.messages();
        for Settled { sequence, .. } in messages.expire(now) {
            self.note(sequence);
        }
        messages.watch(None)
    }

    pub(crate) fn messages(&self) -> MutexGuard<'_, LockQueue<T>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Removes what no service took in time.
    pub(super) fn expire_service_bound(&self, now: OffsetDateTime) {
        let next = [
            self.feedback().batches.expire(now),
            self.uploads().notifications.expire(now),
        ];
        for at in next.into_iter().flatten() {
            self.deadlines().add(at, Due::ServiceBound);
        }
    }
}

//! Messages to devices: what waits for a device, what it holds, and what becomes of it.

use std::{future::Future, sync::Arc};

use iothub_core::HubErrorCode;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    C2dMessage, Event, Failure, Hub, Locked, Outcome, Target,
    deadlines::Due,
    lock_queue::{LockQueue, Settled},
    registry::Registry,
    sku::Meter,
};

/// The messages for one device or module.
pub(crate) type Queue = LockQueue<Arc<C2dMessage>>;

/// A message that a device holds.
pub(crate) type LockedMessage = Locked<Arc<C2dMessage>>;

impl Hub {
    /// Puts a message into the queue of a device or module.
    pub(crate) fn send_to_device(&self, target: &Target, message: C2dMessage) -> Result<(), Failure> {
        let size = message.size();
        if size > MAX_SIZE {
            let text = format!("a cloud-to-device message has at most {MAX_SIZE} bytes, this one {size}");
            return Err(Failure::new(HubErrorCode::MessageTooLarge, text));
        }
        self.spend(Meter::CloudToDevice, 1)?;
        let now = self.clock().now();
        let expires = message
            .expiry
            .map_or(now + self.options().cloud_to_device.default_ttl, |expiry| {
                expiry.min(now + MAX_TTL)
            });
        let message_id = message.message_id.clone();
        let (sequence, check) = {
            let mut registry = self.registry_mut();
            let queue = registry.open_queue(target)?;
            let expired = queue.expire(now);
            let check = queue.watch(None);
            let has_room = queue.len() < MAX_DEPTH;
            let sequence = has_room.then(|| queue.push(Arc::new(message), now, expires));
            let sooner = sequence.and_then(|_| queue.watch(Some(expires)));
            self.after_settlement(&mut registry, target, expired);
            if let Some(sequence) = sequence {
                registry.note_message(target, sequence);
            }
            (sequence, sooner.or(check))
        };
        self.check_messages_at(check, target);
        let Some(sequence) = sequence else {
            let text = format!("{target} already has {MAX_DEPTH} messages waiting");
            return Err(Failure::new(HubErrorCode::DeviceMaximumQueueDepthExceeded, text));
        };
        self.journal().record(Event::Queued {
            target: target.clone(),
            sequence,
            message_id,
        });
        self.tell_of_messages(target);
        Ok(())
    }

    /// Hands the next waiting message to a device, for as long as `lock` says.
    pub(crate) fn take_message(&self, target: &Target, lock: Duration) -> Result<Option<LockedMessage>, Failure> {
        self.expire_messages(target);
        let now = self.clock().now();
        let locked = self.registry_mut().queue(target)?.take(now, lock);
        if let Some(locked) = &locked {
            self.journal().record(Event::Delivered {
                target: target.clone(),
                sequence: locked.sequence,
                message_id: locked.message.message_id.clone(),
            });
        }
        Ok(locked)
    }

    /// Waits until there is a message for `target`, and hands it over. Waits also for a device that does not exist yet.
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn next_message(&self, target: &Target, lock: Duration) -> LockedMessage {
        let arrival = Arc::clone(self.arrivals().entry(target.clone()).or_default());
        loop {
            let arrived = arrival.notified();
            tokio::pin!(arrived);
            // Registered before the queue is read, so that nothing can arrive in between.
            arrived.as_mut().enable();
            if let Ok(Some(locked)) = self.take_message(target, lock) {
                return locked;
            }
            tokio::select! {
                () = arrived => {}
                () = self.lock_runs_out(target) => {}
            }
        }
    }

    /// Ends the lock that `token` holds, the way the device says.
    pub(crate) fn settle_message(&self, target: &Target, token: Uuid, outcome: Outcome) -> Result<(), Failure> {
        let now = self.clock().now();
        let most = self.options().cloud_to_device.max_delivery_count;
        let is_back = {
            let mut registry = self.registry_mut();
            let settled = registry.queue(target)?.settle(token, outcome, now, most);
            let settled = settled
                .ok_or_else(|| Failure::new(HubErrorCode::DeviceMessageLockLost, "the lock on the message is lost"))?;
            let is_back = settled.outcome == Outcome::Abandoned;
            self.after_settlement(&mut registry, target, vec![settled]);
            is_back
        };
        if is_back {
            self.tell_of_messages(target);
        }
        Ok(())
    }

    /// Lets messages wait again that a device held when its connection ended, as if the locks had run out.
    pub(crate) fn release_messages(&self, target: &Target, tokens: impl IntoIterator<Item = Uuid>) {
        let released = {
            let mut registry = self.registry_mut();
            let Ok(queue) = registry.queue(target) else {
                return;
            };
            tokens.into_iter().filter(|token| queue.release(*token)).count()
        };
        if released > 0 {
            self.tell_of_messages(target);
        }
    }

    /// Removes everything that waits for a device, and says how much it was.
    pub(crate) fn purge_messages(&self, target: &Target) -> Result<usize, Failure> {
        self.expire_messages(target);
        let mut registry = self.registry_mut();
        let purged = registry.queue(target)?.purge();
        let count = purged.len();
        self.after_settlement(&mut registry, target, purged);
        Ok(count)
    }

    /// Removes what nobody took in time.
    pub(crate) fn expire_messages(&self, target: &Target) {
        let now = self.clock().now();
        let check = {
            let mut registry = self.registry_mut();
            let Ok(identity) = registry.identity_unnoted(target) else {
                return;
            };
            let Some(queue) = identity.queue.as_deref_mut() else {
                return;
            };
            let (expired, check) = (queue.expire(now), queue.watch(None));
            self.after_settlement(&mut registry, target, expired);
            check
        };
        self.check_messages_at(check, target);
    }

    /// Writes down what became of messages, and lets those know who asked.
    fn after_settlement(&self, registry: &mut Registry, target: &Target, settled: Vec<Settled<Arc<C2dMessage>>>) {
        for settled in settled {
            registry.note_message(target, settled.sequence);
            self.journal().record(Event::Settled {
                target: target.clone(),
                sequence: settled.sequence,
                outcome: settled.outcome,
            });
            self.give_feedback(registry, target, &settled.message, settled.outcome);
        }
    }

    /// Sees to it that messages expire also when nobody looks.
    pub(crate) fn check_messages_at(&self, at: Option<OffsetDateTime>, target: &Target) {
        if let Some(at) = at {
            self.deadlines().add(at, Due::Messages(target.clone()));
        }
    }

    fn tell_of_messages(&self, target: &Target) {
        if let Some(arrival) = self.arrivals().get(target) {
            arrival.notify_waiters();
        }
    }

    /// Waits until the first lock in a queue ends by itself; for ever, if there is none.
    fn lock_runs_out(&self, target: &Target) -> impl Future<Output = ()> + use<> {
        let first = {
            let mut registry = self.registry_mut();
            let queue = registry.queue(target).ok();
            queue.and_then(|queue| queue.first_lock_end())
        };
        self.clock().clone().until_some(first)
    }
}

/// The lock of a device that does not ask for another.
pub(crate) const LOCK: Duration = Duration::minutes(1);

/// The published limits of a cloud-to-device queue and its messages.
const MAX_SIZE: usize = 64 * 1024;
const MAX_DEPTH: usize = 50;
const MAX_TTL: Duration = Duration::days(2);

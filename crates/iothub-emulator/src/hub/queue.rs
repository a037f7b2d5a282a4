use std::{collections::VecDeque, future::Future, sync::Arc};

use iothub_core::HubErrorCode;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{C2dMessage, Event, Failure, Hub, Target};

/// The messages that wait for one device, and those it has and did not settle yet.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: VecDeque<Queued>,
    /// How many messages were ever queued: the next sequence number.
    count: u64,
}

#[derive(Debug)]
struct Queued {
    message: Arc<C2dMessage>,
    sequence: u64,
    enqueued: OffsetDateTime,
    expires: OffsetDateTime,
    deliveries: u8,
    lock: Option<(Uuid, OffsetDateTime)>,
}

/// A message that a device holds until it settles it or the lock runs out.
#[derive(Clone, Debug)]
pub(crate) struct Locked {
    pub(crate) message: Arc<C2dMessage>,
    pub(crate) token: Uuid,
    pub(crate) sequence: u64,
    pub(crate) enqueued: OffsetDateTime,
    pub(crate) deliveries: u8,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The device took it and is done with it.
    Completed,
    /// The device refused it.
    Rejected,
    /// The device gave it back, and it waits again.
    Abandoned,
    /// Nobody took it in time.
    Expired,
    /// The device gave it back once too often.
    DeliveredTooOften,
    /// It was removed with everything else that waited.
    Purged,
}

impl Hub {
    /// Puts a message into the queue of a device or module.
    pub(crate) fn send_to_device(&self, target: &Target, message: C2dMessage) -> Result<(), Failure> {
        let size = message.size();
        if size > MAX_SIZE {
            let text = format!("a cloud-to-device message has at most {MAX_SIZE} bytes, this one {size}");
            return Err(Failure::new(HubErrorCode::MessageTooLarge, text));
        }
        let now = self.clock().now();
        let event = {
            let mut registry = self.registry_mut();
            let queue = registry.open_queue(target)?;
            self.drop_expired(target, queue, now);
            if queue.messages.len() >= MAX_DEPTH {
                let text = format!("{target} already has {MAX_DEPTH} messages waiting");
                return Err(Failure::new(HubErrorCode::DeviceMaximumQueueDepthExceeded, text));
            }
            queue.count += 1;
            let queued = Queued {
                sequence: queue.count,
                enqueued: now,
                expires: message.expiry.unwrap_or(now + DEFAULT_TTL),
                deliveries: 0,
                lock: None,
                message: Arc::new(message),
            };
            let event = Event::Queued {
                target: target.clone(),
                sequence: queued.sequence,
                message_id: queued.message.message_id.clone(),
            };
            queue.messages.push_back(queued);
            event
        };
        self.journal().record(event);
        if let Some(arrival) = self.arrivals().get(target) {
            arrival.notify_waiters();
        }
        Ok(())
    }

    /// Hands the next waiting message to a device, for as long as `lock` says.
    pub(crate) fn take_message(&self, target: &Target, lock: Duration) -> Result<Option<Locked>, Failure> {
        let now = self.clock().now();
        let locked = {
            let mut registry = self.registry_mut();
            let queue = registry.queue(target)?;
            self.drop_expired(target, queue, now);
            let next = queue.messages.iter_mut().find(|queued| queued.is_free(now));
            next.map(|queued| {
                let token = Uuid::new_v4();
                queued.lock = Some((token, now + lock));
                Locked {
                    message: Arc::clone(&queued.message),
                    token,
                    sequence: queued.sequence,
                    enqueued: queued.enqueued,
                    deliveries: queued.deliveries,
                }
            })
        };
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
    pub(crate) async fn next_message(&self, target: &Target, lock: Duration) -> Locked {
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
        let (sequence, outcome) = {
            let mut registry = self.registry_mut();
            let queue = registry.queue(target)?;
            let lost = || Failure::new(HubErrorCode::DeviceMessageLockLost, "the lock on the message is lost");
            let held = |queued: &Queued| matches!(queued.lock, Some((held, until)) if held == token && until > now);
            let at = queue.messages.iter().position(held).ok_or_else(lost)?;
            let queued = queue.messages.get_mut(at).ok_or_else(lost)?;
            let sequence = queued.sequence;
            let mut outcome = outcome;
            if outcome == Outcome::Abandoned {
                queued.lock = None;
                queued.deliveries += 1;
                if queued.deliveries >= MAX_DELIVERIES {
                    outcome = Outcome::DeliveredTooOften;
                }
            }
            if outcome != Outcome::Abandoned {
                queue.messages.remove(at);
            }
            (sequence, outcome)
        };
        self.journal().record(Event::Settled {
            target: target.clone(),
            sequence,
            outcome,
        });
        if outcome == Outcome::Abandoned
            && let Some(arrival) = self.arrivals().get(target)
        {
            arrival.notify_waiters();
        }
        Ok(())
    }

    /// Removes everything that waits for a device, and says how much it was.
    pub(crate) fn purge_messages(&self, target: &Target) -> Result<usize, Failure> {
        let purged = std::mem::take(&mut self.registry_mut().queue(target)?.messages);
        for queued in &purged {
            self.journal().record(Event::Settled {
                target: target.clone(),
                sequence: queued.sequence,
                outcome: Outcome::Purged,
            });
        }
        Ok(purged.len())
    }

    fn drop_expired(&self, target: &Target, queue: &mut Queue, now: OffsetDateTime) {
        queue.messages.retain(|queued| {
            let keep = queued.expires > now || !queued.is_free(now);
            if !keep {
                self.journal().record(Event::Settled {
                    target: target.clone(),
                    sequence: queued.sequence,
                    outcome: Outcome::Expired,
                });
            }
            keep
        });
    }

    /// Waits until the first lock in a queue ends by itself; for ever, if there is none.
    fn lock_runs_out(&self, target: &Target) -> impl Future<Output = ()> + use<> {
        let first = {
            let mut registry = self.registry_mut();
            let queue = registry.queue(target).ok();
            queue.and_then(|queue| queue.messages.iter().filter_map(|queued| Some(queued.lock?.1)).min())
        };
        let clock = self.clock().clone();
        async move {
            match first {
                Some(until) => clock.until(until).await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }
}

impl Queued {
    fn is_free(&self, now: OffsetDateTime) -> bool {
        self.lock.is_none_or(|(_, until)| until <= now)
    }
}

/// The lock of a device that does not ask for another.
pub(crate) const LOCK: Duration = Duration::minutes(1);

/// The published limits of a cloud-to-device queue and its messages.
const MAX_SIZE: usize = 64 * 1024;
const MAX_DEPTH: usize = 50;
const MAX_DELIVERIES: u8 = 10;
const DEFAULT_TTL: Duration = Duration::hours(1);

//! What became of messages to devices, for the services that asked to hear of it.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::{
    Ack, C2dMessage, Event, Hub, Outcome, Target, changes::Changes, deadlines::Due, key::Key,
    options::ServiceQueueOptions, registry::Registry, service_bound::ServiceBound, timestamp,
};

/// Feedback that waits for more, and batches that wait for a service.
pub(crate) struct Feedback {
    /// Records of the batch that is still open, and when it closes.
    open: Mutex<Open>,
    changes: Changes,
    pub(crate) batches: ServiceBound<Arc<[FeedbackRecord]>>,
}

#[derive(Default)]
struct Open {
    records: Vec<FeedbackRecord>,
    closes: Option<OffsetDateTime>,
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FeedbackRecord {
    original_message_id: Option<String>,
    device_id: String,
    device_generation_id: String,
    /// When it became of it.
    enqueued_time_utc: String,
    status_code: Cow<'static, str>,
    description: Cow<'static, str>,
}

impl Feedback {
    pub(crate) fn new(options: &ServiceQueueOptions, changes: &Changes) -> Self {
        Self {
            open: Mutex::default(),
            changes: changes.clone(),
            batches: ServiceBound::new(options, MAX_DELIVERIES, changes, Key::FeedbackBatch),
        }
    }

    /// Forgets what no service has settled.
    pub(super) fn clear(&self) {
        {
            let mut open = self.open();
            self.changes.note(|| Key::OpenFeedback);
            *open = Open::default();
        }
        self.batches.clear();
    }

    /// The records of the open batch, and when it closes.
    pub(crate) fn open_batch(&self) -> Option<(Vec<FeedbackRecord>, OffsetDateTime)> {
        let open = self.open();
        Some((open.records.clone(), open.closes?))
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Adds a record to the open batch, if the sender of the message asked for this outcome.
    ///
    /// Called with the registry locked under which the message went, so that either both are stored or neither is.
    pub(super) fn give_feedback(
        &self,
        registry: &mut Registry,
        target: &Target,
        message: &C2dMessage,
        outcome: Outcome,
    ) {
        let Some((status_code, description)) = status(outcome).filter(|_| is_wanted(message.ack, outcome)) else {
            return;
        };
        let Ok(device) = registry.device(target.device()) else {
            return;
        };
        let now = self.clock().now();
        let record = FeedbackRecord {
            original_message_id: message.message_id.clone(),
            device_id: target.device().to_owned(),
            device_generation_id: device.identity.generation.to_string(),
            enqueued_time_utc: timestamp::text(now),
            status_code: status_code.into(),
            description: description.into(),
        };
        let is_full = {
            let mut open = self.feedback().open();
            open.records.push(record);
            self.feedback().changes.note(|| Key::OpenFeedback);
            if open.closes.is_none() {
                open.closes = Some(now + BATCH_TIME);
                self.deadlines().add(now + BATCH_TIME, Due::Feedback);
            }
            open.records.len() >= BATCH_SIZE
        };
        if is_full {
            self.close_feedback_batch(registry, now + BATCH_TIME);
        }
    }

    /// Puts records back that were stored.
    pub(crate) fn restore_open_feedback(&self, records: Vec<FeedbackRecord>, closes: OffsetDateTime) {
        let mut open = self.feedback().open();
        self.feedback().changes.note(|| Key::OpenFeedback);
        *open = Open {
            records,
            closes: Some(closes),
        };
        self.deadlines().add(closes, Due::Feedback);
    }

    /// Forgets the open batch, which was stored as closed.
    pub(crate) fn forget_open_feedback(&self) {
        *self.feedback().open() = Open::default();
    }

    /// Lets services have the open batch, if it was to be closed by now.
    ///
    /// The registry is locked meanwhile, so that the records are stored in the one place or the other.
    pub(super) fn close_feedback_batch(&self, _together: &mut Registry, now: OffsetDateTime) {
        let records = {
            let mut open = self.feedback().open();
            if open.closes.is_none_or(|closes| closes > now) {
                return;
            }
            self.feedback().changes.note(|| Key::OpenFeedback);
            std::mem::take(&mut *open).records
        };
        if records.is_empty() {
            return;
        }
        self.journal().record(Event::FeedbackBatched { records: records.len() });
        self.feedback().batches.push(self, records.into());
    }

    /// Forgets what no service has taken yet of a device that is deleted.
    pub(super) fn drop_feedback(&self, _together: &mut Registry, device: &str) {
        let now = self.clock().now();
        let feedback = self.feedback();
        {
            let mut open = feedback.open();
            open.records.retain(|record| record.device_id != device);
            feedback.changes.note(|| Key::OpenFeedback);
        }
        feedback.batches.messages().retain_free(now, |sequence, batch| {
            if batch.iter().any(|record| record.device_id == device) {
                feedback.batches.note(sequence);
                *batch = batch
                    .iter()
                    .filter(|record| record.device_id != device)
                    .cloned()
                    .collect();
            }
            !batch.is_empty()
        });
    }
}

fn status(outcome: Outcome) -> Option<(&'static str, &'static str)> {
    match outcome {
        Outcome::Completed => Some(("Success", "Success")),
        Outcome::Rejected => Some(("Rejected", "The device rejected the message.")),
        Outcome::Expired => Some(("Expired", "The message expired before the device took it.")),
        Outcome::DeliveredTooOften => {
            let description = "The device abandoned the message too often.";
            Some(("DeliveryCountExceeded", description))
        }
        Outcome::Purged => Some(("Purged", "The queue of the device was purged.")),
        Outcome::Abandoned => None,
    }
}

fn is_wanted(ack: Ack, outcome: Outcome) -> bool {
    match ack {
        Ack::None => false,
        Ack::Positive => outcome == Outcome::Completed,
        Ack::Negative => outcome != Outcome::Completed,
        Ack::Full => true,
    }
}

/// How many records a batch has at most, and how long it is kept open after its first. Documentation has the time run
/// from "the last" record or batch, which would keep some records for ever or send each by itself.
const BATCH_SIZE: usize = 64;
const BATCH_TIME: Duration = Duration::seconds(15);

/// The default of a hub.
const MAX_DELIVERIES: u8 = 10;

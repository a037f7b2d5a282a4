//! What became of messages to devices, for the services that asked to hear of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::{
    Ack, C2dMessage, Event, Hub, Outcome, Target, deadlines::Due, options::ServiceQueueOptions,
    service_bound::ServiceBound, timestamp,
};

/// Feedback that waits for more, and batches that wait for a service.
pub(crate) struct Feedback {
    /// Records of the batch that is still open, and when it closes.
    open: Mutex<Open>,
    pub(crate) batches: ServiceBound<Arc<[FeedbackRecord]>>,
}

#[derive(Default)]
struct Open {
    records: Vec<FeedbackRecord>,
    closes: Option<OffsetDateTime>,
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FeedbackRecord {
    original_message_id: Option<String>,
    device_id: String,
    device_generation_id: String,
    /// When it became of it.
    enqueued_time_utc: String,
    status_code: &'static str,
    description: &'static str,
}

impl Feedback {
    pub(crate) fn new(options: &ServiceQueueOptions) -> Self {
        Self {
            open: Mutex::default(),
            batches: ServiceBound::new(options, MAX_DELIVERIES),
        }
    }

    /// Forgets what no service has settled.
    pub(super) fn clear(&self) {
        *self.open() = Open::default();
        self.batches.messages().purge();
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Adds a record to the open batch, if the sender of the message asked for this outcome.
    pub(super) fn give_feedback(&self, target: &Target, message: &C2dMessage, outcome: Outcome) {
        let Some((status_code, description)) = status(outcome).filter(|_| is_wanted(message.ack, outcome)) else {
            return;
        };
        let Ok(generation) = self
            .registry()
            .device(target.device())
            .map(|device| device.identity.generation)
        else {
            return;
        };
        let now = self.clock().now();
        let record = FeedbackRecord {
            original_message_id: message.message_id.clone(),
            device_id: target.device().to_owned(),
            device_generation_id: generation.to_string(),
            enqueued_time_utc: timestamp::text(Some(now)),
            status_code,
            description,
        };
        let is_full = {
            let mut open = self.feedback().open();
            open.records.push(record);
            if open.closes.is_none() {
                open.closes = Some(now + BATCH_TIME);
                self.deadlines().add(now + BATCH_TIME, Due::Feedback);
            }
            open.records.len() >= BATCH_SIZE
        };
        if is_full {
            self.close_feedback_batch(now + BATCH_TIME);
        }
    }

    /// Lets services have the open batch, if it was to be closed by now.
    pub(super) fn close_feedback_batch(&self, now: OffsetDateTime) {
        let records = {
            let mut open = self.feedback().open();
            if open.closes.is_none_or(|closes| closes > now) {
                return;
            }
            std::mem::take(&mut *open).records
        };
        if records.is_empty() {
            return;
        }
        self.journal().record(Event::FeedbackBatched { records: records.len() });
        self.feedback().batches.push(self, records.into());
    }

    /// Forgets what no service has taken yet of a device that is deleted.
    pub(super) fn drop_feedback(&self, device: &str) {
        let now = self.clock().now();
        let feedback = self.feedback();
        feedback.open().records.retain(|record| record.device_id != device);
        feedback.batches.messages().retain_free(now, |batch| {
            if batch.iter().any(|record| record.device_id == device) {
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

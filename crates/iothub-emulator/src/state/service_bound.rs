use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{count, moment::Moment};
use crate::hub::{
    Hub, feedback::FeedbackRecord, lock_queue::Waiting, service_bound::ServiceBound, uploads::FileNotification,
};

/// Feedback that waits for more to go with it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OpenFeedbackRecord {
    closing_time: Moment,
    records: Vec<FeedbackRecord>,
}

/// A message for the services: a batch of feedback, or the notification of a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ServiceBoundRecord<T> {
    #[serde(deserialize_with = "count::read")]
    number: u64,
    enqueued_time: Moment,
    expiry_time: Moment,
    #[serde(default)]
    delivery_count: u8,
    message: T,
}

pub(crate) type FeedbackBatchRecord = ServiceBoundRecord<Vec<FeedbackRecord>>;
pub(crate) type FileNotificationRecord = ServiceBoundRecord<FileNotification>;

impl OpenFeedbackRecord {
    pub(super) fn of(hub: &Hub) -> Option<Self> {
        let (records, closes) = hub.feedback().open_batch()?;
        Some(Self {
            closing_time: Moment(closes),
            records,
        })
    }

    pub(super) fn restore(self, hub: &Hub) {
        hub.restore_open_feedback(self.records, self.closing_time.0);
    }
}

impl<T> ServiceBoundRecord<T> {
    fn of<M: Clone + Send>(queue: &ServiceBound<M>, number: u64, message: impl FnOnce(M) -> T) -> Option<Self> {
        let waiting = queue.messages().waiting(number)?;
        Some(Self {
            number,
            enqueued_time: Moment(waiting.enqueued),
            expiry_time: Moment(waiting.expires),
            delivery_count: waiting.deliveries,
            message: message(waiting.message),
        })
    }

    fn put_back<M: Clone + Send>(self, hub: &Hub, queue: &ServiceBound<M>, message: impl FnOnce(T) -> M) {
        let waiting = Waiting {
            message: message(self.message),
            sequence: self.number,
            enqueued: self.enqueued_time.0,
            expires: self.expiry_time.0,
            deliveries: self.delivery_count,
        };
        queue.restore(hub, waiting);
    }
}

impl FeedbackBatchRecord {
    pub(super) fn of_batch(hub: &Hub, number: u64) -> Option<Self> {
        Self::of(&hub.feedback().batches, number, |records| records.to_vec())
    }

    pub(super) fn restore(self, hub: &Hub) {
        self.put_back(hub, &hub.feedback().batches, Into::into);
    }
}

impl FileNotificationRecord {
    pub(super) fn of_file(hub: &Hub, number: u64) -> Option<Self> {
        Self::of(&hub.uploads().notifications, number, |file| (*file).clone())
    }

    pub(super) fn restore(self, hub: &Hub) {
        self.put_back(hub, &hub.uploads().notifications, Arc::new);
    }
}

use iothub_core::models::FeedbackRecord;

use crate::Sent;

/// A message of which the hub has told what became.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Confirmed {
    /// How it was sent.
    pub sent: Sent,
    /// What became of it. [`FeedbackRecord::status`] is `Success` if the device has completed it.
    pub record: FeedbackRecord,
}

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Target;

/// Names one thing that a hub keeps, which is stored and exported by itself: a line of a state file.
///
/// They are stored and exported in this order, so that a thing never comes before what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Key {
    /// What the hub counts, and its clock.
    Hub,
    Device(Box<str>),
    Module(Box<str>, Box<str>),
    /// How many messages a device or module was ever sent. Devices have an empty name in the second place.
    Queue(Box<str>, Box<str>),
    /// A message to a device or module, by its number in the queue.
    Message(Box<str>, Box<str>, u64),
    /// What a device or module has subscribed to over MQTT. Devices have an empty name in the second place.
    MqttSession(Box<str>, Box<str>),
    /// The records of the batch of feedback that is still open.
    OpenFeedback,
    FeedbackBatch(u64),
    Upload(Uuid),
    FileNotification(u64),
    Configuration(Box<str>),
    /// An import or export job.
    Transfer(Box<str>),
    ScheduledJob(Box<str>),
    /// What a partition of the built-in endpoint counts.
    Partition(usize),
    /// A message from a device, by partition and number.
    Event(usize, u64),
    /// The key of the storage account.
    Storage,
    /// A container of blobs.
    Container(Box<str>),
    /// A part of a blob, by container, blob and number.
    Block(Box<str>, Box<str>, u64),
    Blob(Box<str>, Box<str>),
}

impl Key {
    /// The identity itself.
    pub(crate) fn identity(target: &Target) -> Self {
        let device = target.device().into();
        match target.module() {
            None => Self::Device(device),
            Some(module) => Self::Module(device, module.into()),
        }
    }

    pub(crate) fn queue(target: &Target) -> Self {
        Self::Queue(target.device().into(), target.module().unwrap_or_default().into())
    }

    pub(crate) fn message(target: &Target, sequence: u64) -> Self {
        let module = target.module().unwrap_or_default();
        Self::Message(target.device().into(), module.into(), sequence)
    }

    pub(crate) fn stored_session(target: &Target) -> Self {
        Self::MqttSession(target.device().into(), target.module().unwrap_or_default().into())
    }
}

use std::{fmt, ops::Deref, sync::Arc};

use iothub_core::Result;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::hub::{C2dMessage, Hub, Outcome, Target, queue::LOCK};

/// A device in this process: what a test or an example has at the other end.
///
/// Clones are the same device.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> iothub_core::Result<()> {
/// use iothub_emulator::{Emulator, EmulatorOptions};
///
/// let emulator = Emulator::start(EmulatorOptions::default()).await?;
/// let lamp = emulator.device("lamp")?;
/// assert!(lamp.try_recv().is_none());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Device {
    hub: Hub,
    target: Target,
}

/// A cloud-to-device message that a [`Device`] holds and has to settle.
///
/// Dropped unsettled, it waits for its lock of one minute to run out and is delivered again.
#[must_use = "a message that is not settled comes again"]
pub struct ReceivedMessage {
    hub: Hub,
    target: Target,
    token: Uuid,
    message: Arc<C2dMessage>,
    sequence: u64,
    enqueued: OffsetDateTime,
    deliveries: u8,
}

impl Device {
    pub(crate) fn new(hub: Hub, target: Target) -> Self {
        Self { hub, target }
    }

    /// Who it is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Waits for the next message, for ever if none comes.
    pub async fn recv(&self) -> ReceivedMessage {
        self.hold(self.hub.next_message(&self.target, LOCK).await)
    }

    /// The next message, if one waits.
    pub fn try_recv(&self) -> Option<ReceivedMessage> {
        let locked = self.hub.take_message(&self.target, LOCK).ok()??;
        Some(self.hold(locked))
    }

    /// Merges into the reported properties: `patch` is the text of a JSON object, in which null deletes.
    ///
    /// Returns the version that the reported properties have now.
    ///
    /// # Errors
    ///
    /// There is no such device, or `patch` is nothing that a twin can hold.
    pub fn report(&self, patch: &str) -> Result<u64> {
        Ok(self.hub.report(&self.target, patch)?)
    }

    fn hold(&self, locked: crate::hub::Locked) -> ReceivedMessage {
        ReceivedMessage {
            hub: self.hub.clone(),
            target: self.target.clone(),
            token: locked.token,
            message: locked.message,
            sequence: locked.sequence,
            enqueued: locked.enqueued,
            deliveries: locked.deliveries,
        }
    }
}

impl ReceivedMessage {
    /// Takes the message off the queue.
    ///
    /// # Errors
    ///
    /// The lock ran out, and the message is or will be delivered again.
    pub fn complete(self) -> Result<Arc<C2dMessage>> {
        self.settle(Outcome::Completed)
    }

    /// Takes the message off the queue, and lets its sender know that it was refused.
    ///
    /// # Errors
    ///
    /// The lock ran out, and the message is or will be delivered again.
    pub fn reject(self) -> Result<Arc<C2dMessage>> {
        self.settle(Outcome::Rejected)
    }

    /// Puts the message back. After ten times it is not delivered again.
    ///
    /// # Errors
    ///
    /// The lock ran out, and the message is or will be delivered again.
    pub fn abandon(self) -> Result<Arc<C2dMessage>> {
        self.settle(Outcome::Abandoned)
    }

    /// Its place in everything that this device was ever sent, from 1.
    pub fn sequence_number(&self) -> u64 {
        self.sequence
    }

    /// When the hub accepted it.
    pub fn enqueued_time(&self) -> OffsetDateTime {
        self.enqueued
    }

    /// How often it was abandoned before.
    pub fn delivery_count(&self) -> u8 {
        self.deliveries
    }

    fn settle(self, outcome: Outcome) -> Result<Arc<C2dMessage>> {
        self.hub.settle_message(&self.target, self.token, outcome)?;
        Ok(self.message)
    }
}

impl Deref for ReceivedMessage {
    type Target = C2dMessage;

    fn deref(&self) -> &C2dMessage {
        &self.message
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Device").field(&self.target).finish()
    }
}

impl fmt::Debug for ReceivedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedMessage")
            .field("target", &self.target)
            .field("sequence", &self.sequence)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

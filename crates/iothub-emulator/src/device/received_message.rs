use std::{fmt, ops::Deref, sync::Arc};

use iothub_core::Result;
use time::OffsetDateTime;

use super::line::Line;
use crate::hub::{C2dMessage, Outcome, queue::LockedMessage};

/// A cloud-to-device message that a [`Device`](crate::Device) holds and has to settle.
///
/// Dropped unsettled, it waits for its lock of one minute to run out and is delivered again.
#[must_use = "a message that is not settled comes again"]
pub struct ReceivedMessage {
    line: Line,
    locked: LockedMessage,
}

impl ReceivedMessage {
    pub(super) fn new(line: Line, locked: LockedMessage) -> Self {
        Self { line, locked }
    }

    /// Takes the message off the queue.
    ///
    /// # Errors
    ///
    /// The lock ran out or the device has gone offline, and the message is or will be delivered again.
    pub fn complete(self) -> Result<Arc<C2dMessage>> {
        self.settle(Outcome::Completed)
    }

    /// Takes the message off the queue, and lets its sender know that it was refused.
    ///
    /// # Errors
    ///
    /// The lock ran out or the device has gone offline, and the message is or will be delivered again.
    pub fn reject(self) -> Result<Arc<C2dMessage>> {
        self.settle(Outcome::Rejected)
    }

    /// Puts the message back. After ten times it is not delivered again.
    ///
    /// # Errors
    ///
    /// The lock ran out or the device has gone offline, and the message is or will be delivered again.
    pub fn abandon(self) -> Result<Arc<C2dMessage>> {
        self.settle(Outcome::Abandoned)
    }

    /// Its place in everything that this device was ever sent, from 1.
    pub fn sequence_number(&self) -> u64 {
        self.locked.sequence
    }

    /// When the hub accepted it.
    pub fn enqueued_time(&self) -> OffsetDateTime {
        self.locked.enqueued
    }

    /// How often it was abandoned before.
    pub fn delivery_count(&self) -> u8 {
        self.locked.deliveries
    }

    fn settle(self, outcome: Outcome) -> Result<Arc<C2dMessage>> {
        self.line.settle_message(self.locked.token, outcome)?;
        Ok(self.locked.message)
    }
}

impl Deref for ReceivedMessage {
    type Target = C2dMessage;

    fn deref(&self) -> &C2dMessage {
        &self.locked.message
    }
}

impl fmt::Debug for ReceivedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedMessage")
            .field("target", self.line.target())
            .field("sequence", &self.locked.sequence)
            .field("message", &self.locked.message)
            .finish_non_exhaustive()
    }
}

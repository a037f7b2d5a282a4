use std::future::pending;

use bytes::BytesMut;
use futures::future::BoxFuture;

use crate::hub::{Failure, Hub};

/// What a device is to be told as soon as that is stored which it is about.
///
/// While one part waits for the disk, what comes meanwhile waits for the next time.
#[derive(Default)]
pub(super) struct Answers {
    new: BytesMut,
    waiting: BytesMut,
    stored: Option<BoxFuture<'static, Result<(), Failure>>>,
}

impl Answers {
    /// Where the next answer is written.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.new
    }

    /// Hands over what needs no waiting, and waits for the rest.
    pub(super) fn release(&mut self, hub: &Hub, out: &mut BytesMut) {
        if self.stored.is_some() || self.new.is_empty() {
            return;
        }
        if hub.is_persisted() {
            out.unsplit(self.new.split());
            return;
        }
        self.waiting = self.new.split();
        self.stored = Some(Box::pin(hub.persisted()));
    }

    pub(super) fn len(&self) -> usize {
        self.new.len() + self.waiting.len()
    }

    /// What may go out now; waits for ever if nothing waits. Dropping the future loses nothing.
    pub(super) async fn stored(&mut self) -> Result<BytesMut, Failure> {
        let Some(stored) = &mut self.stored else {
            return pending().await;
        };
        stored.await?;
        self.stored = None;
        Ok(std::mem::take(&mut self.waiting))
    }
}

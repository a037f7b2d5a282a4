use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    error::AmqpError,
    node::{LinkSource, OutgoingMessage},
    outcome::Outcome,
};

/// Answers to requests, which wait for the peer to take them.
#[derive(Default)]
pub(crate) struct Replies {
    waiting: Mutex<VecDeque<Bytes>>,
    arrived: Notify,
}

impl Replies {
    pub(crate) fn push(&self, reply: Bytes) {
        let mut waiting = self.lock();
        // A peer that never takes its answers loses the oldest.
        if waiting.len() == MAX_WAITING {
            waiting.pop_front();
        }
        waiting.push_back(reply);
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Bytes>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LinkSource for Replies {
    fn next(&self) -> BoxFuture<'_, Result<OutgoingMessage, AmqpError>> {
        Box::pin(async move {
            loop {
                if let Some(payload) = self.lock().pop_front() {
                    let tag = Uuid::new_v4();
                    return Ok(OutgoingMessage { tag, payload });
                }
                self.arrived.notified().await;
            }
        })
    }

    /// An answer that was not accepted is not given again: its request has long been settled.
    fn settle(&self, _: Uuid, _: Outcome) -> Result<(), AmqpError> {
        Ok(())
    }
}

const MAX_WAITING: usize = 100;

use std::sync::Arc;

use iothub_core::amqp::{AmqpError, AmqpScope};
use tokio::sync::watch;

/// The end of a connection or link: that it came, and why. The first reason stays.
#[derive(Clone, Debug)]
pub(crate) struct End(Arc<watch::Sender<Option<AmqpError>>>);

/// Held by the task whose end it is, so that a task which is killed has an end as well.
#[derive(Debug)]
pub(crate) struct Ending {
    end: End,
    scope: AmqpScope,
}

impl End {
    pub(crate) fn new(scope: AmqpScope) -> (Self, Ending) {
        let end = Self(Arc::new(watch::Sender::new(None)));
        let ending = Ending {
            end: end.clone(),
            scope,
        };
        (end, ending)
    }

    /// The reason, if the end has come.
    pub(crate) fn reason(&self) -> Option<AmqpError> {
        self.0.borrow().clone()
    }

    /// Waits for the end.
    pub(crate) async fn reached(&self) -> AmqpError {
        let mut reason = self.0.subscribe();
        let reached = reason.wait_for(Option::is_some).await.map(|reason| reason.clone());
        match reached {
            Ok(Some(reason)) => reason,
            // The other half of the channel is in `self`.
            _ => std::future::pending().await,
        }
    }
}

impl Ending {
    pub(crate) fn set(&self, reason: AmqpError) {
        self.end.0.send_if_modified(|stands| match stands {
            Some(_) => false,
            None => {
                *stands = Some(reason);
                true
            }
        });
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.set(AmqpError::new(self.scope).with_description("the task that served it was stopped"));
    }
}

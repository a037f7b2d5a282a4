use std::{fmt, ops::Deref};

use azure_core::http::{Context, Method};
use iothub_core::{
    HubPipeline, OperationClass, Result,
    amqp::{HubDelivery, Settlement},
};

/// Something that the hub has handed over and keeps until it is told what became of it.
///
/// It is locked for its receiver for a minute, or what the hub is configured to. When the lock runs out, the link ends or
/// the delivery is dropped, it comes again, after ten times (feedback) or a hundred (file notifications) no more.
#[must_use = "what is not completed comes again"]
pub struct Delivery<T> {
    /// What was delivered. It is also what a delivery dereferences to.
    pub item: T,
    lock: Lock,
}

enum Lock {
    Amqp(HubDelivery),
    Http { hub: HubPipeline, token: String },
}

impl<T> Delivery<T> {
    pub(crate) fn over_amqp(item: T, mut delivery: HubDelivery) -> Self {
        delivery.message = Default::default();
        Self {
            item,
            lock: Lock::Amqp(delivery),
        }
    }

    pub(crate) fn over_http(item: T, hub: HubPipeline, token: String) -> Self {
        Self {
            item,
            lock: Lock::Http { hub, token },
        }
    }

    /// Whether the hub still takes it for handed over, as far as is known.
    pub(crate) fn is_ours(&self) -> bool {
        match &self.lock {
            Lock::Amqp(delivery) => delivery.is_ours(),
            Lock::Http { .. } => true,
        }
    }

    /// Tells the hub that it is done with. It does not come again.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::DeviceMessageLockLost`](iothub_core::HubErrorCode::DeviceMessageLockLost) if the link has ended, or
    /// over HTTPS if the lock has run out: it comes again, whoever receives next. Over AMQP the hub does not answer, so
    /// that what was locked for too long comes again without a word.
    #[doc(alias = "CompleteAsync")]
    pub async fn complete(self) -> Result<()> {
        match self.lock {
            Lock::Amqp(delivery) => delivery.settle(Settlement::Accepted).await,
            Lock::Http { hub, token } => {
                let request = hub.request(Method::Delete, &["messages", "serviceBound", "feedback", &token])?;
                hub.send(&Context::new(), request).await.map(drop)
            }
        }
    }

    /// Gives it back. It comes again, here or to another receiver.
    ///
    /// # Errors
    ///
    /// As for [`complete`](Self::complete).
    #[doc(alias = "AbandonAsync")]
    pub async fn abandon(self) -> Result<()> {
        match self.lock {
            Lock::Amqp(delivery) => delivery.settle(Settlement::Released).await,
            Lock::Http { hub, token } => {
                let path = ["messages", "serviceBound", "feedback", &token, "abandon"];
                // What is given back twice is given back.
                let request = hub.request(Method::Post, &path)?.class(OperationClass::Idempotent);
                hub.send(&Context::new(), request).await.map(drop)
            }
        }
    }
}

impl<T> Deref for Delivery<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T: fmt::Debug> fmt::Debug for Delivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("item", &self.item)
            .finish_non_exhaustive()
    }
}

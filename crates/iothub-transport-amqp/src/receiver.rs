use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use azure_core::{Error, Result, error::ErrorKind};
use bytes::Bytes;
use fe2o3_amqp::{
    Delivery, Receiver,
    link::{LinkStateError, ReceiverDisposer, RecvError, delivery::DeliveryInfo},
    session::SessionHandle,
};
use fe2o3_amqp_types::definitions::{self, AmqpError as Condition};
use iothub_core::amqp::{AmqpDelivery, AmqpError, AmqpReceiver, AmqpScope, AmqpSettler, DeliveryTag, Settlement};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    end::{End, Ending},
    fault,
    message::{EngineBody, from_message},
    sender::{DETACH_TIMEOUT, whole_reason},
};

/// An attached receiver. A task owns the engine's side of it: it takes what comes, and tops the credit up.
#[derive(Debug)]
pub(crate) struct Fe2o3Receiver {
    deliveries: mpsc::Receiver<Result<AmqpDelivery>>,
    settler: Arc<Settler>,
}

#[derive(Debug)]
struct Settler {
    unsettled: Arc<Unsettled>,
    disposer: ReceiverDisposer,
    /// What the engine's disposer cannot do.
    rejections: mpsc::Sender<Rejection>,
    end: End,
}

/// What was delivered and waits to be settled.
#[derive(Debug, Default)]
struct Unsettled {
    deliveries: Mutex<HashMap<Bytes, DeliveryInfo>>,
    /// How many came that could not be read and that the application has not heard of: they take as much room.
    untold: AtomicUsize,
    /// That there is less of either.
    settled: Notify,
}

#[derive(Debug)]
struct Rejection {
    info: DeliveryInfo,
    reply: oneshot::Sender<Result<()>>,
}

impl Fe2o3Receiver {
    /// Takes over a link to which `credit` has just been granted.
    pub(crate) fn new(link: Receiver, session: SessionHandle<()>, credit: u32, connection: End) -> Self {
        // No more than the credit is ever unsettled, so this channel has room for all that comes.
        let room = usize::try_from(credit).unwrap_or(usize::MAX).min(MAX_ROOM);
        let (inbox, deliveries) = mpsc::channel(room);
        let (rejections, rejected) = mpsc::channel(REJECTIONS);
        let (end, ending) = End::new(AmqpScope::Link);
        let unsettled = Arc::new(Unsettled::default());
        let settler = Settler {
            unsettled: unsettled.clone(),
            disposer: link.disposer(),
            rejections,
            end,
        };
        let server = Server {
            link,
            inbox,
            unsettled,
            credit: Credit {
                limit: credit,
                left: credit,
            },
        };
        tokio::spawn(server.serve(session, connection, rejected, ending));
        Self {
            deliveries,
            settler: Arc::new(settler),
        }
    }
}

#[async_trait]
impl AmqpReceiver for Fe2o3Receiver {
    async fn recv(&mut self) -> Result<AmqpDelivery> {
        match self.deliveries.recv().await {
            Some(Ok(delivery)) => Ok(delivery),
            Some(Err(unreadable)) => {
                self.settler.unsettled.tell();
                Err(unreadable)
            }
            None => Err(self.settler.end.reached().await.into()),
        }
    }

    fn settler(&self) -> Arc<dyn AmqpSettler> {
        self.settler.clone()
    }
}

#[async_trait]
impl AmqpSettler for Settler {
    async fn settle(&self, tag: &DeliveryTag, settlement: Settlement) -> Result<()> {
        if let Some(reason) = self.end.reason() {
            return Err(fault::not_sent(reason));
        }
        let Some(info) = self.unsettled.deliveries().remove(&tag.0) else {
            let message = "no delivery of this tag waits to be settled: it is of another link, or was settled before";
            return Err(Error::with_message(ErrorKind::Other, message));
        };
        // Outside of tokio's budget nothing makes the engine wait, whose queue has room for more than a window.
        let disposed = match settlement {
            Settlement::Accepted => tokio::task::unconstrained(self.disposer.accept(info)).await,
            Settlement::Released => tokio::task::unconstrained(self.disposer.release(info)).await,
            Settlement::Rejected => return self.reject(info).await,
            other => {
                self.unsettled.deliveries().insert(tag.0.clone(), info);
                let message = format!("this transport does not know the settlement {other:?}");
                return Err(Error::with_message(ErrorKind::Other, message));
            }
        };
        self.unsettled.settled.notify_one();
        disposed.map_err(|error| fault::not_sent(fault::of_link_use(error)))
    }
}

impl Settler {
    async fn reject(&self, info: DeliveryInfo) -> Result<()> {
        let (reply, settled) = oneshot::channel();
        if self.rejections.send(Rejection { info, reply }).await.is_ok()
            && let Ok(outcome) = settled.await
        {
            return outcome;
        }
        Err(fault::not_sent(self.end.reached().await))
    }
}

impl Unsettled {
    fn count(&self) -> usize {
        self.deliveries().len() + self.untold.load(Ordering::Relaxed)
    }

    /// The application hears of one that could not be read.
    fn tell(&self) {
        self.untold.fetch_sub(1, Ordering::Relaxed);
        self.settled.notify_one();
    }

    fn deliveries(&self) -> MutexGuard<'_, HashMap<Bytes, DeliveryInfo>> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Server {
    link: Receiver,
    inbox: mpsc::Sender<Result<AmqpDelivery>>,
    unsettled: Arc<Unsettled>,
    credit: Credit,
}

impl Server {
    async fn serve(
        mut self,
        mut session: SessionHandle<()>,
        connection: End,
        mut rejected: mpsc::Receiver<Rejection>,
        ending: Ending,
    ) {
        let unsettled = self.unsettled.clone();
        let fault = loop {
            let step = tokio::select! {
                biased;
                () = self.inbox.closed() => break None,
                Some(rejection) = rejected.recv() => self.reject(rejection).await,
                () = unsettled.settled.notified() => Ok(()),
                received = self.link.recv::<EngineBody>() => self.received(received).await,
            };
            let step = match step {
                Ok(()) => self.top_up().await,
                fault => fault,
            };
            if let Err(fault) = step {
                break Some(fault);
            }
        };
        let Self { link, inbox, .. } = self;
        let reason = match fault {
            Some(fault) => {
                let reason = whole_reason(fault, &connection).await;
                if reason.scope > AmqpScope::Link {
                    ending.set(reason);
                    return;
                }
                reason
            }
            None => fault::text(AmqpScope::Link, "it was dropped"),
        };
        ending.set(reason);
        drop((inbox, rejected));
        // Dropped without a detach, it would end the session at the next message that was on its way.
        let detaching = async {
            drop(link.close().await);
            drop(session.end().await);
        };
        drop(tokio::time::timeout(DETACH_TIMEOUT, detaching).await);
    }

    async fn received(&mut self, received: std::result::Result<Delivery<EngineBody>, RecvError>) -> Step {
        let delivery = match received {
            Ok(delivery) => {
                let (info, message) = delivery.into_parts();
                let tag = Bytes::copy_from_slice(info.delivery_tag());
                self.unsettled.deliveries().insert(tag.clone(), info);
                Ok(AmqpDelivery {
                    tag: DeliveryTag(tag),
                    message: from_message(message),
                })
            }
            Err(RecvError::MessageDecode(error)) => {
                let why = format!("it cannot be decoded: {}", error.source);
                let refusal = definitions::Error::new(Condition::DecodeError, why.clone(), None);
                self.link
                    .reject(error.info, refusal)
                    .await
                    .map_err(fault::of_link_use)?;
                self.unsettled.untold.fetch_add(1, Ordering::Relaxed);
                Err(AmqpError::new(AmqpScope::Message)
                    .with_condition("amqp:decode-error", why)
                    .into())
            }
            Err(RecvError::LinkStateError(error)) => return Err(fault::of_link(error)),
            Err(error) => return Err(fault::of_link(LinkStateError::IllegalState).with_description(error.to_string())),
        };
        self.credit.left = self.credit.left.saturating_sub(1);
        // The hub cannot fill the channel without more credit than it has, which the engine does not let through.
        drop(self.inbox.try_send(delivery));
        Ok(())
    }

    async fn reject(&mut self, rejection: Rejection) -> Step {
        let Rejection { info, reply } = rejection;
        match self.link.reject(info, None).await {
            Ok(()) => {
                drop(reply.send(Ok(())));
                Ok(())
            }
            Err(error) => {
                let fault = fault::of_link_use(error);
                drop(reply.send(Err(fault::not_sent(fault.clone()))));
                Err(fault)
            }
        }
    }

    async fn top_up(&mut self) -> Step {
        match self.credit.due(self.unsettled.count()) {
            Some(credit) => self.link.set_credit(credit).await.map_err(fault::of_link_use),
            None => Ok(()),
        }
    }
}

/// What became of the link with a step. An error ends it.
type Step = std::result::Result<(), AmqpError>;

/// How many messages may come.
#[derive(Debug)]
struct Credit {
    /// How many may be unsettled or on their way together.
    limit: u32,
    /// How many more the hub may send.
    left: u32,
}

impl Credit {
    /// The credit to grant now, if it is worth a frame: when half of the limit has been settled, or when nothing could
    /// come without it.
    fn due(&mut self, unsettled: usize) -> Option<u32> {
        let unsettled = u32::try_from(unsettled).unwrap_or(u32::MAX);
        let full = self.limit.saturating_sub(unsettled);
        let gain = full.saturating_sub(self.left);
        let is_due = gain > 0 && (self.left == 0 || gain >= self.limit.div_ceil(2));
        is_due.then(|| {
            self.left = full;
            full
        })
    }
}

/// What tokio lets a channel hold.
const MAX_ROOM: usize = tokio::sync::Semaphore::MAX_PERMITS;
const REJECTIONS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_follows_what_was_settled_and_never_what_was_received() {
        let mut credit = Credit { limit: 4, left: 4 };
        credit.left = 0;
        assert_eq!(credit.due(4), None, "four wait for the application");
        assert_eq!(credit.due(3), Some(1), "one was settled, and nothing could come");
        assert_eq!(
            credit.due(2),
            None,
            "one is still to come, and one more is not worth a frame"
        );
        assert_eq!(credit.due(1), Some(3), "half of the limit was settled");
        assert_eq!(credit.due(1), None);
        credit.left = 0;
        assert_eq!(credit.due(0), Some(4));
    }
}

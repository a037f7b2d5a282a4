use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{Error, Result, error::ErrorKind};
use fe2o3_amqp::{
    Sender,
    link::{SendError, delivery::DeliveryFut},
    session::SessionHandle,
};
use fe2o3_amqp_types::messaging;
use iothub_core::amqp::{AmqpError, AmqpMessage, AmqpScope, AmqpSender, Outcome, Receipt};
use tokio::sync::{Mutex, Notify, oneshot};

use crate::{
    end::{End, Ending},
    fault,
    message::into_message,
    value::{from_fields, unwritable},
};

/// An attached sender. Callers take turns at the engine's side of it, in their order, so that what they have to send goes
/// out together. A task watches over it between turns, and ends it.
#[derive(Debug)]
pub(crate) struct Fe2o3Sender {
    link: Arc<Link>,
    end: End,
    /// The link is detached when this is dropped.
    _in_use: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Link {
    engine: Mutex<Engine>,
    /// That a turn has ended.
    turned: Notify,
}

#[derive(Debug)]
struct Engine {
    /// `None` once the link has ended.
    sender: Option<Sender>,
    /// What a caller has met with.
    fault: Option<AmqpError>,
}

/// Tells the end of a turn. It has to be dropped after the lock, which is to say made before it.
struct Turn<'a>(&'a Notify);

/// The engine's receipt.
type Settling = DeliveryFut<std::result::Result<messaging::Outcome, SendError>>;

impl Fe2o3Sender {
    pub(crate) fn new(sender: Sender, session: SessionHandle<()>, connection: End) -> Self {
        let link = Arc::new(Link {
            engine: Mutex::new(Engine {
                sender: Some(sender),
                fault: None,
            }),
            turned: Notify::new(),
        });
        let (end, ending) = End::new(AmqpScope::Link);
        let (in_use, unused) = oneshot::channel();
        tokio::spawn(watch(link.clone(), session, connection, unused, ending));
        Self {
            link,
            end,
            _in_use: in_use,
        }
    }
}

#[async_trait]
impl AmqpSender for Fe2o3Sender {
    async fn send(&self, message: AmqpMessage) -> Result<Receipt> {
        let message = into_message(message)?;
        {
            let _turn = Turn(&self.link.turned);
            let mut engine = self.link.engine.lock().await;
            if let Some(sender) = &mut engine.sender {
                // The engine waits for credit first; from then on nothing makes it wait: its queue has room for more
                // frames than a window does, and outside of tokio's budget it is not interrupted. So it can be given up
                // while it waits, and has then written nothing.
                let sending = tokio::task::unconstrained(sender.send_batchable(message));
                let sent = tokio::select! {
                    biased;
                    sent = sending => sent,
                    reason = self.end.reached() => return Err(fault::not_sent(reason)),
                };
                match sent {
                    Ok(settling) => return Ok(Receipt::new(settled(settling, self.end.clone()))),
                    Err(SendError::LinkStateError(error)) => engine.fault = Some(fault::of_link(error)),
                    Err(error) => return Err(refusal(error)),
                }
            }
        }
        Err(fault::not_sent(self.end.reached().await))
    }

    async fn detached(&self) -> AmqpError {
        self.end.reached().await
    }
}

impl Link {
    /// Waits for the end of the link. Whoever has the engine waits for it as well, and tells when the turn is over.
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<AmqpError> {
        let Ok(mut engine) = self.engine.try_lock() else {
            return Poll::Pending;
        };
        if let Some(fault) = engine.fault.take() {
            return Poll::Ready(fault);
        }
        match &mut engine.sender {
            Some(sender) => pin!(sender.on_detach()).poll(cx).map(fault::of_detach),
            None => Poll::Pending,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Ends the link when the hub does, the connection does, or nobody uses it any more.
async fn watch(
    link: Arc<Link>,
    mut session: SessionHandle<()>,
    connection: End,
    mut unused: oneshot::Receiver<()>,
    ending: Ending,
) {
    let mut broken = pin!(connection.reached());
    let fault = loop {
        tokio::select! {
            biased;
            fault = poll_fn(|cx| link.poll_end(cx)) => break Some(fault),
            _ = &mut unused => break None,
            fault = &mut broken => break Some(fault),
            // The engine wakes only whoever has asked it last.
            () = link.turned.notified() => {}
        }
    };
    match fault {
        Some(fault) => {
            let reason = whole_reason(fault, &connection).await;
            let is_over = reason.scope > AmqpScope::Link;
            ending.set(reason);
            // Receipts resolve when the engine's side is dropped, after they can know the reason.
            drop(link.engine.lock().await.sender.take());
            if !is_over {
                drop(tokio::time::timeout(DETACH_TIMEOUT, session.end()).await);
            }
        }
        None => {
            let sender = link.engine.lock().await.sender.take();
            let detaching = async {
                if let Some(sender) = sender {
                    drop(sender.close().await);
                }
                ending.set(fault::text(AmqpScope::Link, "it was dropped"));
                drop(session.end().await);
            };
            drop(tokio::time::timeout(DETACH_TIMEOUT, detaching).await);
        }
    }
}

/// The engine tells a link that the connection stopped, and only the connection why.
pub(crate) async fn whole_reason(fault: AmqpError, connection: &End) -> AmqpError {
    match (fault.scope, &fault.condition) {
        (AmqpScope::Connection, None) => connection.reached().await,
        _ => fault,
    }
}

async fn settled(settling: Settling, end: End) -> Result<Outcome> {
    match settling.await {
        Ok(outcome) => Ok(into_outcome(outcome)),
        Err(error) => Err(match error {
            SendError::LinkStateError(error) => end.reason().unwrap_or_else(|| fault::of_link(error)).into(),
            SendError::Detached(error) => end.reason().unwrap_or_else(|| fault::of_detach(error)).into(),
            other => {
                let fault = fault::text(
                    AmqpScope::Message,
                    format!("it was settled without an outcome: {other}"),
                );
                Error::new(ErrorKind::Io, fault)
            }
        }),
    }
}

fn into_outcome(outcome: messaging::Outcome) -> Outcome {
    match outcome {
        messaging::Outcome::Accepted(_) => Outcome::Accepted,
        messaging::Outcome::Rejected(rejected) => match rejected.error {
            Some(error) => Outcome::Rejected {
                condition: Some(fault::condition(error.condition)),
                description: error.description,
                info: error.info.map(|info| from_fields(*info)).unwrap_or_default(),
            },
            None => Outcome::Rejected {
                condition: None,
                description: None,
                info: Vec::new(),
            },
        },
        messaging::Outcome::Released(_) => Outcome::Released,
        messaging::Outcome::Modified(modified) => Outcome::Modified {
            undeliverable_here: modified.undeliverable_here.unwrap_or(false),
        },
    }
}

/// Why a message was not even tried.
fn refusal(error: SendError) -> Error {
    match error {
        SendError::MessageSizeExceeded(exceeded) => {
            let why = format!(
                "it has {} bytes, and the hub takes {} on this link",
                exceeded.size, exceeded.max_size
            );
            AmqpError::new(AmqpScope::Message)
                .with_condition("amqp:link:message-size-exceeded", why)
                .into()
        }
        SendError::Detached(error) => fault::not_sent(fault::of_detach(error)),
        other => unwritable(&other.to_string()),
    }
}

pub(crate) const DETACH_TIMEOUT: Duration = Duration::from_secs(5);

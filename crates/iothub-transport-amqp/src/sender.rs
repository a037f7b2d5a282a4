use std::time::Duration;

use async_trait::async_trait;
use azure_core::{Error, Result, error::ErrorKind};
use fe2o3_amqp::{
    Sender,
    link::{SendError, delivery::DeliveryFut},
    session::SessionHandle,
};
use fe2o3_amqp_types::messaging;
use iothub_core::amqp::{AmqpError, AmqpMessage, AmqpScope, AmqpSender, Outcome, Receipt};
use tokio::sync::{mpsc, oneshot};

use crate::{
    end::{End, Ending},
    fault,
    message::{EngineMessage, into_message},
    value::{from_fields, unwritable},
};

/// An attached sender. A task owns the engine's side of it, so that messages from many callers go out in order and a
/// caller that gives up leaves no message half written.
#[derive(Debug)]
pub(crate) struct Fe2o3Sender {
    outbox: mpsc::Sender<Parcel>,
    end: End,
}

struct Parcel {
    message: EngineMessage,
    reply: oneshot::Sender<Result<Settling>>,
}

/// The engine's receipt.
type Settling = DeliveryFut<std::result::Result<messaging::Outcome, SendError>>;

impl Fe2o3Sender {
    pub(crate) fn new(link: Sender, session: SessionHandle<()>, connection: End) -> Self {
        let (outbox, parcels) = mpsc::channel(OUTBOX);
        let (end, ending) = End::new(AmqpScope::Link);
        tokio::spawn(serve(link, session, connection, parcels, ending));
        Self { outbox, end }
    }
}

#[async_trait]
impl AmqpSender for Fe2o3Sender {
    async fn send(&self, message: AmqpMessage) -> Result<Receipt> {
        let message = into_message(message)?;
        let (reply, handed_over) = oneshot::channel();
        if self.outbox.send(Parcel { message, reply }).await.is_ok()
            && let Ok(settling) = handed_over.await
        {
            return Ok(Receipt::new(settled(settling?, self.end.clone())));
        }
        Err(fault::not_sent(self.end.reached().await))
    }

    async fn detached(&self) -> AmqpError {
        self.end.reached().await
    }
}

async fn serve(
    mut link: Sender,
    mut session: SessionHandle<()>,
    connection: End,
    mut parcels: mpsc::Receiver<Parcel>,
    ending: Ending,
) {
    let fault = loop {
        let parcel = tokio::select! {
            biased;
            error = link.on_detach() => break Some(fault::of_detach(error)),
            parcel = parcels.recv() => parcel,
        };
        let Some(Parcel { message, mut reply }) = parcel else {
            break None;
        };
        // The engine waits for credit first; from then on nothing makes it wait: its queue has room for more frames than
        // a window does, and outside of tokio's budget it is not interrupted. So it can be given up while it waits, and
        // has then written nothing.
        let sending = tokio::task::unconstrained(link.send_batchable(message));
        let sent = tokio::select! {
            biased;
            sent = sending => sent,
            () = reply.closed() => continue,
        };
        match sent {
            Ok(settling) => drop(reply.send(Ok(settling))),
            Err(SendError::LinkStateError(error)) => {
                let fault = fault::of_link(error);
                drop(reply.send(Err(fault::not_sent(fault.clone()))));
                break Some(fault);
            }
            Err(error) => drop(reply.send(Err(refusal(error)))),
        }
    };
    match fault {
        Some(fault) => {
            let reason = whole_reason(fault, &connection).await;
            let is_over = reason.scope > AmqpScope::Link;
            ending.set(reason);
            // Receipts resolve when the engine's side is dropped, after they can know the reason.
            drop(link);
            if !is_over {
                drop(tokio::time::timeout(DETACH_TIMEOUT, session.end()).await);
            }
        }
        None => {
            let detaching = async {
                drop(link.close().await);
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

/// Callers wait here for the link, each with one message.
const OUTBOX: usize = 64;
pub(crate) const DETACH_TIMEOUT: Duration = Duration::from_secs(5);

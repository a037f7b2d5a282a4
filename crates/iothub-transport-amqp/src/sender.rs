use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{Error, Result, error::ErrorKind};
use fe2o3_amqp::{
    Sendable, Sender,
    link::{SendError, delivery::DeliveryFut},
    session::SessionHandle,
};
use fe2o3_amqp_types::messaging;
use iothub_core::amqp::{AmqpError, AmqpMessage, AmqpScope, AmqpSender, Outcome, Receipt};
use tokio::sync::{Notify, oneshot};

use crate::{
    end::{End, Ending},
    fault,
    message::{EngineBody, into_message},
    value::{from_fields, unwritable},
};

/// An attached sender. Whoever sends hands the message to the engine itself, so that what a caller has to send goes out
/// together. A task has the rest: it waits for credit in place of the callers, watches over the link, and ends it.
pub(crate) struct Fe2o3Sender {
    link: Arc<Link>,
    end: End,
    /// The link is detached when this is dropped.
    _in_use: oneshot::Sender<()>,
}

struct Link {
    engine: Mutex<Engine>,
    /// That somebody had the engine, or waits for it.
    used: Notify,
}

/// The engine's side. Nobody keeps the lock while waiting for something.
struct Engine {
    /// `None` while the task has it, and once the link has ended.
    sender: Option<Sender>,
    /// What there was no credit for, and what came after it.
    waiting: VecDeque<Parcel>,
    /// What a caller has met with first.
    fault: Option<AmqpError>,
    is_over: bool,
}

struct Parcel {
    message: Sendable<EngineBody>,
    reply: oneshot::Sender<Result<Settling>>,
}

/// The engine's receipt.
type Settling = DeliveryFut<std::result::Result<messaging::Outcome, SendError>>;

impl Fe2o3Sender {
    pub(crate) fn new(sender: Sender, session: SessionHandle<()>, connection: End) -> Self {
        let link = Arc::new(Link {
            engine: Mutex::new(Engine {
                sender: Some(sender),
                waiting: VecDeque::new(),
                fault: None,
                is_over: false,
            }),
            used: Notify::new(),
        });
        let (end, ending) = End::new(AmqpScope::Link);
        let (in_use, unused) = oneshot::channel();
        tokio::spawn(serve(link.clone(), session, connection, unused, ending));
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
        let message = into_message(message)?.into();
        // Sending to a link with credit waits for nothing, but others have a turn now and then.
        tokio::task::coop::consume_budget().await;
        let handed_over = match self.link.hand_over(message) {
            HandedOver::Sent(settling) => Some(settling?),
            HandedOver::Waits(reply) => match reply.await {
                Ok(settling) => Some(settling?),
                Err(_) => None,
            },
            HandedOver::Over => None,
        };
        match handed_over {
            Some(settling) => Ok(Receipt::new(settled(settling, self.end.clone()))),
            None => Err(fault::not_sent(self.end.reached().await)),
        }
    }

    async fn detached(&self) -> AmqpError {
        self.end.reached().await
    }
}

impl fmt::Debug for Fe2o3Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fe2o3Sender")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// What became of a message.
enum HandedOver {
    Sent(Result<Settling>),
    Waits(oneshot::Receiver<Result<Settling>>),
    Over,
}

impl Link {
    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_over(&self, message: Sendable<EngineBody>) -> HandedOver {
        let mut engine = self.engine();
        if engine.is_over || engine.fault.is_some() {
            return HandedOver::Over;
        }
        let sent = engine.send_now(&message);
        let outcome = match sent {
            Some(Ok(settling)) => HandedOver::Sent(Ok(settling)),
            Some(Err(SendError::LinkStateError(error))) => {
                engine.fault = Some(fault::of_link(error));
                HandedOver::Over
            }
            Some(Err(error)) => HandedOver::Sent(Err(refusal(error))),
            None => {
                let (reply, handed_over) = oneshot::channel();
                engine.waiting.push_back(Parcel { message, reply });
                HandedOver::Waits(handed_over)
            }
        };
        drop(engine);
        self.used.notify_one();
        outcome
    }

    /// Waits for the end of the link, as far as the engine sees it by itself.
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<AmqpError> {
        let mut engine = self.engine();
        if let Some(fault) = &engine.fault {
            return Poll::Ready(fault.clone());
        }
        match &mut engine.sender {
            Some(sender) => pin!(sender.on_detach()).poll(cx).map(fault::of_detach),
            None => Poll::Pending,
        }
    }

    /// Sends what waits, in its order. An error is the end of the link, or that of the connection, which is `broken` then.
    async fn send_waiting(
        &self,
        broken: &mut (impl Future<Output = AmqpError> + Unpin),
    ) -> std::result::Result<(), AmqpError> {
        loop {
            let Some((mut sender, parcel)) = self.engine().next() else {
                return Ok(());
            };
            let Parcel { message, mut reply } = parcel;
            let sent = tokio::select! {
                biased;
                sent = send_with_credit(&mut sender, &message) => Ok(Some(sent)),
                () = reply.closed() => Ok(None),
                fault = &mut *broken => Err(fault),
            };
            self.engine().sender = Some(sender);
            match sent? {
                Some(Ok(settling)) => drop(reply.send(Ok(settling))),
                Some(Err(SendError::LinkStateError(error))) => return Err(fault::of_link(error)),
                Some(Err(error)) => drop(reply.send(Err(refusal(error)))),
                None => {}
            }
        }
    }

    /// Takes the engine's side away for good. Whoever waits for it is told that the link has ended.
    fn end(&self) -> Option<Sender> {
        let mut engine = self.engine();
        engine.is_over = true;
        engine.waiting.clear();
        engine.sender.take()
    }
}

impl Engine {
    /// What waits longest, and what sends it.
    fn next(&mut self) -> Option<(Sender, Parcel)> {
        match self.waiting.is_empty() {
            true => None,
            false => Some((self.sender.take()?, self.waiting.pop_front()?)),
        }
    }

    /// Sends a message if nothing makes it wait.
    ///
    /// The engine waits for credit first; from then on nothing holds it up: its queue has room for more frames than a
    /// window does, and outside of tokio's budget it is not interrupted. So what is given up has written nothing.
    fn send_now(&mut self, message: &Sendable<EngineBody>) -> Option<std::result::Result<Settling, SendError>> {
        if !self.waiting.is_empty() {
            return None;
        }
        let sending = tokio::task::unconstrained(self.sender.as_mut()?.send_batchable_ref(message));
        match pin!(sending).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(sent) => Some(sent),
            Poll::Pending => None,
        }
    }
}

/// Sends a message when there is credit. The engine can miss that there is, so it is asked again from time to time.
async fn send_with_credit(
    sender: &mut Sender,
    message: &Sendable<EngineBody>,
) -> std::result::Result<Settling, SendError> {
    loop {
        let sending = tokio::task::unconstrained(sender.send_batchable_ref(message));
        if let Ok(sent) = tokio::time::timeout(MISSED_CREDIT, sending).await {
            return sent;
        }
    }
}

/// Sends what has to wait, and ends the link when the hub does, the connection does, or nobody uses it any more.
async fn serve(
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
            () = link.used.notified() => {}
        }
        if let Err(fault) = link.send_waiting(&mut broken).await {
            break Some(fault);
        }
    };
    match fault {
        Some(fault) => {
            let reason = whole_reason(fault, &connection).await;
            let is_over = reason.scope > AmqpScope::Link;
            ending.set(reason);
            // Receipts resolve when the engine's side is dropped, after they can know the reason.
            drop(link.end());
            if !is_over {
                drop(tokio::time::timeout(DETACH_TIMEOUT, session.end()).await);
            }
        }
        None => {
            ending.set(fault::text(AmqpScope::Link, "it was dropped"));
            let detaching = async {
                if let Some(sender) = link.end() {
                    drop(sender.close().await);
                }
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
            SendError::LinkStateError(error) => known(fault::of_link(error), &end).into(),
            SendError::Detached(error) => known(fault::of_detach(error), &end).into(),
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

/// What the peer said, wherever it is known from.
fn known(fault: AmqpError, end: &End) -> AmqpError {
    match fault.condition {
        Some(_) => fault,
        None => end.reason().unwrap_or(fault),
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

/// How long credit may be there before it is looked for again.
const MISSED_CREDIT: Duration = Duration::from_secs(1);

pub(crate) const DETACH_TIMEOUT: Duration = Duration::from_secs(5);

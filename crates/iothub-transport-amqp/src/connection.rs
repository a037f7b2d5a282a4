use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{Error, Result, error::ErrorKind};
use fe2o3_amqp::{
    Receiver, Sender, Session,
    connection::{self, ConnectionHandle},
    link::{CreditMode, LinkStateError, RecvError},
    session::SessionHandle,
};
use iothub_core::amqp::{AmqpConnection, AmqpError, AmqpReceiver, AmqpScope, AmqpSender, ReceiverLink, SenderLink};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{
    AmqpOptions,
    attach_watch::{AttachWatch, Expected, Verdict},
    end::{End, Ending},
    fault,
    message::EngineBody,
    receiver::Fe2o3Receiver,
    sender::{Fe2o3Sender, whole_reason},
    value::into_fields,
    wire::Cut,
    within::within,
};

/// An open connection. A task owns the engine's side of it.
#[derive(Debug)]
pub(crate) struct Fe2o3Connection {
    requests: mpsc::Sender<Request>,
    watch: AttachWatch,
    end: End,
    limits: Arc<AmqpOptions>,
}

#[derive(Debug)]
enum Request {
    Begin(oneshot::Sender<Result<SessionHandle<()>>>),
    Close(oneshot::Sender<Result<()>>),
}

impl Fe2o3Connection {
    /// Takes over a connection that has just been opened on the wire that `cut` ends.
    pub(crate) fn new(handle: ConnectionHandle<()>, cut: Cut, watch: AttachWatch, limits: Arc<AmqpOptions>) -> Self {
        let (requests, asked) = mpsc::channel(16);
        let (end, ending) = End::new(AmqpScope::Connection);
        tokio::spawn(serve(handle, asked, ending, cut, limits.clone()));
        Self {
            requests,
            watch,
            end,
            limits,
        }
    }

    async fn begin(&self) -> Result<SessionHandle<()>> {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Request::Begin(reply)).await.is_ok() {
            match answer.await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(error)) => match AmqpError::of(&error).cloned() {
                    Some(fault) => return Err(self.not_attached(fault).await),
                    None => return Err(error),
                },
                Err(_) => {}
            }
        }
        Err(fault::not_sent(self.end.reached().await))
    }

    async fn not_attached(&self, fault: AmqpError) -> Error {
        fault::not_sent(whole_reason(fault, &self.end).await)
    }

    async fn attaching<T>(&self, address: &str, step: impl Future<Output = T>) -> Result<T> {
        within(
            self.limits.open_timeout,
            || format!("attaching a link to {address}"),
            step,
        )
        .await
    }

    /// Waits until the hub has granted the sender credit, which a hub does at once when it accepts one.
    async fn verdict(&self, expected: &mut Expected) -> Result<Verdict> {
        tokio::select! {
            verdict = expected.decided() => Ok(verdict),
            reason = self.end.reached() => Err(fault::not_sent(reason)),
            () = tokio::time::sleep(CREDIT_GRACE) => Ok(Verdict::Open),
        }
    }
}

#[async_trait]
impl AmqpConnection for Fe2o3Connection {
    async fn sender(&self, link: SenderLink) -> Result<Box<dyn AmqpSender>> {
        let SenderLink { address, properties } = link;
        let name = link_name();
        let mut session = self.begin().await?;
        let mut expected = self.watch.expect(&name);
        let builder = Sender::builder()
            .name(name)
            .target(address.as_str())
            .verify_incoming_target(false);
        let builder = match properties.is_empty() {
            true => builder,
            false => builder.properties(into_fields(properties)?),
        };
        let mut sender = match self.attaching(&address, builder.attach(&mut session)).await? {
            Ok(sender) => sender,
            Err(error) => return Err(self.not_attached(fault::of_sender_attach(error)).await),
        };
        match self.verdict(&mut expected).await? {
            Verdict::Refused => {
                let refusal = self.attaching(&address, sender.on_detach()).await?;
                Err(fault::not_sent(fault::of_detach(refusal)))
            }
            Verdict::Granted | Verdict::Open => Ok(Box::new(Fe2o3Sender::new(sender, session, self.end.clone()))),
        }
    }

    async fn receiver(&self, link: ReceiverLink) -> Result<Box<dyn AmqpReceiver>> {
        let ReceiverLink {
            address,
            credit,
            properties,
        } = link;
        if credit == 0 {
            let message = format!("a receiver of {address} with a credit of 0 would never receive; give it 1 or more");
            return Err(Error::with_message(ErrorKind::Other, message));
        }
        let name = link_name();
        let mut session = self.begin().await?;
        let expected = self.watch.expect(&name);
        let builder = Receiver::builder()
            .name(name)
            .source(address.as_str())
            .max_message_size(self.limits.max_message_bytes)
            .credit_mode(CreditMode::Manual)
            .verify_incoming_source(false)
            .verify_incoming_target(false);
        let builder = match properties.is_empty() {
            true => builder,
            false => builder.properties(into_fields(properties)?),
        };
        let mut receiver = match self.attaching(&address, builder.attach(&mut session)).await? {
            Ok(receiver) => receiver,
            Err(error) => return Err(self.not_attached(fault::of_receiver_attach(error)).await),
        };
        receiver
            .set_credit(credit)
            .await
            .map_err(|error| fault::not_sent(fault::of_link_use(error)))?;
        // A receiver that is accepted hears nothing until there is a message. What the hub has to say about the attach
        // it says before it answers what comes after, for which a session that nobody needs is the smallest question.
        drop(self.begin().await?);
        if expected.verdict() == Verdict::Refused {
            let refusal = self.attaching(&address, refusal(&mut receiver)).await?;
            return Err(fault::not_sent(refusal));
        }
        Ok(Box::new(Fe2o3Receiver::new(
            receiver,
            session,
            credit,
            self.end.clone(),
        )))
    }

    async fn closed(&self) -> AmqpError {
        self.end.reached().await
    }

    async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let asked = self.requests.send(Request::Close(reply)).await.is_ok();
        match answer.await {
            Ok(outcome) if asked => outcome,
            // It has ended by itself or was closed before.
            _ => Ok(()),
        }
    }
}

/// Owns the connection: begins sessions, notices the end, closes.
async fn serve(
    mut handle: ConnectionHandle<()>,
    mut asked: mpsc::Receiver<Request>,
    ending: Ending,
    cut: Cut,
    limits: Arc<AmqpOptions>,
) {
    loop {
        let request = tokio::select! {
            biased;
            outcome = handle.on_close() => {
                ending.set(fault::of_connection(outcome, cut.fault()));
                return;
            }
            request = asked.recv() => request,
        };
        match request {
            Some(Request::Begin(reply)) => {
                let session = begin(&mut handle, &limits).await;
                // Whoever asked may have gone; the session then ends by being dropped.
                drop(reply.send(session));
            }
            Some(Request::Close(reply)) => {
                let outcome = close(&mut handle, &cut, CLOSE_TIMEOUT).await;
                drop(cut);
                ending.set(fault::text(AmqpScope::Connection, "it was closed"));
                drop(reply.send(outcome));
                return;
            }
            None => {
                // Nobody waits for this goodbye.
                drop(close(&mut handle, &cut, DROP_TIMEOUT).await);
                drop(cut);
                ending.set(fault::text(AmqpScope::Connection, "it was dropped"));
                return;
            }
        }
    }
}

async fn begin(handle: &mut ConnectionHandle<()>, limits: &AmqpOptions) -> Result<SessionHandle<()>> {
    let builder = Session::builder()
        .incoming_window(limits.incoming_window)
        .outgoing_window(limits.outgoing_window);
    within(
        limits.open_timeout,
        || "beginning a session".to_owned(),
        builder.begin(handle),
    )
    .await?
    .map_err(|error| fault::not_sent(fault::of_begin(error)))
}

async fn close(handle: &mut ConnectionHandle<()>, cut: &Cut, limit: Duration) -> Result<()> {
    cut.close();
    let answer = within(
        limit,
        || "the hub's answer to the closing of the connection".to_owned(),
        handle.on_close(),
    );
    match answer.await? {
        Ok(()) | Err(connection::Error::RemoteClosed) => Ok(()),
        Err(error) => Err(fault::of_connection(Err(error), cut.fault()).into()),
    }
}

/// The detach that is known to be on its way. Messages that came before it are not settled, so they come again.
async fn refusal(receiver: &mut Receiver) -> AmqpError {
    loop {
        match receiver.recv::<EngineBody>().await {
            Err(RecvError::LinkStateError(error)) => return fault::of_link(error),
            Err(error) => return fault::of_link(LinkStateError::IllegalState).with_description(error.to_string()),
            Ok(_) => {}
        }
    }
}

/// Names are never used twice: a hub may still know a link by this name that this side has long given up.
fn link_name() -> String {
    format!("iothub-{}", Uuid::new_v4().simple())
}

/// Credit comes right behind the attach of a sender that is accepted. A hub that gives none for now has accepted it too.
const CREDIT_GRACE: Duration = Duration::from_secs(2);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
const DROP_TIMEOUT: Duration = Duration::from_millis(500);

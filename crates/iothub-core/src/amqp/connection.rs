use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use azure_core::{Error, Result, async_runtime::get_async_runtime, error::ErrorKind};
use futures::channel::{mpsc, oneshot};

use super::{
    AmqpTransport, CbsTokenSource, HubReceiver, HubSender, ReceiverLink, SenderLink,
    fault::{self, Fault},
    owner::{Command, Owner},
};
use crate::{
    CallFacts, HubHost,
    deadline::{Deadline, within},
};

/// An authorized AMQP connection to a hub that mends itself.
///
/// Nothing is opened before the first use. From then on one task owns the connection: it authorizes it over `$cbs` and
/// renews that in place before the token expires, makes anew what broke, link or connection, and waits between tries as
/// long as the hub's limits ask for. The links made here, [`HubSender`] and [`HubReceiver`], see only the outcome.
///
/// A clone is another handle to the same connection. When the last handle, sender and receiver is gone, so are the task
/// and the socket; [`close`](Self::close) ends it in order.
///
/// # Examples
///
/// ```no_run
/// # use std::{sync::Arc, time::Duration};
/// # use iothub_core::{HubHost, Result, amqp::*};
/// # async fn example(host: HubHost, transport: Arc<dyn AmqpTransport>, tokens: Arc<dyn CbsTokenSource>) -> Result<()> {
/// let connection = HubConnection::new(host, transport, tokens, HubConnectionOptions::default());
/// let sender = connection.sender(SenderLink { address: "/messages/devicebound".into(), ..Default::default() });
///
/// let message = AmqpMessage { to: Some("/devices/lamp/messages/devicebound".into()), ..Default::default() };
/// let receipt = sender.send(message, SendOptions::default()).await?;
/// receipt.await?;
/// connection.close().await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct HubConnection {
    shared: Arc<Shared>,
}

/// How long the steps of a [`HubConnection`] may take.
///
/// These are upper bounds for one try; what a single call may take in all is an option of the call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubConnectionOptions {
    /// Name resolution, TCP, TLS and the AMQP open together. 25 seconds.
    pub connect_timeout: Duration,
    /// Attaching a link. 15 seconds.
    pub attach_timeout: Duration,
    /// The answer to put-token, with making the links to `$cbs` where they are not there yet. 15 seconds.
    pub authorize_timeout: Duration,
    /// The goodbye of [`HubConnection::close`]. 5 seconds.
    pub close_timeout: Duration,
}

/// What all handles of a connection have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Arc<Config>,
    /// The way to the owner task, once there is one.
    commands: Mutex<Option<mpsc::UnboundedSender<Command>>>,
    is_closed: AtomicBool,
}

/// What the owner task and the handles both know.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) host: HubHost,
    pub(super) transport: Arc<dyn AmqpTransport>,
    pub(super) tokens: Arc<dyn CbsTokenSource>,
    pub(super) options: HubConnectionOptions,
    numbers: AtomicU64,
    /// What stands in the way at present, for those who run out of time.
    trouble: Mutex<Option<Fault>>,
}

impl HubConnection {
    /// A connection to `host` that is opened at first use.
    pub fn new(
        host: HubHost,
        transport: Arc<dyn AmqpTransport>,
        tokens: Arc<dyn CbsTokenSource>,
        options: HubConnectionOptions,
    ) -> Self {
        let config = Config {
            host,
            transport,
            tokens,
            options,
            numbers: AtomicU64::new(1),
            trouble: Mutex::new(None),
        };
        Self {
            shared: Arc::new(Shared {
                config: Arc::new(config),
                commands: Mutex::new(None),
                is_closed: AtomicBool::new(false),
            }),
        }
    }

    /// The hub.
    pub fn host(&self) -> &HubHost {
        &self.shared.config.host
    }

    /// Whether it may still be used.
    ///
    /// # Errors
    ///
    /// [`close`](Self::close) was called.
    pub fn check_open(&self) -> Result<()> {
        match self.shared.is_closed() {
            true => Err(fault::closed()),
            false => Ok(()),
        }
    }

    /// A sender, attached at its first use.
    pub fn sender(&self, link: SenderLink) -> HubSender {
        HubSender::new(Arc::clone(&self.shared), link)
    }

    /// A receiver, attached at its first use.
    pub fn receiver(&self, link: ReceiverLink) -> HubReceiver {
        HubReceiver::new(Arc::clone(&self.shared), link)
    }

    /// Opens and authorizes the connection now, so that the first call does not pay for it.
    ///
    /// # Errors
    ///
    /// The hub could not be reached within `deadline`, or refused the credential.
    pub async fn warm_up(&self, deadline: Duration) -> Result<()> {
        let mut timer = Deadline::after(deadline);
        let (reply, ready) = oneshot::channel();
        self.shared.command(Command::WarmUp { reply })?;
        match timer.bound(ready).await {
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(fault))) => Err(CallFacts::default().attach(fault.to_error())),
            Some(Err(oneshot::Canceled)) => Err(self.shared.gone()),
            None => Err(CallFacts::default().attach(self.shared.config.late(deadline))),
        }
    }

    /// Ends the connection: calls that are under way fail, the hub is told, and every later call is refused.
    ///
    /// Closing twice is the same as once.
    ///
    /// # Errors
    ///
    /// The hub did not answer in time or the connection broke; it is gone all the same.
    pub async fn close(&self) -> Result<()> {
        self.shared.is_closed.store(true, Ordering::Release);
        let (reply, done) = oneshot::channel();
        // Without a task there is nothing to close; and a task that has ended has left nothing open.
        if self.shared.try_command(Command::Close { reply }).is_err() {
            return Ok(());
        }
        // The task keeps to the same limit; the allowance is for its part of the work.
        let limit = self.shared.config.options.close_timeout + Duration::from_secs(1);
        match within(limit, done).await {
            Some(Ok(result)) => result,
            Some(Err(oneshot::Canceled)) => Ok(()),
            None => Err(Error::with_message(
                ErrorKind::Io,
                "the connection could not be closed in order within the time allowed for it",
            )),
        }
    }
}

impl Default for HubConnectionOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(25),
            attach_timeout: Duration::from_secs(15),
            authorize_timeout: Duration::from_secs(15),
            close_timeout: Duration::from_secs(5),
        }
    }
}

impl Shared {
    /// Tells the owner task, which is started if there is none.
    pub(super) fn command(&self, command: Command) -> Result<()> {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_closed() {
            return Err(fault::closed());
        }
        let command = match commands.as_ref() {
            Some(sender) => match sender.unbounded_send(command) {
                Ok(()) => return Ok(()),
                // The runtime that the task lived in is gone. The caller's is alive.
                Err(refused) => refused.into_inner(),
            },
            None => command,
        };
        let (sender, receiver) = mpsc::unbounded();
        let sent = sender.unbounded_send(command).is_ok();
        debug_assert!(sent, "the receiver is still here");
        // The task ends by itself when the last handle drops the sender.
        drop(get_async_runtime().spawn(Box::pin(Owner::new(Arc::clone(&self.config), receiver).run())));
        *commands = Some(sender);
        Ok(())
    }

    /// Tells the owner task, if there is one.
    pub(super) fn try_command(&self, command: Command) -> std::result::Result<(), Command> {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        match commands.as_ref() {
            Some(sender) => sender.unbounded_send(command).map_err(mpsc::TrySendError::into_inner),
            None => Err(command),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Why the owner task left a question unanswered.
    pub(super) fn gone(&self) -> Error {
        if self.is_closed() {
            return fault::closed();
        }
        Error::with_message(
            ErrorKind::Connection,
            "the task that owned the connection to the hub ended; another is started for the next call",
        )
    }
}

impl Config {
    /// A number that nothing else of this connection has.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn set_trouble(&self, fault: Option<&Fault>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = fault.cloned();
    }

    /// The error of a call for which there was no connection or link in all its time.
    pub(super) fn late(&self, deadline: Duration) -> Error {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let host = &self.host;
        match trouble {
            Some(fault) => {
                let message = format!("no link to {host} within {deadline:?}: {fault}");
                Error::with_error(ErrorKind::Connection, fault.to_error(), message)
            }
            None => Error::with_message(ErrorKind::Connection, format!("no link to {host} within {deadline:?}")),
        }
    }
}

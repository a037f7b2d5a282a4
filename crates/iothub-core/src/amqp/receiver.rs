use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use azure_core::{Error, Result, async_runtime::TaskFuture, error::ErrorKind};
use futures::{Stream, channel::oneshot, stream};

use super::{
    AmqpDelivery, AmqpMessage, AmqpSettler, DeliveryTag, ReceiverLink, Settlement,
    backoff::Backoff,
    connection::Shared,
    fault::{self, Fault},
    owner::Command,
    recovery::Role,
    slot::{AttachedReceiver, ReceiverReply},
};
use crate::{
    HubError, HubErrorCode,
    deadline::{sleep, within},
};

/// Receives messages over one link of a [`HubConnection`](super::HubConnection), which is made anew whenever it breaks.
///
/// It never falls silent: what [`next`](Self::next) yields is a message, an error, or a change of state. It goes on after
/// each of them, errors included, until the connection is closed by the application.
pub struct HubReceiver {
    id: u64,
    link: ReceiverLink,
    shared: Arc<Shared>,
    state: State,
    /// Counts the errors that the caller was told in a row, before each of which nothing worked.
    errors: Backoff,
}

/// What a receiver has to say.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all events are deliveries")]
#[non_exhaustive]
pub enum ReceiverEvent {
    /// The link is attached: messages can come.
    Connected,
    /// The link is gone or could not be attached yet, and is made anew.
    Reconnecting {
        /// Why.
        cause: Error,
    },
    /// A message.
    Delivery(HubDelivery),
}

/// A message that was received and is to be settled.
///
/// Dropped unsettled it stays locked for this receiver until the hub's lock runs out or the link ends, and is then
/// delivered again.
#[derive(Debug)]
pub struct HubDelivery {
    /// The message.
    pub message: AmqpMessage,
    tag: DeliveryTag,
    life: Arc<LinkLife>,
}

/// A link as its deliveries know it.
#[derive(Debug)]
struct LinkLife {
    is_over: AtomicBool,
    generation: u64,
    settler: Arc<dyn AmqpSettler>,
    shared: Arc<Shared>,
}

enum State {
    Detached,
    /// Lets some time pass after an error before the next try.
    Pausing(TaskFuture),
    Asking(oneshot::Receiver<ReceiverReply>),
    Attached {
        link: AttachedReceiver,
        life: Arc<LinkLife>,
        has_worked: bool,
    },
    Ended,
}

impl HubReceiver {
    pub(super) fn new(shared: Arc<Shared>, link: ReceiverLink) -> Self {
        Self {
            id: shared.config.number(),
            link,
            shared,
            state: State::Detached,
            errors: Backoff::default(),
        }
    }

    /// Waits for the next message or change. Cancel safe: a dropped call loses nothing.
    ///
    /// `None` follows the error that says that the application has closed the connection.
    ///
    /// # Errors
    ///
    /// What the application has to know or mend: the hub refused the link or the credential, or gave it to another
    /// receiver. The next call tries again, after a while that grows from error to error.
    pub async fn next(&mut self) -> Option<Result<ReceiverEvent>> {
        loop {
            if self.shared.is_closed() && !matches!(self.state, State::Ended) {
                self.detach();
                self.state = State::Ended;
                return Some(Err(fault::closed()));
            }
            match &mut self.state {
                State::Ended => return None,
                State::Detached => {
                    let (reply, answer) = oneshot::channel();
                    let command = Command::Receiver {
                        id: self.id,
                        link: self.link.clone(),
                        reply,
                    };
                    if let Err(error) = self.shared.command(command) {
                        return Some(Err(self.pause(error)));
                    }
                    self.state = State::Asking(answer);
                }
                State::Pausing(pause) => {
                    pause.await;
                    self.state = State::Detached;
                }
                State::Asking(answer) => match answer.await {
                    Ok(ReceiverReply::Attached(link)) => {
                        self.attach(link);
                        return Some(Ok(ReceiverEvent::Connected));
                    }
                    Ok(ReceiverReply::Retrying(fault)) => {
                        self.state = State::Detached;
                        return Some(Ok(ReceiverEvent::Reconnecting {
                            cause: fault.to_error(),
                        }));
                    }
                    Ok(ReceiverReply::Failed(_)) if self.shared.is_closed() => self.state = State::Detached,
                    Ok(ReceiverReply::Failed(fault)) => return Some(Err(self.pause(fault.to_error()))),
                    Err(oneshot::Canceled) if self.shared.is_closed() => self.state = State::Detached,
                    Err(oneshot::Canceled) => return Some(Err(self.pause(self.shared.gone()))),
                },
                State::Attached { link, life, has_worked } => match link.receiver.recv().await {
                    Ok(AmqpDelivery { tag, message }) => {
                        *has_worked = true;
                        self.errors.reset();
                        let life = Arc::clone(life);
                        return Some(Ok(ReceiverEvent::Delivery(HubDelivery { message, tag, life })));
                    }
                    // Closing the connection ends its links, which is no fault.
                    Err(_) if self.shared.is_closed() => {}
                    Err(error) => return Some(self.failed(Fault::new(error, Role::Receiver))),
                },
            }
        }
    }

    /// The same as a stream, which ends after [`next`](Self::next) yields `None`.
    pub fn into_stream(self) -> impl Stream<Item = Result<ReceiverEvent>> + Send {
        stream::unfold(self, |mut receiver| async move {
            let event = receiver.next().await?;
            Some((event, receiver))
        })
    }

    fn attach(&mut self, link: AttachedReceiver) {
        let life = LinkLife {
            is_over: AtomicBool::new(false),
            generation: link.generation,
            settler: link.receiver.settler(),
            shared: Arc::clone(&self.shared),
        };
        self.state = State::Attached {
            link,
            life: Arc::new(life),
            has_worked: false,
        };
    }

    fn failed(&mut self, fault: Fault) -> Result<ReceiverEvent> {
        if fault.is_of_a_message() {
            return Err(fault.to_error());
        }
        if let State::Attached { link, has_worked, .. } = &self.state {
            let _ = self.shared.try_command(Command::Lost {
                id: self.id,
                number: link.number,
                fault: fault.clone(),
                has_worked: *has_worked,
            });
        }
        let cause = fault.to_error();
        match fault.is_for_the_caller() {
            true => Err(self.pause(cause)),
            false => {
                self.detach();
                Ok(ReceiverEvent::Reconnecting { cause })
            }
        }
    }

    /// After an error that only the caller can do something about, tries are farther and farther between.
    fn pause(&mut self, error: Error) -> Error {
        self.detach();
        self.errors.failed();
        self.state = State::Pausing(sleep(self.errors.refused()));
        error
    }

    fn detach(&mut self) {
        if let State::Attached { life, .. } = &self.state {
            life.is_over.store(true, Ordering::Release);
        }
        self.state = State::Detached;
    }
}

impl HubDelivery {
    /// Whether it can still be settled, as far as is known: the link over which it came has not ended. If it has, the
    /// message is or will be delivered again.
    pub fn is_ours(&self) -> bool {
        !self.life.is_over.load(Ordering::Acquire)
    }

    /// Settles the message, and waits until that is on its way.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::DeviceMessageLockLost`] if the link over which the message came has ended: the message is not
    /// ours any more and will be delivered again, whoever is next. Otherwise the connection may have failed while
    /// settling, and nobody can tell whether the message comes again.
    pub async fn settle(self, settlement: Settlement) -> Result<()> {
        if !self.is_ours() {
            return Err(lock_lost(None));
        }
        let Self { tag, life, .. } = self;
        match within(SETTLE_TIMEOUT, life.settler.settle(&tag, settlement)).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(lock_lost(Some(error))),
            None => {
                let generation = life.generation;
                let _ = life.shared.try_command(Command::Suspect { generation });
                let message = format!("the message could not be settled within {SETTLE_TIMEOUT:?}");
                Err(Error::with_message(ErrorKind::Io, message))
            }
        }
    }
}

impl Drop for HubReceiver {
    fn drop(&mut self) {
        self.detach();
        let _ = self.shared.try_command(Command::Release { id: self.id });
    }
}

impl fmt::Debug for HubReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubReceiver")
            .field("address", &self.link.address)
            .finish_non_exhaustive()
    }
}

fn lock_lost(cause: Option<Error>) -> Error {
    let text = "the link over which the message came has ended, so that it will be delivered again";
    let message = match cause {
        Some(cause) => format!("{text}: {cause}"),
        None => text.to_owned(),
    };
    HubError::new(HubErrorCode::DeviceMessageLockLost, message).into()
}

/// Settling only writes, so that this is a long time.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);

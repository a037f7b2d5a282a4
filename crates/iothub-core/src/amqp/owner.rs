use std::{
    collections::HashMap,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    StreamExt,
    channel::{mpsc, oneshot},
    future::BoxFuture,
    stream::FuturesUnordered,
};

use super::{
    AmqpConnection, AmqpError, CbsToken,
    backoff::Backoff,
    cbs::{Cbs, Unauthorized},
    connection::Config,
    fault::Fault,
    recovery::{Next, Role},
    slot::{AttachedReceiver, AttachedSender, ReceiverReply, SenderCell, Slot},
};
use crate::deadline::{sleep, within};

mod authorization;
mod links;

/// The task behind a connection: a state machine that is driven by commands of the handles and by what happens.
///
/// Every transition is a plain method that awaits nothing. What takes time is a future in `work` that ends in an
/// [`Event`]. All work belongs to one generation of the connection and is dropped with it, so that nothing that was
/// begun on an old connection can change the new one; what the handles report carries the number of its link or
/// connection and is ignored if that is past.
pub(super) struct Owner {
    config: Arc<Config>,
    commands: mpsc::UnboundedReceiver<Command>,
    state: State,
    work: FuturesUnordered<BoxFuture<'static, Event>>,
    generation: u64,
    slots: HashMap<u64, Slot>,
    warm_ups: Vec<oneshot::Sender<Result<(), Fault>>>,
    backoff: Backoff,
    /// Whether the hub ended a connection as not authorized, and a new token has not helped yet.
    was_refused: bool,
}

/// What the handles ask for and report.
#[derive(Debug)]
pub(super) enum Command {
    WarmUp {
        reply: oneshot::Sender<Result<(), Fault>>,
    },
    /// Fill the cell.
    Sender {
        id: u64,
        link: super::SenderLink,
        cell: Arc<SenderCell>,
        reply: oneshot::Sender<Result<(), Fault>>,
    },
    /// Hand out a receiver; the one handed out before, if any, is of no use any more.
    Receiver {
        id: u64,
        link: super::ReceiverLink,
        reply: oneshot::Sender<ReceiverReply>,
    },
    /// A link failed in use.
    Lost {
        id: u64,
        number: u64,
        fault: Fault,
        has_worked: bool,
    },
    /// Nothing comes back over this connection. Find out whether it lives.
    Suspect {
        generation: u64,
    },
    /// The last handle of a link is gone.
    Release {
        id: u64,
    },
    Close {
        reply: oneshot::Sender<azure_core::Result<()>>,
    },
}

enum State {
    /// There is no connection, and nobody needs one.
    Idle,
    /// A timer runs until the next try to connect.
    Waiting,
    Connecting,
    Open(Open),
}

/// A connection that stands.
struct Open {
    connection: Arc<dyn AmqpConnection>,
    /// The links to `$cbs`, unless they are in use.
    cbs: Option<Cbs>,
    authorizing: Option<Authorizing>,
    /// Counts the timers for the next authorization, of which only the last counts.
    timers: u64,
    failures: u32,
    /// The token that the hub holds, as far as we know.
    token: Option<CbsToken>,
    is_authorized: bool,
    /// The next answer of `$cbs` decides whether the connection lives.
    is_suspect: bool,
}

/// An authorization that is under way.
#[derive(Clone, Copy)]
struct Authorizing {
    put: Put,
    /// The token in it has been found to be of no use since.
    is_stale: bool,
}

/// Whether a token is sent that the hub holds already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    Always,
    IfNew,
}

/// What work ends in.
enum Event {
    ConnectDue,
    Connected(Result<Box<dyn AmqpConnection>, Fault>),
    Ended(AmqpError),
    Steady,
    AuthorizationDue {
        timer: u64,
    },
    Authorized {
        cbs: Option<Cbs>,
        result: Result<CbsToken, Unauthorized>,
    },
    AttachDue {
        id: u64,
    },
    SenderAttached {
        id: u64,
        result: Result<AttachedSender, Fault>,
    },
    ReceiverAttached {
        id: u64,
        result: Result<AttachedReceiver, Fault>,
    },
    Detached {
        id: u64,
        number: u64,
        error: AmqpError,
        has_worked: bool,
    },
    LinkSteady {
        id: u64,
        number: u64,
    },
    Nothing,
}

enum Input {
    Command(Command),
    Event(Event),
    NoHandleLeft,
}

impl Owner {
    pub(super) fn new(config: Arc<Config>, commands: mpsc::UnboundedReceiver<Command>) -> Self {
        Self {
            generation: config.number(),
            config,
            commands,
            state: State::Idle,
            work: FuturesUnordered::new(),
            slots: HashMap::new(),
            warm_ups: Vec::new(),
            backoff: Backoff::default(),
            was_refused: false,
        }
    }

    /// Runs until the last handle is gone or one of them closes the connection.
    pub(super) async fn run(mut self) {
        loop {
            match poll_fn(|cx| self.poll_input(cx)).await {
                Input::Event(event) => self.on_event(event),
                Input::Command(Command::Close { reply }) => return self.close(reply).await,
                Input::Command(command) => self.on_command(command),
                Input::NoHandleLeft => return,
            }
        }
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        if let Poll::Ready(Some(event)) = self.work.poll_next_unpin(cx) {
            return Poll::Ready(Input::Event(event));
        }
        self.commands.poll_next_unpin(cx).map(|command| match command {
            Some(command) => Input::Command(command),
            None => Input::NoHandleLeft,
        })
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::WarmUp { reply } => match &self.state {
                State::Open(open) if open.is_authorized => {
                    let _ = reply.send(Ok(()));
                }
                _ => {
                    self.warm_ups.push(reply);
                    self.connect_if_wanted();
                }
            },
            Command::Sender { id, link, cell, reply } => self.on_sender_wanted(id, link, cell, reply),
            Command::Receiver { id, link, reply } => self.on_receiver_wanted(id, link, reply),
            Command::Lost {
                id,
                number,
                fault,
                has_worked,
            } => self.on_link_lost(id, number, &fault, has_worked),
            Command::Suspect { generation } => self.on_suspect(generation),
            Command::Release { id } => {
                self.slots.remove(&id);
            }
            // Taken care of by `run`, which it ends.
            Command::Close { .. } => {}
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::ConnectDue => {
                self.state = State::Idle;
                if self.is_wanted() {
                    self.connect();
                }
            }
            Event::Connected(Ok(connection)) => self.on_connected(connection),
            Event::Connected(Err(fault)) => self.on_connection_lost(&fault),
            Event::Ended(error) => self.on_connection_lost(&Fault::new(error.into(), Role::Sender)),
            Event::Steady => {
                self.backoff.reset();
                self.was_refused = false;
            }
            Event::AuthorizationDue { timer } => self.on_authorization_due(timer),
            Event::Authorized { cbs, result } => self.on_authorized(cbs, result),
            Event::AttachDue { id } => self.on_attach_due(id),
            Event::SenderAttached { id, result } => self.on_sender_attached(id, result),
            Event::ReceiverAttached { id, result } => self.on_receiver_attached(id, result),
            Event::Detached {
                id,
                number,
                error,
                has_worked,
            } => self.on_link_lost(id, number, &Fault::new(error.into(), Role::Sender), has_worked),
            Event::LinkSteady { id, number } => {
                if let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.is_attached_as(number)) {
                    slot.has_worked();
                }
            }
            Event::Nothing => {}
        }
    }

    fn connect_if_wanted(&mut self) {
        if !matches!(self.state, State::Idle) || !self.is_wanted() {
            return;
        }
        let wait = self.backoff.reconnect();
        if wait.is_zero() {
            return self.connect();
        }
        self.state = State::Waiting;
        self.after(wait, Event::ConnectDue);
    }

    fn connect(&mut self) {
        self.state = State::Connecting;
        let config = Arc::clone(&self.config);
        self.work.push(Box::pin(async move {
            let connecting = config.transport.connect(&config.host);
            Event::Connected(match within(config.options.connect_timeout, connecting).await {
                Some(result) => result.map_err(|error| Fault::new(error, Role::Sender)),
                None => Err(Fault::timed_out("the hub could not be reached in time")),
            })
        }));
    }

    fn on_connected(&mut self, connection: Box<dyn AmqpConnection>) {
        let connection: Arc<dyn AmqpConnection> = Arc::from(connection);
        self.state = State::Open(Open {
            connection: Arc::clone(&connection),
            cbs: None,
            authorizing: None,
            timers: 0,
            failures: 0,
            token: None,
            is_authorized: false,
            is_suspect: false,
        });
        self.work
            .push(Box::pin(async move { Event::Ended(connection.closed().await) }));
        self.authorize(Put::Always);
    }

    /// Drops the connection, and makes another if somebody needs it.
    fn on_connection_lost(&mut self, fault: &Fault) {
        tracing::debug!(host = %self.config.host, %fault, "the connection to the hub is gone");
        self.config.set_trouble(Some(fault));
        self.backoff.failed();
        let token = self.disconnect();
        match fault.recovery.next {
            Next::Surface => return self.fail(fault),
            Next::Authorize => {
                if let Some(token) = token {
                    self.config.tokens.refused(&token);
                }
                if std::mem::replace(&mut self.was_refused, true) {
                    self.was_refused = false;
                    return self.fail(fault);
                }
            }
            Next::Retry | Next::Throttle => {}
        }
        self.report(fault);
        if fault.recovery.next == Next::Throttle && self.is_wanted() {
            self.state = State::Waiting;
            self.after(self.backoff.throttled(), Event::ConnectDue);
        } else {
            self.connect_if_wanted();
        }
    }

    /// Drops the connection with everything that is on it or under way, and returns the token that the hub had.
    fn disconnect(&mut self) -> Option<CbsToken> {
        let before = std::mem::replace(&mut self.state, State::Idle);
        self.generation = self.config.number();
        self.work = FuturesUnordered::new();
        self.slots.values_mut().for_each(Slot::detach);
        match before {
            State::Open(open) => open.token,
            _ => None,
        }
    }

    fn on_suspect(&mut self, generation: u64) {
        let State::Open(open) = &mut self.state else { return };
        if self.generation != generation || open.is_suspect {
            return;
        }
        open.is_suspect = true;
        // An authorization that is under way answers the question as well.
        if open.authorizing.is_none() {
            self.authorize(Put::Always);
        }
    }

    async fn close(mut self, reply: oneshot::Sender<azure_core::Result<()>>) {
        self.fail(&Fault::closed());
        let result = match &self.state {
            State::Open(open) => match within(self.config.options.close_timeout, open.connection.close()).await {
                Some(result) => result,
                None => Err(Fault::timed_out("the hub did not answer the close in time").to_error()),
            },
            _ => Ok(()),
        };
        drop(self);
        let _ = reply.send(result);
    }

    fn is_wanted(&mut self) -> bool {
        self.warm_ups.retain(|reply| !reply.is_canceled());
        !self.warm_ups.is_empty() || self.slots.values_mut().any(Slot::is_wanted)
    }

    fn fail(&mut self, fault: &Fault) {
        for reply in self.warm_ups.drain(..) {
            let _ = reply.send(Err(fault.clone()));
        }
        for slot in self.slots.values_mut() {
            slot.fail(fault);
        }
    }

    fn report(&mut self, fault: &Fault) {
        for slot in self.slots.values_mut() {
            slot.report(fault);
        }
    }

    fn after(&self, wait: Duration, event: Event) {
        self.work.push(Box::pin(async move {
            sleep(wait).await;
            event
        }));
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // The handles may outlive the task, by a close or by the end of its runtime, but no link does.
        self.slots.values_mut().for_each(Slot::detach);
    }
}

/// A connection or link that has lived this long counts as one that works. At most twenty connections a minute can.
const STEADY: Duration = Duration::from_secs(3);

use std::{collections::VecDeque, fmt, pin::pin, sync::Arc, time::Instant};

use azure_core::{
    async_runtime::{TaskFuture, get_async_runtime},
    time::Duration,
};
use futures::{
    StreamExt,
    channel::{mpsc, oneshot},
    future::{Either, pending, select},
};
use iothub_core::{
    Error, Result,
    amqp::{AmqpValue, HubConnection, HubDelivery, HubReceiver, ReceiverEvent, ReceiverLink, Settlement},
    models::FeedbackRecord,
};
use tokio::sync::watch;

use super::{CREDIT, Command, Content, Wanted};
use crate::{Delivery, ReceiverState, ReceiverStatus};

/// The task that receives, as long as there is somebody to receive for.
pub(super) struct Pump<T> {
    connection: HubConnection,
    properties: Vec<(String, AmqpValue)>,
    status: Arc<watch::Sender<ReceiverStatus>>,
    commands: mpsc::UnboundedReceiver<Command<T>>,

    receiver: Option<HubReceiver>,
    credit: u32,
    /// In turn: the first gets the next delivery.
    listeners: VecDeque<Listener<T>>,
    waiters: Vec<Waiter>,
    /// What nobody here can settle: it cannot be read, or tells of messages of others. Given back at once it would come
    /// back at once, and be used up by that, so it stays until the link ends.
    held: VecDeque<HubDelivery>,
    /// When the oldest of them is given back after all, because so many are held that credit runs short.
    thaw: Option<TaskFuture>,
}

struct Listener<T> {
    id: u64,
    items: mpsc::UnboundedSender<Result<Delivery<T>>>,
}

struct Waiter {
    id: u64,
    wanted: Wanted,
    reply: oneshot::Sender<Result<FeedbackRecord>>,
}

#[expect(clippy::large_enum_variant, reason = "nearly all steps are events")]
enum Step<T> {
    Command(Option<Command<T>>),
    Event(Option<Result<ReceiverEvent>>),
    Thaw,
}

impl<T: Content> Pump<T> {
    pub(super) fn new(
        connection: HubConnection,
        properties: Vec<(String, AmqpValue)>,
        status: Arc<watch::Sender<ReceiverStatus>>,
        commands: mpsc::UnboundedReceiver<Command<T>>,
    ) -> Self {
        Self {
            connection,
            properties,
            status,
            commands,
            receiver: None,
            credit: CREDIT,
            listeners: VecDeque::new(),
            waiters: Vec::new(),
            held: VecDeque::new(),
            thaw: None,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            match self.step().await {
                Step::Command(None) => break,
                Step::Command(Some(command)) => self.obey(command).await,
                Step::Event(Some(event)) => self.on_event(event).await,
                Step::Event(None) => self.receiver = None,
                Step::Thaw => self.on_thaw().await,
            }
            if self.listeners.is_empty() && self.waiters.is_empty() {
                self.rest().await;
            }
        }
        self.rest().await;
    }

    /// What happens next. Cancel safe, as each of the three is.
    async fn step(&mut self) -> Step<T> {
        let event = async {
            match &mut self.receiver {
                Some(receiver) => receiver.next().await,
                None => pending().await,
            }
        };
        let thaw = async {
            match &mut self.thaw {
                Some(thaw) => thaw.await,
                None => pending().await,
            }
        };
        match select(self.commands.next(), select(pin!(event), pin!(thaw))).await {
            Either::Left((command, _)) => Step::Command(command),
            Either::Right((Either::Left((event, _)), _)) => Step::Event(event),
            Either::Right((Either::Right(((), _)), _)) => Step::Thaw,
        }
    }

    async fn obey(&mut self, command: Command<T>) {
        match command {
            Command::Listen { id, credit, items } => {
                self.listeners.push_front(Listener { id, items });
                self.receive(credit);
            }
            Command::Confirm { id, wanted, reply } => {
                self.waiters.push(Waiter { id, wanted, reply });
                self.receive(CREDIT);
            }
            Command::Return(delivery) => self.hand_out(*delivery).await,
            Command::Leave(id) => {
                self.listeners.retain(|listener| listener.id != id);
                self.waiters.retain(|waiter| waiter.id != id);
            }
        }
    }

    async fn on_event(&mut self, event: Result<ReceiverEvent>) {
        match event {
            Ok(ReceiverEvent::Connected) => {
                tracing::debug!(address = T::ADDRESS, "receiving");
                self.heard();
            }
            Ok(ReceiverEvent::Reconnecting { cause }) => {
                tracing::warn!(address = T::ADDRESS, %cause, "the receiving link is gone and made anew");
                // They come again by themselves.
                self.held.clear();
                let cause = Arc::new(cause);
                self.enter(ReceiverState::Reconnecting { cause });
            }
            Ok(ReceiverEvent::Delivery(delivery)) => {
                self.heard();
                self.on_delivery(delivery).await;
            }
            // New kinds of events are no reason to stop.
            Ok(_) => {}
            Err(error) if self.connection.check_open().is_err() => {
                self.enter(ReceiverState::Closed);
                self.held.clear();
                self.listeners.clear();
                self.fail_waiters(&Arc::new(error));
            }
            Err(error) => {
                tracing::error!(address = T::ADDRESS, %error, "the hub refuses the receiving link");
                let cause = Arc::new(error);
                for listener in &self.listeners {
                    // Whoever has gone leaves with a command.
                    let _ = listener.items.unbounded_send(Err(shared(&cause)));
                }
                self.fail_waiters(&cause);
                self.enter(ReceiverState::Refused { cause });
            }
        }
    }

    async fn on_delivery(&mut self, delivery: HubDelivery) {
        let item = match T::read(&delivery.message) {
            Ok(item) => item,
            Err(error) => {
                tracing::error!(address = T::ADDRESS, %error, "received what cannot be read");
                let cause = Arc::new(error);
                if let Some(listener) = self.listeners.front() {
                    let _ = listener.items.unbounded_send(Err(shared(&cause)));
                }
                return self.hold(delivery);
            }
        };
        let is_all_ours = self.confirm(item.records());
        if !self.listeners.is_empty() {
            return self.hand_out(Delivery::over_amqp(item, delivery)).await;
        }
        match is_all_ours {
            // If it fails the batch comes again, and is then of others.
            true => drop(delivery.settle(Settlement::Accepted).await),
            false => self.hold(delivery),
        }
    }

    /// Gives a delivery to the next listener, or back if there is none.
    async fn hand_out(&mut self, delivery: Delivery<T>) {
        let mut item = Ok(delivery);
        while let Some(listener) = self.listeners.pop_front() {
            match listener.items.unbounded_send(item) {
                Ok(()) => return self.listeners.push_back(listener),
                Err(refused) => item = refused.into_inner(),
            }
        }
        if let Ok(delivery) = item {
            drop(delivery.abandon().await);
        }
    }

    /// Hands records to those who wait for them, and says whether those are all the records there are.
    fn confirm(&mut self, records: &[FeedbackRecord]) -> bool {
        let mut is_all = true;
        for record in records {
            let waiters = self.waiters.extract_if(.., |waiter| waiter.wanted.is_in(record));
            let taken = waiters.filter_map(|waiter| waiter.reply.send(Ok(record.clone())).ok());
            is_all &= taken.count() > 0;
        }
        is_all
    }

    /// Keeps a delivery locked.
    fn hold(&mut self, delivery: HubDelivery) {
        self.held.push_back(delivery);
        self.watch_credit();
    }

    async fn on_thaw(&mut self) {
        self.thaw = None;
        if let Some(oldest) = self.held.pop_front() {
            drop(oldest.settle(Settlement::Released).await);
        }
        self.watch_credit();
    }

    fn watch_credit(&mut self) {
        let is_short = self.held.len() > self.credit as usize / 2;
        if is_short && self.thaw.is_none() {
            self.thaw = Some(get_async_runtime().sleep(THAW));
        }
    }

    fn receive(&mut self, credit: u32) {
        if self.receiver.is_none() {
            self.credit = credit;
            self.enter(ReceiverState::Connecting);
            self.receiver = Some(self.connection.receiver(ReceiverLink {
                address: T::ADDRESS.to_owned(),
                credit,
                properties: self.properties.clone(),
            }));
        }
    }

    /// Leaves the hub's queue to others.
    async fn rest(&mut self) {
        self.thaw = None;
        for delivery in self.held.drain(..) {
            drop(delivery.settle(Settlement::Released).await);
        }
        if self.receiver.take().is_some() && self.connection.check_open().is_ok() {
            self.enter(ReceiverState::Idle);
        }
    }

    fn fail_waiters(&mut self, cause: &Arc<Error>) {
        for waiter in self.waiters.drain(..) {
            let _ = waiter.reply.send(Err(shared(cause)));
        }
    }

    fn heard(&self) {
        let is_new = !matches!(self.status.borrow().state, ReceiverState::Connected);
        self.status.send_if_modified(|status| {
            status.last_heard = Some(Instant::now());
            if is_new {
                status.enter(ReceiverState::Connected);
            }
            is_new
        });
    }

    fn enter(&self, state: ReceiverState) {
        self.status.send_modify(|status| status.enter(state));
    }
}

/// An error for one of several who are told the same.
fn shared(cause: &Arc<Error>) -> Error {
    Error::new(cause.kind().clone(), SharedError(Arc::clone(cause)))
}

#[derive(Debug)]
struct SharedError(Arc<Error>);

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SharedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// The pace at which what could not be read comes again when there is much of it.
const THAW: Duration = Duration::seconds(1);

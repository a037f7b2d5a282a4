//! The one link by which a client receives one kind of thing, and those who share it.
//!
//! A hub has one queue of feedback, whose readers compete. So within a client there is one reader, a task that hands each
//! batch to one of the application's streams, and each record to the call that waits for it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use azure_core::async_runtime::get_async_runtime;
use futures::channel::{mpsc, oneshot};
use iothub_core::{
    Result,
    amqp::{AmqpMessage, AmqpValue, HubConnection},
    models::FeedbackRecord,
};
use tokio::sync::watch;

use crate::{Delivery, ReceiverStatus, ReceiverWatch};

mod pump;

use pump::Pump;

/// What a link brings.
pub(crate) trait Content: Send + Sized + 'static {
    /// Where the link is attached.
    const ADDRESS: &'static str;

    /// What a message holds.
    fn read(message: &AmqpMessage) -> Result<Self>;

    /// What somebody may wait for.
    fn records(&self) -> &[FeedbackRecord] {
        &[]
    }
}

/// The way to the task that receives. It ends with the last handle.
pub(crate) struct Intake<T> {
    connection: HubConnection,
    properties: Vec<(String, AmqpValue)>,
    commands: Mutex<Option<mpsc::UnboundedSender<Command<T>>>>,
    status: Arc<watch::Sender<ReceiverStatus>>,
    numbers: AtomicU64,
}

/// A place among the consumers.
pub(crate) struct Membership<T> {
    pub(crate) items: mpsc::UnboundedReceiver<Result<Delivery<T>>>,
    id: u64,
    intake: Arc<Intake<T>>,
}

/// The record about one message, in the future.
pub(crate) struct Confirmation<T> {
    pub(crate) record: oneshot::Receiver<Result<FeedbackRecord>>,
    id: u64,
    intake: Arc<Intake<T>>,
}

/// The message that a record is waited for of.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) message_id: String,
    pub(crate) device_id: String,
}

enum Command<T> {
    Listen {
        id: u64,
        credit: u32,
        items: mpsc::UnboundedSender<Result<Delivery<T>>>,
    },
    Confirm {
        id: u64,
        wanted: Wanted,
        reply: oneshot::Sender<Result<FeedbackRecord>>,
    },
    /// A delivery that a stream had and did not yield.
    Return(Box<Delivery<T>>),
    Leave(u64),
}

impl<T> Intake<T> {
    pub(crate) fn new(connection: HubConnection, properties: Vec<(String, AmqpValue)>) -> Self {
        Self {
            connection,
            properties,
            commands: Mutex::new(None),
            status: Arc::new(watch::Sender::new(ReceiverStatus::idle())),
            numbers: AtomicU64::new(0),
        }
    }

    pub(crate) fn watch(&self) -> ReceiverWatch {
        ReceiverWatch::new(self.status.subscribe())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.connection.check_open().is_err()
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells the task, if there is one. Without one there is nobody to tell.
    fn tell(&self, command: Command<T>) {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(commands) = commands.as_ref() {
            // A task that has ended has nothing left.
            let _ = commands.unbounded_send(command);
        }
    }
}

impl<T: Content> Intake<T> {
    pub(crate) fn listen(self: &Arc<Self>, credit: u32) -> Result<Membership<T>> {
        self.connection.check_open()?;
        let (sender, items) = mpsc::unbounded();
        let id = self.number();
        self.command(Command::Listen {
            id,
            credit,
            items: sender,
        });
        let intake = Arc::clone(self);
        Ok(Membership { items, id, intake })
    }

    pub(crate) fn confirmation(self: &Arc<Self>, wanted: Wanted) -> Result<Confirmation<T>> {
        self.connection.check_open()?;
        let (reply, record) = oneshot::channel();
        let id = self.number();
        self.command(Command::Confirm { id, wanted, reply });
        let intake = Arc::clone(self);
        Ok(Confirmation { record, id, intake })
    }

    /// Tells the task, which is started if there is none.
    fn command(&self, command: Command<T>) {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let command = match commands.as_ref() {
            Some(sender) => match sender.unbounded_send(command) {
                Ok(()) => return,
                // The runtime that the task lived in is gone. The caller's is alive.
                Err(refused) => refused.into_inner(),
            },
            None => command,
        };
        let (sender, receiver) = mpsc::unbounded();
        let sent = sender.unbounded_send(command).is_ok();
        debug_assert!(sent, "the receiver is still here");
        let pump = Pump::new(
            self.connection.clone(),
            self.properties.clone(),
            Arc::clone(&self.status),
            receiver,
        );
        // It ends by itself when this side drops the sender.
        drop(get_async_runtime().spawn(Box::pin(pump.run())));
        *commands = Some(sender);
    }
}

impl<T> Drop for Membership<T> {
    fn drop(&mut self) {
        // First, so that nothing comes back here.
        self.intake.tell(Command::Leave(self.id));
        self.items.close();
        while let Ok(item) = self.items.try_recv() {
            if let Ok(delivery) = item {
                self.intake.tell(Command::Return(Box::new(delivery)));
            }
        }
    }
}

impl<T> Drop for Confirmation<T> {
    fn drop(&mut self) {
        self.intake.tell(Command::Leave(self.id));
    }
}

impl Wanted {
    fn is_in(&self, record: &FeedbackRecord) -> bool {
        let Self { message_id, device_id } = self;
        let device = &record.device_id;
        record.original_message_id == *message_id && (device.is_empty() || device == device_id)
    }
}

impl<T> fmt::Debug for Intake<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").finish_non_exhaustive()
    }
}

/// Batches of 64 records each, or notifications of a few hundred bytes: what a backend can have at hand.
pub(crate) const CREDIT: u32 = 100;

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{mpsc, watch};

use super::{Target, fault::FrameGarble, injected_faults::InjectedFault};

/// What shall go wrong on AMQP connections, asked for by name. Clones are handles to the same.
///
/// What breaks something breaks it on every connection that is open now, and leaves later ones alone.
#[derive(Clone, Default)]
pub struct AmqpFaults(Arc<Inner>);

#[derive(Default)]
struct Inner {
    connections: Mutex<Vec<mpsc::UnboundedSender<Break>>>,
    token_refusals: Mutex<VecDeque<i32>>,
    settlements_held: watch::Sender<bool>,
    entered: AtomicU64,
}

/// What a connection is told to break.
#[derive(Clone, Debug)]
pub(crate) enum Break {
    /// Links whose address contains the text, whatever the case.
    Links {
        address: String,
        condition: Option<String>,
    },
    Sessions {
        condition: Option<String>,
    },
    Connection {
        condition: Option<String>,
    },
    Tcp,
    Silence,
    /// A frame that makes no sense is sent.
    Frame(FrameGarble),
    /// What a device on this connection has asked for.
    Injected {
        device: Target,
        fault: InjectedFault,
    },
}

impl AmqpFaults {
    /// Detaches the links whose address contains `address`, whatever the case; an empty text means all of them.
    ///
    /// With `None` for a condition the detach carries no error.
    pub fn detach_links(&self, address: &str, condition: Option<&str>) {
        self.tell(&Break::Links {
            address: address.to_ascii_lowercase(),
            condition: condition.map(str::to_owned),
        });
    }

    /// Ends every session.
    pub fn end_sessions(&self, condition: Option<&str>) {
        self.tell(&Break::Sessions {
            condition: condition.map(str::to_owned),
        });
    }

    /// Closes every connection in order.
    pub fn close_connections(&self, condition: Option<&str>) {
        self.tell(&Break::Connection {
            condition: condition.map(str::to_owned),
        });
    }

    /// Drops every connection without a word of AMQP.
    pub fn drop_connections(&self) {
        self.tell(&Break::Tcp);
    }

    /// Leaves every connection open, and from now on neither reads from it nor writes to it.
    pub fn stop_responding(&self) {
        self.tell(&Break::Silence);
    }

    /// Sends a frame that makes no sense over every connection.
    pub fn send_nonsense(&self, kind: FrameGarble) {
        self.tell(&Break::Frame(kind));
    }

    /// Answers the next `count` put-token requests with `status`, whatever the token.
    pub fn refuse_next_tokens(&self, status: i32, count: usize) {
        lock(&self.0.token_refusals).extend(std::iter::repeat_n(status, count));
    }

    /// Carries out what is sent from now on, and settles none of it until [`settle_again`](Self::settle_again).
    pub fn hold_settlements(&self) {
        self.0.settlements_held.send_replace(true);
    }

    /// Settles what was held, and everything after it at once.
    pub fn settle_again(&self) {
        self.0.settlements_held.send_replace(false);
    }

    /// Enters a connection into the list of those that can be broken, and gives it a number, and a way to break it alone.
    pub(crate) fn enter(&self) -> (u64, mpsc::UnboundedSender<Break>, mpsc::UnboundedReceiver<Break>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut connections = lock(&self.0.connections);
        connections.retain(|connection| !connection.is_closed());
        connections.push(sender.clone());
        let number = self.0.entered.fetch_add(1, Ordering::Relaxed) + 1;
        (number, sender, receiver)
    }

    pub(crate) fn take_token_refusal(&self) -> Option<i32> {
        lock(&self.0.token_refusals).pop_front()
    }

    /// Resolves when settlements are no longer held; `None` if they are not.
    pub(crate) fn settlements_released(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let mut held = self.0.settlements_held.subscribe();
        let is_held = *held.borrow();
        let released = async move {
            // An error says that the hub is gone, and then nobody waits for a settlement.
            let _ = held.wait_for(|held| !held).await;
        };
        is_held.then_some(released)
    }

    pub(super) fn clear(&self) {
        lock(&self.0.token_refusals).clear();
        self.settle_again();
    }

    fn tell(&self, what: &Break) {
        lock(&self.0.connections).retain(|connection| connection.send(what.clone()).is_ok());
    }
}

impl fmt::Debug for AmqpFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpFaults")
            .field("token_refusals", &*lock(&self.0.token_refusals))
            .field("settlements_held", &*self.0.settlements_held.borrow())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

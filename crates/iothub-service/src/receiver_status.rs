use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use iothub_core::Error;
use tokio::sync::watch;

/// How a receiving link is, at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceiverStatus {
    /// What it is doing.
    pub state: ReceiverState,
    /// Since when.
    pub since: Instant,
    /// When the hub last attached the link or sent something over it. `None` before the first time.
    pub last_heard: Option<Instant>,
    /// How often the link was lost since it was first attached.
    pub losses: u64,
}

/// What a receiving link is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReceiverState {
    /// Nobody is receiving.
    Idle,
    /// It is being attached for the first time.
    Connecting,
    /// It is attached: what the hub has to tell comes over it.
    ///
    /// A connection that has died in silence is noticed after a minute at the latest, so this is true but for the last
    /// minute.
    Connected,
    /// It is gone, and being made anew. Nothing has to be done about it.
    Reconnecting {
        /// Why.
        cause: Arc<Error>,
    },
    /// The hub refuses it, for a reason that the stream has yielded as an error. It is tried again, less and less often.
    Refused {
        /// Why.
        cause: Arc<Error>,
    },
    /// The client was closed.
    Closed,
}

/// Tells how a receiving link is, apart from what comes over it.
///
/// It is for a health check, a metric, a log. Clones see the same link.
///
/// # Examples
///
/// ```no_run
/// use iothub_service::{ReceiverState, ServiceClient};
///
/// # async fn example(service: ServiceClient) {
/// let feedback = service.feedback(None);
/// let mut watch = feedback.watch();
/// // … while a task reads the feedback:
/// while let Some(status) = watch.changed().await {
///     if let ReceiverState::Reconnecting { cause } = &status.state {
///         eprintln!("no feedback for now: {cause}");
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ReceiverWatch(watch::Receiver<ReceiverStatus>);

impl ReceiverWatch {
    pub(crate) fn new(status: watch::Receiver<ReceiverStatus>) -> Self {
        Self(status)
    }

    /// How the link is now.
    pub fn status(&self) -> ReceiverStatus {
        self.0.borrow().clone()
    }

    /// For how long the hub has sent nothing. An idle hub sends nothing for hours, so the state says more.
    pub fn silent_for(&self) -> Option<Duration> {
        self.0.borrow().last_heard.map(|heard| heard.elapsed())
    }

    /// Waits for the next change of state. Of changes that follow each other at once only the last may be seen;
    /// [`ReceiverStatus::losses`] counts them all.
    ///
    /// `None` when the client and all its streams are gone. Cancel safe.
    pub async fn changed(&mut self) -> Option<ReceiverStatus> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }
}

impl ReceiverStatus {
    pub(crate) fn idle() -> Self {
        Self {
            state: ReceiverState::Idle,
            since: Instant::now(),
            last_heard: None,
            losses: 0,
        }
    }

    pub(crate) fn enter(&mut self, state: ReceiverState) {
        let is_loss = |state: &ReceiverState| matches!(state, ReceiverState::Reconnecting { .. });
        if is_loss(&state) && matches!(self.state, ReceiverState::Connected) {
            self.losses += 1;
        }
        self.state = state;
        self.since = Instant::now();
    }
}

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use time::OffsetDateTime;
use tokio::sync::watch;

use super::{changes::Changes, key::Key};

/// The hub's clock: the system's time, and how far a test has turned it.
///
/// Token expiry, message expiry and lock time-outs follow this clock, so that a test turns it instead of waiting.
/// Clones show the same time.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let clock = iothub_emulator::Clock::default();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(3600));
/// assert!(clock.now() - before >= Duration::from_secs(3600));
/// ```
#[derive(Clone)]
pub struct Clock {
    turned: Arc<watch::Sender<Duration>>,
    changes: Changes,
}

impl Clock {
    /// A clock whose turns are noted.
    pub(crate) fn new(changes: Changes) -> Self {
        Self {
            changes,
            ..Self::default()
        }
    }

    /// The hub's time now, in UTC.
    pub fn now(&self) -> OffsetDateTime {
        OffsetDateTime::from(SystemTime::now()).saturating_add(turn(*self.turned.borrow()))
    }

    /// Turns the clock forward. Whatever falls due by that happens at once.
    pub fn advance(&self, by: Duration) {
        self.turned.send_modify(|turned| *turned = turned.saturating_add(by));
        self.changes.note(|| Key::Hub);
    }

    /// How far it has been turned.
    pub(crate) fn turned(&self) -> Duration {
        *self.turned.borrow()
    }

    /// Turns it as far as it was turned before.
    pub(crate) fn turn_to(&self, turned: Duration) {
        self.turned.send_replace(turned);
    }

    /// Returns when the hub's time has reached `due`, by waiting or by a turn of the clock.
    pub(crate) async fn until(&self, due: OffsetDateTime) {
        let mut turns = self.turned.subscribe();
        loop {
            turns.mark_unchanged();
            let Ok(left) = Duration::try_from(due - self.now()) else {
                return;
            };
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                _ = turns.changed() => {}
            }
        }
    }

    /// The same, and for ever if there is nothing to wait for.
    pub(crate) async fn until_some(self, due: Option<OffsetDateTime>) {
        match due {
            Some(due) => self.until(due).await,
            None => std::future::pending().await,
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            turned: Arc::new(watch::Sender::new(Duration::ZERO)),
            changes: Changes::default(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("turned", &*self.turned.borrow()).finish()
    }
}

fn turn(by: Duration) -> time::Duration {
    time::Duration::try_from(by).unwrap_or(time::Duration::MAX)
}

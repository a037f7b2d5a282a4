use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use time::OffsetDateTime;
use tokio::sync::Notify;

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
#[derive(Clone, Default)]
pub struct Clock {
    turn: Arc<Turn>,
    changes: Changes,
}

/// How far a clock was turned. It is asked for with everything that happens, and changes hardly ever.
#[derive(Default)]
struct Turn {
    nanoseconds: AtomicU64,
    changed: Notify,
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
        let now = OffsetDateTime::from(SystemTime::now());
        match self.turned() {
            Duration::ZERO => now,
            turned => now.saturating_add(time::Duration::try_from(turned).unwrap_or(time::Duration::MAX)),
        }
    }

    /// Turns the clock forward, by 584 years at most in all. Whatever falls due by that happens at once.
    pub fn advance(&self, by: Duration) {
        let add = |turned: u64| Some(turned.saturating_add(nanoseconds(by)));
        let _ = self
            .turn
            .nanoseconds
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
        self.turn.changed.notify_waiters();
        self.changes.note(|| Key::Hub);
    }

    /// How far it has been turned.
    pub(crate) fn turned(&self) -> Duration {
        Duration::from_nanos(self.turn.nanoseconds.load(Ordering::Acquire))
    }

    /// Turns it as far as it was turned before.
    pub(crate) fn turn_to(&self, turned: Duration) {
        self.turn.nanoseconds.store(nanoseconds(turned), Ordering::Release);
        self.turn.changed.notify_waiters();
    }

    /// Returns when the hub's time has reached `due`, by waiting or by a turn of the clock.
    pub(crate) async fn until(&self, due: OffsetDateTime) {
        loop {
            // From here on it hears of every turn.
            let turn = self.turn.changed.notified();
            let Ok(left) = Duration::try_from(due - self.now()) else {
                return;
            };
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = turn => {}
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

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("turned", &self.turned()).finish()
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

//! What has changed since it was last stored, and when it is stored.
//!
//! Whoever changes something notes its key under the same lock. The one who stores takes the keys, reads what they name
//! as it is then, and stores all of it or nothing. Doors wait for that before they tell a client that something is done.
//!
//! What makes sense only together changes under the registry's lock, because that is held while a batch is read.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use iothub_core::HubErrorCode;
use tokio::sync::watch;

use super::{Failure, Hub, key::Key};

/// The keys of what has changed. Clones are handles to the same set.
///
/// As long as nobody stores them, nothing is noted and everything counts as stored.
#[derive(Clone, Default)]
pub(crate) struct Changes(Arc<Inner>);

#[derive(Default)]
struct Inner {
    is_on: AtomicBool,
    noted: Mutex<Noted>,
    /// Something was noted, or nothing will be any more.
    news: Condvar,
    stored: watch::Sender<Stored>,
    /// For those who wait without a runtime.
    stored_news: Condvar,
}

#[derive(Default)]
struct Noted {
    keys: HashSet<Key>,
    /// How many batches were taken.
    taken: u64,
    is_closed: bool,
}

/// How far storing has come.
#[derive(Clone, Default)]
struct Stored {
    /// The number of the last batch that was stored. Each has in it what an earlier one failed to store.
    last: u64,
    /// The number of the last batch that was not, and why.
    failed: Option<(u64, Arc<str>)>,
    is_closed: bool,
}

/// What has been noted since the last one was taken.
pub(crate) struct Batch {
    pub(crate) number: u64,
    pub(crate) keys: Vec<Key>,
}

impl Changes {
    /// From now on changes are noted, and somebody has to take them.
    pub(crate) fn switch_on(&self) {
        self.0.is_on.store(true, Ordering::Release);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_on.load(Ordering::Acquire)
    }

    /// Notes that something was made, changed or removed. Called with the lock held under which that happened.
    pub(crate) fn note(&self, key: impl FnOnce() -> Key) {
        if self.is_on() {
            self.note_all([key()].into_iter());
        }
    }

    /// The same for some things, which are taken together.
    pub(crate) fn note_all(&self, keys: impl Iterator<Item = Key>) {
        if self.is_on() {
            let mut noted = self.noted();
            noted.keys.extend(keys);
            self.0.news.notify_one();
        }
    }

    /// Waits until there is something to take. False if there will be nothing any more.
    pub(crate) fn wait(&self) -> bool {
        let noted = self.noted();
        let waited = self
            .0
            .news
            .wait_while(noted, |noted| noted.keys.is_empty() && !noted.is_closed);
        !waited.unwrap_or_else(PoisonError::into_inner).keys.is_empty()
    }

    /// Waits before another attempt. False if there shall be none.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let noted = self.noted();
        let waited = self.0.news.wait_timeout_while(noted, time, |noted| !noted.is_closed);
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }

    /// Takes everything that has been noted, in the order of keys.
    pub(crate) fn take(&self) -> Batch {
        let mut noted = self.noted();
        noted.taken += 1;
        let number = noted.taken;
        let mut keys: Vec<_> = noted.keys.drain().collect();
        drop(noted);
        keys.sort_unstable();
        Batch { number, keys }
    }

    /// Says that a batch is stored.
    pub(crate) fn succeeded(&self, batch: &Batch) {
        self.report(|stored| {
            stored.last = batch.number;
            stored.failed = None;
        });
    }

    /// Says that a batch could not be stored. The next one has its keys again.
    pub(crate) fn failed(&self, batch: Batch, reason: &str) {
        self.noted().keys.extend(batch.keys);
        self.report(|stored| stored.failed = Some((batch.number, reason.into())));
    }

    /// Says that nobody stores anything any more, or shall not.
    pub(crate) fn close(&self) {
        self.noted().is_closed = true;
        self.0.news.notify_one();
    }

    /// Says to those who still wait that it is in vain.
    pub(crate) fn closed(&self) {
        self.close();
        self.report(|stored| stored.is_closed = true);
    }

    /// See [`Hub::persisted`].
    pub(crate) fn persisted(&self) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        let waiting = self.is_on().then(|| (self.due(), self.0.stored.subscribe()));
        async move {
            let Some((due, mut stored)) = waiting else {
                return Ok(());
            };
            let known = stored.wait_for(|stored| stored.verdict(due).is_some()).await;
            let verdict = known.ok().and_then(|stored| stored.verdict(due));
            verdict.unwrap_or_else(|| Err(Failure::new(HubErrorCode::ServerError, "the hub is gone")))
        }
    }

    fn is_persisted(&self) -> bool {
        if !self.is_on() {
            return true;
        }
        // Found out first: who reports locks what is noted before what is stored, and so does everybody.
        let due = self.due();
        self.0.stored.borrow().last >= due
    }

    fn wait_until_persisted(&self) -> Result<(), Failure> {
        if !self.is_on() {
            return Ok(());
        }
        let due = self.due();
        let mut noted = self.noted();
        loop {
            if let Some(verdict) = self.0.stored.borrow().verdict(due) {
                return verdict;
            }
            noted = self.0.stored_news.wait(noted).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn report(&self, change: impl FnOnce(&mut Stored)) {
        let _noted = self.noted();
        self.0.stored.send_modify(change);
        self.0.stored_news.notify_all();
    }

    /// The batch that has everything in it which was noted until now.
    fn due(&self) -> u64 {
        let noted = self.noted();
        noted.taken + u64::from(!noted.keys.is_empty())
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored {
    /// `None` as long as nobody knows.
    fn verdict(&self, due: u64) -> Option<Result<(), Failure>> {
        let failed = |reason: &str| Some(Err(Failure::new(HubErrorCode::ServerError, reason)));
        match &self.failed {
            _ if self.last >= due => Some(Ok(())),
            Some((number, reason)) if *number >= due => failed(reason),
            _ if self.is_closed => failed("the hub has stopped before it could store this"),
            _ => None,
        }
    }
}

impl Hub {
    pub(crate) fn changes(&self) -> &Changes {
        &self.0.changes
    }

    /// Returns when everything that the hub has decided so far would survive a crash: at once, if nothing is stored.
    ///
    /// A door awaits this between what the hub did and telling its client that it is done.
    ///
    /// # Errors
    ///
    /// It could not be stored. It is done nevertheless, and lost if the hub ends now.
    pub(crate) fn persisted(&self) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        self.changes().persisted()
    }

    /// Whether nothing has to be waited for.
    pub(crate) fn is_persisted(&self) -> bool {
        self.changes().is_persisted()
    }

    /// The same as [`persisted`](Self::persisted) for callers that cannot await: it takes as long as the disk does.
    pub(crate) fn wait_until_persisted(&self) -> Result<(), Failure> {
        self.changes().wait_until_persisted()
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("is_on", &self.is_on())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn who_asks_and_who_stores_do_not_wait_for_each_other() {
        let changes = Changes::default();
        changes.switch_on();
        let storing = changes.clone();
        let storing = thread::spawn(move || {
            while storing.wait() {
                storing.succeeded(&storing.take());
            }
            storing.closed();
        });
        for partition in 0..20_000 {
            changes.note(|| Key::Partition(partition));
            while !changes.is_persisted() {}
        }
        changes.close();
        storing.join().unwrap();
        assert!(changes.is_persisted());
    }
}

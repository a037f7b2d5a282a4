use std::collections::VecDeque;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::Outcome;

/// Messages that wait to be taken, and those that are taken and not settled yet: whoever takes one holds a lock on it.
///
/// Devices have such a queue each, and the service has one for feedback and one for file notifications.
#[derive(Debug)]
pub(crate) struct LockQueue<T> {
    entries: VecDeque<Entry<T>>,
    /// How many messages were ever queued: the last sequence number.
    count: u64,
    /// Before that no message expires, so that nobody has to look through them.
    first_end: Option<OffsetDateTime>,
    /// When somebody is going to look for expired messages.
    watched: Option<OffsetDateTime>,
}

#[derive(Debug)]
struct Entry<T> {
    message: T,
    sequence: u64,
    enqueued: OffsetDateTime,
    expires: OffsetDateTime,
    deliveries: u8,
    lock: Option<(Uuid, OffsetDateTime)>,
}

/// A message that somebody holds until it is settled or the lock runs out.
#[derive(Clone, Debug)]
pub(crate) struct Locked<T> {
    pub(crate) message: T,
    pub(crate) token: Uuid,
    pub(crate) sequence: u64,
    pub(crate) enqueued: OffsetDateTime,
    /// How often it was given back before.
    pub(crate) deliveries: u8,
}

/// A message of a queue as it is stored: whether somebody holds it is forgotten.
#[derive(Clone, Debug)]
pub(crate) struct Waiting<T> {
    pub(crate) message: T,
    pub(crate) sequence: u64,
    pub(crate) enqueued: OffsetDateTime,
    pub(crate) expires: OffsetDateTime,
    pub(crate) deliveries: u8,
}

/// What became of a message of a queue. Unless it was abandoned, it is not in there any more.
#[derive(Debug)]
pub(crate) struct Settled<T> {
    pub(crate) message: T,
    pub(crate) sequence: u64,
    pub(crate) outcome: Outcome,
}

impl<T: Clone> LockQueue<T> {
    /// Returns the number of the message, from 1.
    pub(crate) fn push(&mut self, message: T, now: OffsetDateTime, expires: OffsetDateTime) -> u64 {
        self.count += 1;
        self.note_end(expires);
        self.entries.push_back(Entry {
            message,
            sequence: self.count,
            enqueued: now,
            expires,
            deliveries: 0,
            lock: None,
        });
        self.count
    }

    /// Hands out the first message that nobody holds, for as long as `lock` says.
    pub(crate) fn take(&mut self, now: OffsetDateTime, lock: Duration) -> Option<Locked<T>> {
        let entry = self.entries.iter_mut().find(|entry| entry.is_free(now))?;
        let token = Uuid::new_v4();
        entry.lock = Some((token, now + lock));
        Some(Locked {
            message: entry.message.clone(),
            token,
            sequence: entry.sequence,
            enqueued: entry.enqueued,
            deliveries: entry.deliveries,
        })
    }

    /// Ends the lock that `token` holds, the way its holder says. `None` if there is no such lock any more.
    ///
    /// A message that is given back for the `most`th time is not delivered again.
    pub(crate) fn settle(
        &mut self,
        token: Uuid,
        outcome: Outcome,
        now: OffsetDateTime,
        most: u8,
    ) -> Option<Settled<T>> {
        let held = |entry: &Entry<T>| matches!(entry.lock, Some((held, until)) if held == token && until > now);
        let at = self.entries.iter().position(held)?;
        let entry = self.entries.get_mut(at)?;
        let mut settled = entry.settled(outcome);
        if outcome == Outcome::Abandoned {
            entry.lock = None;
            entry.deliveries += 1;
            if entry.deliveries < most {
                return Some(settled);
            }
            settled.outcome = Outcome::DeliveredTooOften;
        }
        self.entries.remove(at);
        Some(settled)
    }

    /// Ends the lock that `token` holds as if it ran out. Says whether there is one.
    pub(crate) fn release(&mut self, token: Uuid) -> bool {
        let held = |entry: &&mut Entry<T>| matches!(entry.lock, Some((held, _)) if held == token);
        let held = self.entries.iter_mut().find(held);
        held.map(|entry| entry.lock = None).is_some()
    }

    /// Removes what is too old, unless somebody holds it.
    pub(crate) fn expire(&mut self, now: OffsetDateTime) -> Vec<Settled<T>> {
        self.watched = self.watched.filter(|watched| *watched > now);
        if self.first_end.is_none_or(|end| now < end) {
            return Vec::new();
        }
        let expired = self.remove(Outcome::Expired, |entry| entry.expires <= now && entry.is_free(now));
        self.first_end = self.entries.iter().map(|entry| entry.expires).min();
        expired
    }

    /// Removes everything.
    pub(crate) fn purge(&mut self) -> Vec<Settled<T>> {
        self.remove(Outcome::Purged, |_| true)
    }

    /// Changes messages that nobody holds, and removes those of which `change` says that nothing is left.
    pub(crate) fn retain_free(&mut self, now: OffsetDateTime, mut change: impl FnMut(u64, &mut T) -> bool) {
        self.entries
            .retain_mut(|entry| !entry.is_free(now) || change(entry.sequence, &mut entry.message));
    }

    /// The message with this number, if it is in here.
    pub(crate) fn waiting(&self, sequence: u64) -> Option<Waiting<T>> {
        let at = self.entries.binary_search_by_key(&sequence, |entry| entry.sequence);
        let entry = self.entries.get(at.ok()?)?;
        Some(Waiting {
            message: entry.message.clone(),
            sequence,
            enqueued: entry.enqueued,
            expires: entry.expires,
            deliveries: entry.deliveries,
        })
    }

    /// Puts a message back, in the place of the one with its number.
    pub(crate) fn restore(&mut self, waiting: Waiting<T>) {
        let entry = Entry {
            message: waiting.message,
            sequence: waiting.sequence,
            enqueued: waiting.enqueued,
            expires: waiting.expires,
            deliveries: waiting.deliveries,
            lock: None,
        };
        self.count_on(entry.sequence);
        self.note_end(entry.expires);
        match self
            .entries
            .binary_search_by_key(&entry.sequence, |entry| entry.sequence)
        {
            Ok(at) => self.entries[at] = entry,
            Err(at) => self.entries.insert(at, entry),
        }
    }

    /// Takes out the message with this number, whoever holds it.
    pub(crate) fn forget(&mut self, sequence: u64) {
        self.entries.retain(|entry| entry.sequence != sequence);
    }

    /// The numbers of all messages.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().map(|entry| entry.sequence)
    }

    /// The last number that was given.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.count
    }

    /// Gives only higher numbers than this from now on.
    pub(crate) fn count_on(&mut self, sequence: u64) {
        self.count = self.count.max(sequence);
    }

    /// When the first lock ends by itself.
    pub(crate) fn first_lock_end(&self) -> Option<OffsetDateTime> {
        self.entries.iter().filter_map(|entry| Some(entry.lock?.1)).min()
    }

    /// Says when somebody has to look for expired messages, unless somebody is going to look before that anyway.
    ///
    /// `expires` is the end of a message that was just added. Without it all messages are looked through, if need be.
    pub(crate) fn watch(&mut self, expires: Option<OffsetDateTime>) -> Option<OffsetDateTime> {
        let first = match (expires, self.watched) {
            (Some(expires), watched) => Some(expires).filter(|end| watched.is_none_or(|watched| *end < watched)),
            (None, Some(_)) => None,
            (None, None) => self.entries.iter().map(Entry::end).min(),
        };
        self.watched = first.or(self.watched);
        first
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn note_end(&mut self, expires: OffsetDateTime) {
        self.first_end = Some(self.first_end.map_or(expires, |first| first.min(expires)));
    }

    fn remove(&mut self, outcome: Outcome, which: impl Fn(&Entry<T>) -> bool) -> Vec<Settled<T>> {
        let mut removed = Vec::new();
        self.entries.retain(|entry| {
            let goes = which(entry);
            if goes {
                removed.push(entry.settled(outcome));
            }
            !goes
        });
        removed
    }
}

impl<T> Default for LockQueue<T> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            count: 0,
            first_end: None,
            watched: None,
        }
    }
}

impl<T: Clone> Entry<T> {
    fn is_free(&self, now: OffsetDateTime) -> bool {
        self.lock.is_none_or(|(_, until)| until <= now)
    }

    /// When it expires. While it is held, it does not.
    fn end(&self) -> OffsetDateTime {
        self.lock.map_or(self.expires, |(_, until)| until.max(self.expires))
    }

    fn settled(&self, outcome: Outcome) -> Settled<T> {
        Settled {
            message: self.message.clone(),
            sequence: self.sequence,
            outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
    const HOUR: Duration = Duration::hours(1);
    const MINUTE: Duration = Duration::minutes(1);

    fn queue(messages: &[&'static str]) -> LockQueue<&'static str> {
        let mut queue = LockQueue::default();
        for message in messages {
            queue.push(*message, NOW, NOW + HOUR);
        }
        queue
    }

    #[test]
    fn a_lock_that_runs_out_is_lost_and_does_not_count() {
        let mut queue = queue(&["a", "b"]);
        let first = queue.take(NOW, MINUTE).unwrap();
        assert_eq!(queue.take(NOW, MINUTE).unwrap().message, "b");
        assert!(queue.take(NOW, MINUTE).is_none());
        let later = NOW + MINUTE;
        assert!(queue.settle(first.token, Outcome::Completed, later, 10).is_none());
        let again = queue.take(later, MINUTE).unwrap();
        assert_eq!((again.message, again.sequence, again.deliveries), ("a", 1, 0));
    }

    #[test]
    fn what_is_given_back_too_often_is_gone() {
        let mut queue = queue(&["a"]);
        for (deliveries, outcome) in [
            (0, Outcome::Abandoned),
            (1, Outcome::Abandoned),
            (2, Outcome::DeliveredTooOften),
        ] {
            let locked = queue.take(NOW, MINUTE).unwrap();
            assert_eq!(locked.deliveries, deliveries);
            let settled = queue.settle(locked.token, Outcome::Abandoned, NOW, 3).unwrap();
            assert_eq!(settled.outcome, outcome);
        }
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_is_gone_before_its_end_does_not_end_the_watch() {
        let at = |minutes| NOW + MINUTE * minutes;
        let mut queue = LockQueue::default();
        for (message, minutes) in [("a", 10), ("b", 15), ("c", 20)] {
            queue.push(message, NOW, at(minutes));
            queue.watch(Some(at(minutes)));
        }
        queue.take(NOW, MINUTE * 30).unwrap();
        assert!(queue.expire(at(10)).is_empty());
        assert_eq!(queue.watch(None), Some(at(15)));
        queue.forget(1);
        queue.forget(2);
        for minutes in [12, 15] {
            assert!(queue.expire(at(minutes)).is_empty());
        }
        assert_eq!(queue.watch(None), Some(at(20)));
        assert_eq!(queue.expire(at(20)).len(), 1);
    }

    #[test]
    fn what_is_given_back_after_its_end_expires_at_once() {
        let mut queue = queue(&["a"]);
        let locked = queue.take(NOW, HOUR * 2).unwrap();
        assert!(queue.expire(NOW + HOUR).is_empty());
        queue.settle(locked.token, Outcome::Abandoned, NOW + HOUR, 10).unwrap();
        assert_eq!(queue.expire(NOW + HOUR).len(), 1);
    }

    #[test]
    fn a_message_that_is_held_expires_with_its_lock() {
        let mut queue = queue(&["a", "b"]);
        queue.take(NOW + HOUR - Duration::seconds(30), MINUTE).unwrap();
        assert_eq!(queue.expire(NOW + HOUR).len(), 1);
        let end = NOW + HOUR + Duration::seconds(30);
        assert_eq!(queue.watch(None), Some(end));
        assert_eq!(queue.watch(None), None);
        assert_eq!(queue.expire(end).len(), 1);
        assert_eq!(queue.watch(None), None);
    }
}

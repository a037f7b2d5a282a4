//! What the hub remembers of a device that is gone, if the device asked for that: what it had subscribed to, and which
//! messages it had not confirmed.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Failure, Session, Target, changes::Changes, key::Key};

/// What a device has subscribed to. Connections that follow each other share it, and it goes with the identity.
#[derive(Clone, Debug)]
pub(crate) struct StoredSession(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    subscriptions: Mutex<Subscriptions>,
    /// What is noted when it changes. `None` if it goes with the connection.
    kept: Option<(Changes, Key)>,
}

#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    pub(crate) messages: Option<Confirmation>,
    pub(crate) methods: bool,
    pub(crate) twin_answers: bool,
    pub(crate) desired: bool,
    /// Messages that were sent and not confirmed, the oldest first: the number each went by, and its place in the queue.
    pub(crate) unconfirmed: Vec<(u16, u64)>,
    pub(crate) last_number: u16,
}

/// Whether the device says that it has a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    Never,
    Always,
}

impl Session {
    /// What the device has subscribed to before, and whether the hub remembered anything. With `forget`, it remembers
    /// nothing, neither now nor after this session.
    pub(crate) fn stored(&self, forget: bool) -> Result<(StoredSession, bool), Failure> {
        self.active()?;
        let (changes, target) = (self.hub().changes(), self.target());
        let mut registry = self.hub().registry_mut();
        let stored = &mut registry.identity_mut(target)?.stored_session;
        let known = stored.take();
        let was_known = known.is_some();
        if forget {
            if was_known {
                changes.note(|| Key::stored_session(target));
            }
            return Ok((StoredSession::passing(), false));
        }
        let new = || StoredSession::kept(changes, target, Subscriptions::default());
        let session = stored.insert(known.unwrap_or_else(new));
        Ok((session.clone(), was_known))
    }
}

impl StoredSession {
    /// Notes that it is there now.
    pub(crate) fn kept(changes: &Changes, target: &Target, subscriptions: Subscriptions) -> Self {
        let key = Key::stored_session(target);
        changes.note(|| key.clone());
        Self(Arc::new(Inner {
            subscriptions: Mutex::new(subscriptions),
            kept: Some((changes.clone(), key)),
        }))
    }

    fn passing() -> Self {
        Self(Arc::new(Inner {
            subscriptions: Mutex::default(),
            kept: None,
        }))
    }

    pub(crate) fn lock(&self) -> SubscriptionsGuard<'_> {
        let Inner { subscriptions, kept } = &*self.0;
        SubscriptionsGuard {
            subscriptions: subscriptions.lock().unwrap_or_else(PoisonError::into_inner),
            kept: kept.as_ref(),
        }
    }
}

/// Subscriptions, to read or to change. That they are changed is noted.
pub(crate) struct SubscriptionsGuard<'a> {
    subscriptions: MutexGuard<'a, Subscriptions>,
    kept: Option<&'a (Changes, Key)>,
}

impl Deref for SubscriptionsGuard<'_> {
    type Target = Subscriptions;

    fn deref(&self) -> &Subscriptions {
        &self.subscriptions
    }
}

impl DerefMut for SubscriptionsGuard<'_> {
    fn deref_mut(&mut self) -> &mut Subscriptions {
        if let Some((changes, key)) = self.kept {
            changes.note(|| key.clone());
        }
        &mut self.subscriptions
    }
}

impl Subscriptions {
    /// The number by which a message goes, and whether it went by it before.
    pub(crate) fn number(&mut self, sequence: u64) -> (u16, bool) {
        if let Some((number, _)) = self.unconfirmed.iter().find(|(_, known)| *known == sequence) {
            return (*number, true);
        }
        if self.unconfirmed.len() == MOST_UNCONFIRMED {
            // No queue is that long, so that most of these have come to an end in another way.
            self.unconfirmed.remove(0);
        }
        loop {
            self.last_number = self.last_number.checked_add(1).unwrap_or(1);
            let number = self.last_number;
            if self.unconfirmed.iter().all(|(taken, _)| *taken != number) {
                self.unconfirmed.push((number, sequence));
                return (number, false);
            }
        }
    }

    /// Forgets a message that is confirmed, and says which it was.
    pub(crate) fn confirm(&mut self, number: u16) -> Option<u64> {
        let at = self.unconfirmed.iter().position(|(known, _)| *known == number)?;
        Some(self.unconfirmed.remove(at).1)
    }
}

/// More than wait for a device at any time.
pub(crate) const MOST_UNCONFIRMED: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_its_number_until_it_is_confirmed() {
        let mut subscriptions = Subscriptions::default();
        assert_eq!(subscriptions.number(7), (1, false));
        assert_eq!(subscriptions.number(8), (2, false));
        assert_eq!(subscriptions.number(7), (1, true));
        assert_eq!(subscriptions.confirm(1), Some(7));
        assert_eq!(subscriptions.confirm(1), None);
        assert_eq!(subscriptions.number(7), (3, false));
    }

    #[test]
    fn what_changes_is_noted_and_what_is_read_is_not() {
        let changes = Changes::default();
        changes.switch_on();
        let lamp = Target::parse("lamp", None).unwrap();
        let session = StoredSession::kept(&changes, &lamp, Subscriptions::default());
        let noted = || changes.take().keys;
        let keys = [Key::stored_session(&lamp)];
        assert_eq!(noted(), keys, "it is there now");
        assert!(!session.lock().methods && noted().is_empty());
        session.lock().methods = true;
        assert_eq!(noted(), keys);
    }

    #[test]
    fn numbers_go_round_and_the_oldest_are_forgotten() {
        let mut subscriptions = Subscriptions::default();
        assert_eq!(subscriptions.number(0), (1, false));
        for sequence in 1..70_000 {
            let (number, _) = subscriptions.number(sequence);
            assert_ne!(number, 0);
            assert_eq!(subscriptions.confirm(number), Some(sequence));
        }
        assert_eq!(subscriptions.number(0), (1, true));
        for sequence in 70_000..70_100 {
            subscriptions.number(sequence);
        }
        assert_eq!(subscriptions.unconfirmed.len(), MOST_UNCONFIRMED);
        assert_eq!(subscriptions.confirm(1), None);
    }
}

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use time::OffsetDateTime;

/// What tokens say that were verified before, because clients show the same one with every request.
///
/// It is for what stays true until the token expires: that it is signed, and by whom.
pub(crate) struct KnownTokens<T>(RwLock<HashMap<Box<str>, (T, OffsetDateTime)>>);

impl<T: Clone> KnownTokens<T> {
    /// What a token says and when it expires, if it is known and has not.
    pub(crate) fn get(&self, token: &str, now: OffsetDateTime) -> Option<(T, OffsetDateTime)> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(token).filter(|(_, expires)| now < *expires).cloned()
    }

    /// Remembers what a token says that was verified.
    pub(crate) fn add(&self, token: &str, says: T, expires: OffsetDateTime) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() == CAPACITY {
            // Those that are still shown are soon known again.
            known.clear();
        }
        known.insert(token.into(), (says, expires));
    }
}

impl<T> Default for KnownTokens<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

const CAPACITY: usize = 1000;

#[cfg(test)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

    #[test]
    fn a_token_is_known_until_it_expires() {
        let tokens = KnownTokens::default();
        tokens.add("a", 1, NOW);
        assert_eq!(tokens.get("a", NOW - Duration::NANOSECOND), Some((1, NOW)));
        assert_eq!(tokens.get("a", NOW), None);
        assert_eq!(tokens.get("b", NOW - Duration::HOUR), None);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let tokens = KnownTokens::default();
        let later = NOW + Duration::HOUR;
        for n in 0..=CAPACITY {
            tokens.add(&n.to_string(), n, later);
        }
        assert_eq!(tokens.get("0", NOW), None);
        assert_eq!(tokens.get(&CAPACITY.to_string(), NOW), Some((CAPACITY, later)));
    }
}

use std::sync::atomic::{AtomicU32, Ordering};

/// What all calls of a client together may spend on repetitions.
///
/// It refills with success only. In an outage, when every call fails, it is soon empty, and a client does not add a
/// storm of repetitions to what the hub suffers from.
#[derive(Debug)]
pub(super) struct RetryBudget(AtomicU32);

impl RetryBudget {
    /// Pays for one repetition, if there is enough left.
    pub(super) fn pay(&self, cost: u32) -> bool {
        let paid = |left: u32| left.checked_sub(cost);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid).is_ok()
    }

    pub(super) fn earn(&self) {
        let earned = |left: u32| (left < CAPACITY).then(|| left + 1);
        // An error says that it is full.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU32::new(CAPACITY))
    }
}

/// What a repetition costs.
pub(super) const RETRY: u32 = 5;
/// What a repetition costs after a try that ended with a time-out, because such a try held a connection for long.
pub(super) const RETRY_AFTER_TIMEOUT: u32 = 10;
const CAPACITY: u32 = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_repetitions_are_free_and_then_only_success_pays() {
        let budget = RetryBudget::default();
        assert_eq!((0..10_000).filter(|_| budget.pay(RETRY)).count(), 100);
        (0..4).for_each(|_| budget.earn());
        assert!(!budget.pay(RETRY));
        budget.earn();
        assert!(budget.pay(RETRY));
    }

    #[test]
    fn it_does_not_grow_beyond_its_capacity() {
        let budget = RetryBudget::default();
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!((0..10_000).filter(|_| budget.pay(RETRY_AFTER_TIMEOUT)).count(), 50);
    }
}

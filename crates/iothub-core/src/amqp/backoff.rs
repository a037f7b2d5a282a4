use std::time::Duration;

use crate::schedule::{Schedule, chance};

/// The waits between two tries of the same thing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure.
    pub(super) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// Forgets the failures: it works again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after the last failure, if it was that the hub wants to be left alone.
    pub(super) fn throttled(&self) -> Duration {
        Schedule::Throttle.delay(self.failures.saturating_sub(1), chance())
    }

    /// The wait before a link or connection is made anew: none before the first failure, next to none after it.
    ///
    /// After nine failures in a row it is at least 20 seconds, so that a long outage sees at most three tries a minute.
    pub(super) fn reconnect(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            1 => FIRST_RECONNECT.mul_f64(chance()),
            n => Schedule::Normal
                .delay(n - 2, chance())
                .max(if n > 9 { OUTAGE_FLOOR } else { Duration::ZERO }),
        }
    }
}

const FIRST_RECONNECT: Duration = Duration::from_millis(100);
const OUTAGE_FLOOR: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_sees_twenty_connects_in_its_first_minute_and_three_in_each_after() {
        for _ in 0..200 {
            let mut backoff = Backoff::default();
            let (mut now, mut connects) = (Duration::ZERO, Vec::new());
            while now < Duration::from_secs(600) {
                connects.push(now);
                backoff.failed();
                now += backoff.reconnect();
            }
            let within = |from: Duration| {
                let minute = from..from + Duration::from_secs(60);
                connects.iter().filter(|at| minute.contains(*at)).count()
            };
            assert!(within(Duration::ZERO) <= 20, "{connects:?}");
            for minute in 1..9 {
                assert!(within(Duration::from_secs(60 * minute)) <= 3, "{connects:?}");
            }
        }
    }
}

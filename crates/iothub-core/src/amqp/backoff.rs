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
    /// As long as an outage may be a restart of the hub, for nearly a minute, it is five seconds at most, so that the
    /// hub is found again at once when it is back; and then at least 20 seconds, so that a long outage sees at most
    /// three tries a minute.
    pub(super) fn reconnect(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            1 => FIRST_RECONNECT.mul_f64(chance()),
            n @ 2..=6 => Schedule::Normal.delay(n - 2, chance()),
            7..=LAST_OF_A_RESTART => RESTART_CEILING.mul_f64(0.85 + 0.15 * chance()),
            n => Schedule::Normal.delay(n - 2, chance()).max(OUTAGE_FLOOR),
        }
    }

    /// The wait before something is asked for again that was refused for a reason that only the application can mend.
    pub(super) fn refused(&self) -> Duration {
        Schedule::Normal.delay(self.failures.saturating_sub(1), chance())
    }
}

const FIRST_RECONNECT: Duration = Duration::from_millis(100);
const RESTART_CEILING: Duration = Duration::from_secs(5);
/// Seventeen tries take 50 to 61 seconds.
const LAST_OF_A_RESTART: u32 = 17;
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
            let gaps = connects.windows(2).filter(|pair| pair[1] < Duration::from_secs(45));
            assert!(gaps.clone().count() > 10, "{connects:?}");
            for gap in gaps {
                assert!(gap[1] - gap[0] <= Duration::from_secs(5), "{connects:?}");
            }
            for minute in 1..9 {
                assert!(within(Duration::from_secs(60 * minute)) <= 3, "{connects:?}");
            }
        }
    }
}

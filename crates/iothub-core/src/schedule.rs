use std::time::Duration;

use uuid::Uuid;

/// How long to wait before the next try, by how often it failed before and by a share of chance from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// Something broke: 0.2 s, doubled up to 30 s, of which up to half is cut.
    Normal,
    /// The hub asks to be left alone: 5 s, doubled up to 60 s, a quarter more or less.
    Throttle,
}

impl Schedule {
    pub(crate) fn delay(self, failures: u32, chance: f64) -> Duration {
        let (first, most, least_part, spread) = match self {
            Self::Normal => (Duration::from_millis(200), Duration::from_secs(30), 0.5, 0.5),
            Self::Throttle => (Duration::from_secs(5), Duration::from_secs(60), 0.75, 0.5),
        };
        let whole = first.saturating_mul(2_u32.saturating_pow(failures)).min(most);
        whole.mul_f64(least_part + spread * chance)
    }
}

/// Somewhere from 0 up to 1.
pub(crate) fn chance() -> f64 {
    // A random UUID is the source of chance that is in the tree already; these bits of it are all random.
    let bits = Uuid::new_v4().as_u64_pair().1 & ((1 << 53) - 1);
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_limit_and_never_overflow() {
        let seconds = |schedule: Schedule, failures, chance| schedule.delay(failures, chance).as_secs_f64();
        for (failures, least, most) in [
            (0, 0.1, 0.2),
            (1, 0.2, 0.4),
            (6, 6.4, 12.8),
            (8, 15.0, 30.0),
            (u32::MAX, 15.0, 30.0),
        ] {
            assert_eq!(seconds(Schedule::Normal, failures, 0.0), least);
            assert_eq!(seconds(Schedule::Normal, failures, 1.0), most);
        }
        for (failures, least, most) in [(0, 3.75, 6.25), (1, 7.5, 12.5), (4, 45.0, 75.0), (u32::MAX, 45.0, 75.0)] {
            assert_eq!(seconds(Schedule::Throttle, failures, 0.0), least);
            assert_eq!(seconds(Schedule::Throttle, failures, 1.0), most);
        }
    }

    #[test]
    fn chance_is_spread_from_0_to_1() {
        let drawn: Vec<f64> = (0..1000).map(|_| chance()).collect();
        assert!(drawn.iter().all(|drawn| (0.0..1.0).contains(drawn)));
        assert!(drawn.iter().any(|drawn| *drawn < 0.1) && drawn.iter().any(|drawn| *drawn > 0.9));
    }
}

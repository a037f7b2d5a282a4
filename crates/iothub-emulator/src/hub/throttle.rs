//! How much a hub may do: each meter has a bucket of tokens that fills with the hub's clock.

use std::sync::{Mutex, PoisonError};

use iothub_core::HubErrorCode;
use time::{Date, OffsetDateTime};

use super::{
    DataAction, Failure, Grant, Hub,
    sku::{Meter, Rate, Sku},
};

/// What is left of a hub's figures.
pub(crate) struct Throttle {
    sku: Sku,
    units: u32,
    left: Mutex<Left>,
}

struct Left {
    buckets: [Bucket; Meter::ALL.len()],
    /// Messages of devices, and the day on which they were counted.
    today: (Option<Date>, u32),
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// How much was taken and has not come back yet.
    taken: f64,
    seen: Option<OffsetDateTime>,
}

impl Throttle {
    pub(crate) fn new(sku: Sku, units: u32) -> Self {
        Self {
            sku,
            units,
            left: Mutex::new(Left {
                buckets: Default::default(),
                today: (None, 0),
            }),
        }
    }

    /// How many scheduled jobs wait or run at most.
    pub(super) fn active_jobs(&self) -> usize {
        self.sku.active_jobs()
    }

    fn take(&self, meter: Meter, amount: u32, now: OffsetDateTime) -> Result<(), Failure> {
        let rate = self.sku.rate(self.units, meter);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.buckets[meter as usize].take(amount, rate, now) {
            return Ok(());
        }
        let text = format!(
            "The request has been throttled. Wait 10 seconds and try again. Operation type: {}",
            meter.name()
        );
        Err(Failure::new(HubErrorCode::ThrottlingException, text))
    }

    fn count_message(&self, size: usize, now: OffsetDateTime) -> Result<(), Failure> {
        let count = u32::try_from(size.div_ceil(self.sku.message_meter()).max(1)).unwrap_or(u32::MAX);
        let most = self.sku.daily_messages(self.units);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.today.0 != Some(now.date()) {
            left.today = (Some(now.date()), 0);
        }
        let counted = left.today.1.saturating_add(count);
        if counted > most {
            let text = format!(
                "Total number of messages on IotHub exceeded the allocated quota. Max allowed message count: {most}"
            );
            return Err(Failure::new(HubErrorCode::IotHubQuotaExceeded, text));
        }
        left.today.1 = counted;
        Ok(())
    }
}

impl Bucket {
    /// A bucket holds what its rate gives in its own time, a second or a minute.
    fn take(&mut self, amount: u32, rate: Rate, now: OffsetDateTime) -> bool {
        let passed = self.seen.map_or(0.0, |seen| (now - seen).as_seconds_f64().max(0.0));
        let back = passed / rate.per.as_secs_f64() * f64::from(rate.count);
        self.taken = (self.taken - back).max(0.0);
        self.seen = Some(now);
        let fits = self.taken + f64::from(amount) <= f64::from(rate.count);
        if fits {
            self.taken += f64::from(amount);
        }
        fits
    }
}

impl Hub {
    /// Refuses what a grant does not allow, and what is over the hub's figures.
    pub(super) fn allow(&self, grant: &Grant, action: DataAction) -> Result<(), Failure> {
        grant.require(action)?;
        match meter(action) {
            Some(meter) if !grant.is_unlimited() => self.spend(meter, 1),
            _ => Ok(()),
        }
    }

    /// Counts against a figure of the hub, if it is one that throttles.
    pub(super) fn spend(&self, meter: Meter, amount: u32) -> Result<(), Failure> {
        match self.throttle() {
            Some(throttle) => throttle.take(meter, amount, self.clock().now()),
            None => Ok(()),
        }
    }

    /// Counts a message of a device against the rate and against the quota of the day.
    pub(super) fn spend_message(&self, size: usize) -> Result<(), Failure> {
        let Some(throttle) = self.throttle() else {
            return Ok(());
        };
        let now = self.clock().now();
        throttle.take(Meter::DeviceToCloud, 1, now)?;
        throttle.count_message(size, now)
    }
}

fn meter(action: DataAction) -> Option<Meter> {
    match action {
        DataAction::ReadDevices | DataAction::WriteDevices | DataAction::DeleteDevices => Some(Meter::Registry),
        DataAction::ReadTwins => Some(Meter::TwinReads),
        DataAction::WriteTwins => Some(Meter::TwinUpdates),
        DataAction::ReadConfigurations
        | DataAction::WriteConfigurations
        | DataAction::DeleteConfigurations
        | DataAction::TestConfigurationQueries
        | DataAction::ApplyConfiguration => Some(Meter::Configurations),
        DataAction::ReadTransfers
        | DataAction::WriteTransfers
        | DataAction::DeleteTransfers
        | DataAction::ReadJobs
        | DataAction::WriteJobs
        | DataAction::DeleteJobs => Some(Meter::Jobs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);

    #[test]
    fn a_bucket_fills_with_time() {
        let throttle = Throttle::new(Sku::S1, 1);
        for _ in 0..20 {
            throttle.take(Meter::Queries, 1, NOW).unwrap();
        }
        let failure = throttle.take(Meter::Queries, 1, NOW).unwrap_err();
        assert_eq!(failure.code, HubErrorCode::ThrottlingException);
        assert!(
            failure.message.ends_with("Operation type: Query"),
            "{}",
            failure.message
        );
        throttle.take(Meter::Registry, 1, NOW).unwrap();
        // Twenty a minute are one in three seconds.
        assert!(throttle.take(Meter::Queries, 1, NOW + Duration::seconds(2)).is_err());
        throttle.take(Meter::Queries, 1, NOW + Duration::seconds(3)).unwrap();
        assert!(throttle.take(Meter::Queries, 1, NOW + Duration::seconds(3)).is_err());
        throttle.take(Meter::Queries, 20, NOW + Duration::minutes(5)).unwrap();
    }

    #[test]
    fn the_quota_of_a_day_ends_with_it() {
        let throttle = Throttle::new(Sku::F1, 1);
        for _ in 0..4000 {
            // Two of 512 bytes each.
            throttle.count_message(1024, NOW).unwrap();
        }
        let failure = throttle.count_message(1, NOW + Duration::hours(11)).unwrap_err();
        assert_eq!(failure.code, HubErrorCode::IotHubQuotaExceeded);
        throttle.count_message(1, NOW + Duration::hours(12)).unwrap();
    }
}

use std::time::Duration;

use serde::Deserialize;

/// An edition of IoT Hub: what it costs, and how much a unit of it may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum Sku {
    /// Free.
    F1,
    /// Basic.
    B1,
    /// Basic.
    B2,
    /// Basic.
    B3,
    /// Standard.
    #[default]
    S1,
    /// Standard.
    S2,
    /// Standard.
    S3,
}

/// What counts together against one figure of a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Meter {
    Registry,
    TwinReads,
    TwinUpdates,
    Queries,
    /// In kilobytes.
    Methods,
    Jobs,
    Configurations,
    CloudToDevice,
    /// By HTTPS.
    CloudToDeviceReceives,
    DeviceToCloud,
    FileUploads,
}

/// So many in so long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    pub(crate) count: u32,
    pub(crate) per: Duration,
}

impl Sku {
    /// What a hub of so many units may do, as Microsoft publishes it under "quotas and throttling".
    pub(crate) fn rate(self, units: u32, meter: Meter) -> Rate {
        let level = match self {
            Self::F1 | Self::B1 | Self::S1 => 0,
            Self::B2 | Self::S2 => 1,
            Self::B3 | Self::S3 => 2,
        };
        // A figure a unit, and what a hub has at least.
        let a_minute = |of: [u32; 3]| (of[level], 0, MINUTE);
        let a_second = |of: [(u32, u32); 3]| (of[level].0, of[level].1, SECOND);
        let (each, least, per) = match meter {
            Meter::Registry | Meter::Jobs | Meter::CloudToDevice | Meter::FileUploads => a_minute([100, 100, 5000]),
            Meter::Queries => a_minute([20, 20, 1000]),
            Meter::Configurations => a_minute([20, 20, 20]),
            Meter::CloudToDeviceReceives => a_minute([1000, 1000, 50_000]),
            Meter::TwinReads => a_second([(0, 100), (10, 100), (500, 0)]),
            Meter::TwinUpdates => a_second([(0, 50), (5, 50), (250, 0)]),
            Meter::DeviceToCloud => a_second([(12, 100), (120, 0), (6000, 0)]),
            Meter::Methods => a_second([(160, 0), (480, 0), (24 * 1024, 0)]),
        };
        Rate {
            count: each.saturating_mul(units).max(least),
            per,
        }
    }

    /// How many messages a hub of so many units takes from devices in a day.
    pub(crate) fn daily_messages(self, units: u32) -> u32 {
        let each: u32 = match self {
            Self::F1 => 8_000,
            Self::B1 | Self::S1 => 400_000,
            Self::B2 | Self::S2 => 6_000_000,
            Self::B3 | Self::S3 => 300_000_000,
        };
        each.saturating_mul(units)
    }

    /// How many scheduled jobs wait or run at most, whatever the number of units.
    pub(crate) fn active_jobs(self) -> usize {
        match self {
            Self::F1 | Self::B1 | Self::S1 => 1,
            Self::B2 | Self::S2 => 5,
            Self::B3 | Self::S3 => 10,
        }
    }

    /// What a message is counted in, in bytes: a larger one counts as several.
    pub(crate) fn message_meter(self) -> usize {
        match self {
            Self::F1 => 512,
            _ => 4096,
        }
    }
}

impl Meter {
    pub(crate) const ALL: [Self; 11] = [
        Self::Registry,
        Self::TwinReads,
        Self::TwinUpdates,
        Self::Queries,
        Self::Methods,
        Self::Jobs,
        Self::Configurations,
        Self::CloudToDevice,
        Self::CloudToDeviceReceives,
        Self::DeviceToCloud,
        Self::FileUploads,
    ];

    /// What the hub calls it when it refuses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Registry => "CRUD",
            Self::TwinReads => "TwinRead",
            Self::TwinUpdates => "TwinUpdate",
            Self::Queries => "Query",
            Self::Methods => "DirectMethod",
            Self::Jobs => "Job",
            Self::Configurations => "ConfigurationWrite",
            Self::CloudToDevice => "C2DSend",
            Self::CloudToDeviceReceives => "C2DReceive",
            Self::DeviceToCloud => "D2CSend",
            Self::FileUploads => "FileUpload",
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_the_published_ones() {
        for (sku, units, meter, count, per) in [
            (Sku::S1, 1, Meter::Registry, 100, MINUTE),
            (Sku::S1, 3, Meter::Registry, 300, MINUTE),
            (Sku::S3, 1, Meter::Registry, 5000, MINUTE),
            (Sku::F1, 1, Meter::Queries, 20, MINUTE),
            (Sku::S3, 2, Meter::Queries, 2000, MINUTE),
            (Sku::S3, 2, Meter::Configurations, 40, MINUTE),
            (Sku::S1, 200, Meter::TwinReads, 100, SECOND),
            (Sku::S2, 1, Meter::TwinReads, 100, SECOND),
            (Sku::S2, 20, Meter::TwinReads, 200, SECOND),
            (Sku::S3, 1, Meter::TwinUpdates, 250, SECOND),
            (Sku::B2, 11, Meter::TwinUpdates, 55, SECOND),
            (Sku::S1, 1, Meter::DeviceToCloud, 100, SECOND),
            (Sku::S1, 10, Meter::DeviceToCloud, 120, SECOND),
            (Sku::S2, 1, Meter::Methods, 480, SECOND),
            (Sku::B3, 1, Meter::CloudToDeviceReceives, 50_000, MINUTE),
        ] {
            assert_eq!(sku.rate(units, meter), Rate { count, per }, "{sku:?} {units} {meter:?}");
        }
        assert_eq!(Sku::S1.daily_messages(2), 800_000);
        assert_eq!([Sku::S1, Sku::S2, Sku::S3].map(Sku::active_jobs), [1, 5, 10]);
    }
}

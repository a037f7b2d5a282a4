use std::time::Duration;

use azure_core::error::ErrorKind;
use iothub_core::{Error, Result};
use serde::Deserialize;

use super::{EventsOptions, policy::PolicyOptions, provisioned::DeviceOptions, sku::Sku};

/// What a hub is like, apart from where it listens.
///
/// # Examples
///
/// ```
/// use iothub_emulator::{EmulatorOptions, HubOptions, Sku};
///
/// let options = EmulatorOptions {
///     hub: HubOptions { sku: Sku::S2, throttling: true, ..Default::default() },
///     ..Default::default()
/// };
/// assert_eq!(options.hub.units, 1);
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HubOptions {
    /// What the hub's edition is, which says how much it may do. Without it, [`Sku::S1`].
    pub sku: Sku,
    /// How many units of that edition, from 1 to 200. Without it, 1.
    pub units: u32,
    /// Whether the hub refuses what is over the figures of its edition. Off without it: tests are to be quick.
    pub throttling: bool,
    /// Whether the hub obeys the messages with which SDKs ask for faults in their own tests. Off without it, as on hubs in
    /// the cloud.
    pub fault_injection: bool,
    /// Shared access policies besides those that every hub is born with, or in place of those of the same name.
    pub policies: Vec<PolicyOptions>,
    /// Devices that are made at the start, unless they are there.
    pub devices: Vec<DeviceOptions>,
    /// The built-in endpoint, where services read what devices send.
    pub events: EventsOptions,
    /// Messages to devices.
    pub cloud_to_device: CloudToDeviceOptions,
    /// Feedback on those.
    pub feedback: ServiceQueueOptions,
    /// Notifications of uploaded files.
    pub file_notifications: ServiceQueueOptions,
}

/// How long messages wait for devices.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CloudToDeviceOptions {
    /// How long a message waits that does not say it itself: from a minute to two days. Without it, an hour.
    #[serde(with = "humantime_serde")]
    pub default_ttl: Duration,
    /// How often a device may get the same message, from 1 to 100. Without it, 10.
    pub max_delivery_count: u8,
}

/// How long messages wait for services.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceQueueOptions {
    /// How long a message waits: from a minute to two days. Without it, an hour.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
    /// How long a service may hold a message before another gets it: from 5 to 300 seconds. Without it, a minute.
    #[serde(with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// How often services may get the same message, from 1 to 100. Without it, 10 for feedback and 100 for file
    /// notifications.
    pub max_delivery_count: Option<u8>,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self {
            sku: Sku::default(),
            units: 1,
            throttling: false,
            fault_injection: false,
            policies: Vec::new(),
            devices: Vec::new(),
            events: EventsOptions::default(),
            cloud_to_device: CloudToDeviceOptions::default(),
            feedback: ServiceQueueOptions::default(),
            file_notifications: ServiceQueueOptions::default(),
        }
    }
}

impl Default for CloudToDeviceOptions {
    fn default() -> Self {
        Self {
            default_ttl: HOUR,
            max_delivery_count: 10,
        }
    }
}

impl Default for ServiceQueueOptions {
    fn default() -> Self {
        Self {
            ttl: HOUR,
            lock_timeout: MINUTE,
            max_delivery_count: None,
        }
    }
}

impl HubOptions {
    /// Refuses what no hub could be like.
    pub(crate) fn check(&self) -> Result<()> {
        within("hub.units", self.units, 1, 200)?;
        self.events.check()?;
        let to_devices = &self.cloud_to_device;
        lasts(
            "hub.cloud_to_device.default_ttl",
            to_devices.default_ttl,
            MINUTE,
            TWO_DAYS,
        )?;
        let count = to_devices.max_delivery_count;
        within("hub.cloud_to_device.max_delivery_count", count.into(), 1, 100)?;
        for (name, queue) in [
            ("feedback", &self.feedback),
            ("file_notifications", &self.file_notifications),
        ] {
            lasts(&format!("hub.{name}.ttl"), queue.ttl, MINUTE, TWO_DAYS)?;
            lasts(
                &format!("hub.{name}.lock_timeout"),
                queue.lock_timeout,
                5 * SECOND,
                300 * SECOND,
            )?;
            let count = queue.max_delivery_count.unwrap_or(1);
            within(&format!("hub.{name}.max_delivery_count"), count.into(), 1, 100)?;
        }
        for policy in &self.policies {
            policy.check()?;
        }
        for device in &self.devices {
            device.check()?;
        }
        Ok(())
    }
}

pub(super) fn within(name: &str, value: u32, least: u32, most: u32) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(wrong(format!(
        "{name} is {value}, and has to be from {least} to {most}"
    )))
}

fn lasts(name: &str, value: Duration, least: Duration, most: Duration) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(wrong(format!(
        "{name} is {value:?}, and has to be from {least:?} to {most:?}"
    )))
}

pub(super) fn wrong(message: String) -> Error {
    Error::with_message(ErrorKind::Other, message)
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const TWO_DAYS: Duration = Duration::from_secs(48 * 3600);

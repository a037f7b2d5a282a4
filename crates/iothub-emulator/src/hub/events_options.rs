use iothub_core::Result;
use serde::Deserialize;

use super::options::{within, wrong};

/// The built-in endpoint, where services read what devices send with a client of Event Hubs.
///
/// # Examples
///
/// ```
/// use iothub_emulator::{EventsOptions, HubOptions};
///
/// let options = HubOptions {
///     events: EventsOptions {
///         consumer_groups: vec!["dashboard".into()],
///         ..Default::default()
///     },
///     ..Default::default()
/// };
/// assert_eq!(options.events.partitions, 4);
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsOptions {
    /// How many partitions there are, from 1 to 128. Without it, 4. All messages of a device go to the same.
    pub partitions: usize,
    /// The consumer groups there are besides `$Default`.
    pub consumer_groups: Vec<String>,
}

impl Default for EventsOptions {
    fn default() -> Self {
        Self {
            partitions: 4,
            consumer_groups: Vec::new(),
        }
    }
}

impl EventsOptions {
    /// Refuses what no hub could be like.
    pub(crate) fn check(&self) -> Result<()> {
        let partitions = u32::try_from(self.partitions).unwrap_or(u32::MAX);
        within("hub.events.partitions", partitions, 1, 128)?;
        let is_name = |name: &String| {
            (1..=50).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        match self.consumer_groups.iter().find(|name| !is_name(name)) {
            Some(name) => Err(wrong(format!(
                "hub.events.consumer_groups has {name:?}, and a name has 1 to 50 letters, digits, -, . and _"
            ))),
            None => Ok(()),
        }
    }
}

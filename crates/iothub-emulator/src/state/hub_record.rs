use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::count;
use crate::hub::{Failure, Hub, Still};

/// What a hub counts, so that no number is given twice, and how far its clock was turned.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HubRecord {
    /// See [`FORMAT`].
    format: u32,
    #[serde(default)]
    clock_turned_seconds: f64,
    #[serde(default)]
    last_generation_id: Digits,
    #[serde(default, deserialize_with = "count::read")]
    last_etag: u64,
    #[serde(default, deserialize_with = "count::read")]
    last_configuration: u64,
}

/// A number that stands in JSON as text, because not every tool reads one of so many digits to the last.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Digits(pub(crate) u64);

impl HubRecord {
    pub(super) fn of(hub: &Hub, still: &Still<'_>) -> Self {
        let (last_generation, last_etag) = still.registry.last_numbers();
        Self {
            format: FORMAT,
            clock_turned_seconds: hub.clock().turned().as_secs_f64(),
            last_generation_id: Digits(last_generation),
            last_etag,
            last_configuration: still.configurations.last_number(),
        }
    }

    pub(super) fn restore(self, hub: &Hub) -> Result<(), Failure> {
        if self.format > FORMAT {
            return Err(newer(self.format));
        }
        let turned = Duration::try_from_secs_f64(self.clock_turned_seconds)
            .map_err(|error| Failure::argument(format!("clockTurnedSeconds: {error}")))?;
        hub.clock().turn_to(turned);
        hub.configurations_mut().count_on(self.last_configuration);
        hub.registry_mut().count_on(self.last_generation_id.0, self.last_etag);
        Ok(())
    }
}

/// Refuses a line that begins a state of a newer form, of which nothing else needs to be understood.
pub(crate) fn check_format(line: &str) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Line {
        hub: Counts,
    }
    #[derive(Deserialize)]
    struct Counts {
        format: u32,
    }
    match serde_json::from_str::<Line>(line) {
        Ok(line) if line.hub.format > FORMAT => Err(newer(line.hub.format)),
        _ => Ok(()),
    }
}

fn newer(format: u32) -> Failure {
    Failure::argument(format!(
        "this is format {format}, of a newer iothub-emulator; this one reads up to {FORMAT}"
    ))
}

impl From<Digits> for String {
    fn from(Digits(number): Digits) -> Self {
        number.to_string()
    }
}

impl TryFrom<String> for Digits {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let number: u64 = text.parse().map_err(|error| format!("{text:?}: {error}"))?;
        count::check(number).map(Self)
    }
}

/// The form that lines have. It is raised with whatever an emulator of before could not read: another kind of line, or
/// another member in one. Lines of every form up to this one are read.
///
/// 1: the first. 2: scheduled jobs and MQTT sessions.
const FORMAT: u32 = 2;

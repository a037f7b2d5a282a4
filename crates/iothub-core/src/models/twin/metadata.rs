use std::collections::BTreeMap;

use azure_core::time::OffsetDateTime;
use serde::{Deserialize, Serialize};

use crate::models::timestamp;

/// When a part of a twin was last written, and each part of that part.
///
/// # Examples
///
/// ```
/// # let twin = iothub_core::models::Twin::from_json(r#"{"deviceId": "lamp", "properties": {"desired": {"$metadata":
/// #     {"fan": {"$lastUpdated": "2026-01-01T00:00:00Z", "speed": {"$lastUpdatedVersion": 2}}}}}}"#)?;
/// let metadata = twin.desired().metadata()?;
/// let speed = metadata.get("fan.speed").and_then(|speed| speed.last_updated_version);
/// # assert_eq!(speed, Some(2));
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TwinMetadata {
    /// When it was written. A whole is as young as its youngest part, removed ones included.
    #[serde(
        rename = "$lastUpdated",
        default,
        with = "timestamp::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_updated: Option<OffsetDateTime>,
    /// The `$version` of the section that wrote it. Desired properties have it, reported ones have not.
    #[serde(rename = "$lastUpdatedVersion", skip_serializing_if = "Option::is_none")]
    pub last_updated_version: Option<i64>,
    /// The parts of an object, by name. Arrays are one part.
    #[serde(flatten)]
    pub parts: BTreeMap<String, Self>,
}

impl TwinMetadata {
    /// The metadata of the part with this path, such as `fan.speed`.
    pub fn get(&self, path: &str) -> Option<&Self> {
        path.split('.')
            .try_fold(self, |metadata, name| metadata.parts.get(name))
    }
}

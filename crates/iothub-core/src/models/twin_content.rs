use azure_core::fmt::SafeDebug;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{desired, null_as_default};

/// All that can be written of a twin: for a new device's first twin, or to replace a twin as a whole.
///
/// Replacing takes away what is not in here. To change some of a twin, send a [`TwinPatch`](super::TwinPatch) instead; it
/// also tells the limits.
///
/// # Examples
///
/// ```
/// use iothub_core::models::TwinContent;
///
/// let content = TwinContent::new().set_tag("site", "x").set_desired("speed", 3);
/// ```
#[derive(Clone, Default, PartialEq, SafeDebug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TwinContent {
    /// The application's own notes, which the device does not see.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Map::is_empty")]
    pub tags: Map<String, Value>,
    /// What the application wants of the device.
    #[serde(
        default,
        rename = "properties",
        with = "desired",
        skip_serializing_if = "Map::is_empty"
    )]
    pub desired: Map<String, Value>,
}

impl TwinContent {
    /// A twin with nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a tag.
    #[must_use]
    pub fn set_tag(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Sets a desired property.
    #[must_use]
    pub fn set_desired(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.desired.insert(name.into(), value.into());
        self
    }
}

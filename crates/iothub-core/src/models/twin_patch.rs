use azure_core::fmt::SafeDebug;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{desired, null_as_default};

/// Changes to the tags and desired properties of a twin.
///
/// The hub merges: objects go into objects, any other value takes the place of what was there, and null deletes. What the
/// patch does not name stays. Reported properties belong to the device and cannot be patched from here.
///
/// Keys are up to 1 KB and hold no `.`, `$`, `#`, space or control character; texts are up to 4 KB; nesting goes ten deep; integers
/// are within ±2⁵². Tags make up to 8 KB in all, desired properties up to 32 KB.
///
/// # Examples
///
/// ```
/// use iothub_core::models::TwinPatch;
/// use serde_json::json;
///
/// let patch = TwinPatch::new()
///     .set_tag("site", "x")
///     .set_desired("fan", json!({ "speed": 3 }))
///     .remove_desired("heater");
/// assert_eq!(
///     serde_json::to_value(&patch)?,
///     json!({ "tags": { "site": "x" }, "properties": { "desired": { "fan": { "speed": 3 }, "heater": null } } })
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, SafeDebug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TwinPatch {
    /// Changes to the tags, which are the application's own notes and which the device does not see.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Map::is_empty")]
    pub tags: Map<String, Value>,
    /// Changes to the desired properties, which the hub passes on to the device.
    #[serde(
        default,
        rename = "properties",
        with = "desired",
        skip_serializing_if = "Map::is_empty"
    )]
    pub desired: Map<String, Value>,
}

impl TwinPatch {
    /// A patch that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a tag. An object is merged with the one that is there.
    #[must_use]
    pub fn set_tag(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Removes a tag, with all that is in it.
    #[must_use]
    pub fn remove_tag(self, name: impl Into<String>) -> Self {
        self.set_tag(name, Value::Null)
    }

    /// Sets a desired property. An object is merged with the one that is there.
    #[must_use]
    pub fn set_desired(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.desired.insert(name.into(), value.into());
        self
    }

    /// Removes a desired property, with all that is in it.
    #[must_use]
    pub fn remove_desired(self, name: impl Into<String>) -> Self {
        self.set_desired(name, Value::Null)
    }
}

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use super::null_as_default;

/// What a configuration writes: paths below the twin, and the value for each.
///
/// A path names a place in the desired properties, such as `properties.desired.interval`; the value takes that place, and what
/// stands beside it stays.
///
/// # Examples
///
/// ```
/// use iothub_core::models::{Configuration, ConfigurationContent};
/// use serde_json::{Map, json};
///
/// let content = ConfigurationContent::Device(Map::from_iter([("properties.desired.interval".to_owned(), json!(60))]));
/// let slow = Configuration::new("slow").with_content(content).with_target_condition("tags.site = 'x'");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConfigurationContent {
    /// For the twins of devices.
    #[doc(alias = "deviceContent")]
    Device(Map<String, Value>),
    /// For the twins of modules.
    #[doc(alias = "moduleContent")]
    Module(Map<String, Value>),
    /// An edge deployment: for each module of an edge device its paths. It has an entry `$edgeAgent`, which may be empty where a
    /// deployment only adds to another one.
    #[doc(alias = "modulesContent")]
    Edge(BTreeMap<String, Map<String, Value>>),
}

impl Serialize for ConfigurationContent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Device(content) => map.serialize_entry("deviceContent", content)?,
            Self::Module(content) => map.serialize_entry("moduleContent", content)?,
            Self::Edge(content) => map.serialize_entry("modulesContent", content)?,
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for ConfigurationContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        #[derive(Default)]
        struct Members {
            #[serde(deserialize_with = "null_as_default")]
            device_content: Map<String, Value>,
            #[serde(deserialize_with = "null_as_default")]
            module_content: Map<String, Value>,
            #[serde(deserialize_with = "null_as_default")]
            modules_content: BTreeMap<String, Map<String, Value>>,
        }

        // Some clients write all three members and leave two empty.
        let members = Members::deserialize(deserializer)?;
        Ok(if !members.modules_content.is_empty() {
            Self::Edge(members.modules_content)
        } else if !members.module_content.is_empty() {
            Self::Module(members.module_content)
        } else {
            Self::Device(members.device_content)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn empty_members_do_not_count() {
        let all =
            json!({ "deviceContent": {}, "moduleContent": { "properties.desired.a": 1 }, "modulesContent": null });
        let content: ConfigurationContent = serde_json::from_value(all).unwrap();
        assert_eq!(
            serde_json::to_value(content).unwrap(),
            json!({ "moduleContent": { "properties.desired.a": 1 } })
        );
    }
}

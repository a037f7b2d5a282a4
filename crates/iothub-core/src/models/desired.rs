//! Desired properties stand in an object `properties` of their own on the wire.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::null_as_default;

pub(super) fn serialize<S: Serializer>(desired: &Map<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Properties<'a> {
        desired: &'a Map<String, Value>,
    }

    Properties { desired }.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    #[derive(Deserialize)]
    struct Properties {
        #[serde(default, deserialize_with = "null_as_default")]
        desired: Map<String, Value>,
    }

    Ok(Option::<Properties>::deserialize(deserializer)?
        .map(|properties| properties.desired)
        .unwrap_or_default())
}

use std::collections::BTreeMap;

use azure_core::fmt::SafeDebug;
use iothub_core::{
    Result,
    models::{JsonText, WritableProperty},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _},
};
use serde_json::{Map, Value};

/// A digital twin of any model.
///
/// # Examples
///
/// ```
/// use iothub_digitaltwin::models::{BasicComponent, BasicDigitalTwin};
///
/// let json = r#"{
///     "$dtId": "controller-3",
///     "serialNumber": "alwinexlepaho8329",
///     "thermostat1": { "targetTemperature": 21.8, "$metadata": { "targetTemperature": { "desiredValue": 22 } } },
///     "$metadata": { "$model": "dtmi:com:example:TemperatureController;1" }
/// }"#;
/// let twin: BasicDigitalTwin = serde_json::from_str(json)?;
/// let thermostat: BasicComponent = twin.get("thermostat1")?.expect("the controller has one");
/// assert_eq!(thermostat.get("targetTemperature")?, Some(21.8));
/// assert_eq!(thermostat.metadata.properties["targetTemperature"].desired_value, Some(22.into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, SafeDebug, Serialize, Deserialize)]
#[safe(true)]
#[non_exhaustive]
pub struct BasicDigitalTwin {
    /// Whose it is: `device`, or `device~module`.
    #[serde(rename = "$dtId")]
    pub id: String,
    /// The model, and what is known of the properties of the root.
    #[serde(rename = "$metadata")]
    pub metadata: DigitalTwinMetadata,
    /// The properties and components.
    #[doc(alias = "CustomProperties")]
    #[serde(flatten)]
    #[safe(false)]
    pub properties: Map<String, Value>,
}

/// A component of a digital twin of any model.
#[derive(Clone, PartialEq, SafeDebug, Serialize, Deserialize)]
#[safe(true)]
#[non_exhaustive]
pub struct BasicComponent {
    /// What is known of its properties.
    #[serde(rename = "$metadata")]
    pub metadata: ComponentMetadata,
    /// Its properties.
    #[serde(flatten)]
    #[safe(false)]
    pub properties: Map<String, Value>,
}

/// What `$metadata` says in the root of a digital twin.
#[derive(Clone, Default, PartialEq, SafeDebug, Serialize, Deserialize)]
#[safe(true)]
#[non_exhaustive]
pub struct DigitalTwinMetadata {
    /// The model that the device has named, such as `dtmi:com:example:Thermostat;1`. `None` if it is no Plug and Play
    /// device.
    #[serde(
        rename = "$model",
        default,
        deserialize_with = "empty_as_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub model_id: Option<String>,
    /// What is known of the properties of the root, by their names.
    #[doc(alias = "WritableProperties")]
    #[serde(flatten, deserialize_with = "properties")]
    #[safe(false)]
    pub properties: BTreeMap<String, WritableProperty>,
}

/// What `$metadata` says in a component.
#[derive(Clone, Default, PartialEq, SafeDebug, Serialize, Deserialize)]
#[safe(true)]
#[non_exhaustive]
pub struct ComponentMetadata {
    /// What is known of the properties of the component, by their names.
    #[doc(alias = "WritableProperties")]
    #[serde(flatten, deserialize_with = "properties")]
    #[safe(false)]
    pub properties: BTreeMap<String, WritableProperty>,
}

impl BasicDigitalTwin {
    /// A property or component. `None` if there is none of this name.
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if it is not a `T`.
    #[doc(alias = "TryGetValue")]
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        get(&self.properties, name)
    }
}

impl BasicComponent {
    /// A property. `None` if there is none of this name.
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if it is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        get(&self.properties, name)
    }
}

fn get<T: DeserializeOwned>(properties: &Map<String, Value>, name: &str) -> Result<Option<T>> {
    let value = properties.get(name).cloned();
    value.map(|value| JsonText::from(value).parse()).transpose()
}

fn empty_as_none<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// Names with a dollar sign belong to the hub, which may add to them.
fn properties<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<BTreeMap<String, WritableProperty>, D::Error> {
    let members = Map::deserialize(deserializer)?.into_iter();
    members
        .filter(|(name, _)| !name.starts_with('$'))
        .map(|(name, value)| match serde_json::from_value(value) {
            Ok(property) => Ok((name, property)),
            Err(error) => Err(D::Error::custom(format!("the metadata of {name}: {error}"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// From Microsoft's documentation of digital twins.
    const DOCUMENTED: &str = r#"{
        "$dtId": "sample-device",
        "serialNumber": "alwinexlepaho8329",
        "thermostat1": {
            "maxTempSinceLastReboot": 25.3,
            "targetTemperature": 21.8,
            "$metadata": {
                "targetTemperature": {
                    "desiredValue": 21.8,
                    "desiredVersion": 4,
                    "ackVersion": 4,
                    "ackCode": 200,
                    "ackDescription": "Successfully executed patch",
                    "lastUpdateTime": "2020-07-17T06:11:04.9309159Z"
                },
                "maxTempSinceLastReboot": { "lastUpdateTime": "2020-07-17T06:10:31.9609233Z" }
            }
        },
        "$metadata": {
            "$model": "dtmi:com:example:TemperatureController;1",
            "serialNumber": { "lastUpdateTime": "2020-07-17T06:10:31.9609233Z" }
        }
    }"#;

    #[test]
    fn the_documented_twin_is_read() -> Result<()> {
        let twin: BasicDigitalTwin = DOCUMENTED.parse::<JsonText>()?.parse()?;
        assert_eq!(twin.id, "sample-device");
        assert_eq!(
            twin.metadata.model_id.as_deref(),
            Some("dtmi:com:example:TemperatureController;1")
        );
        assert_eq!(
            twin.get::<String>("serialNumber")?.as_deref(),
            Some("alwinexlepaho8329")
        );
        assert_eq!(twin.get::<String>("absent")?, None);
        let serial = &twin.metadata.properties["serialNumber"];
        let reported = serial.last_update_time.expect("it was reported");
        assert_eq!(reported.unix_timestamp(), 1_594_966_231);
        assert_eq!(serial.desired_value, None);

        let thermostat: BasicComponent = twin.get("thermostat1")?.expect("a component");
        assert_eq!(thermostat.get("targetTemperature")?, Some(21.8));
        let target = &thermostat.metadata.properties["targetTemperature"];
        assert_eq!(target.desired_value, Some(21.8.into()));
        assert_eq!((target.desired_version, target.ack_version), (Some(4), Some(4)));
        assert_eq!(target.ack_code, Some(200));
        assert_eq!(target.ack_description.as_deref(), Some("Successfully executed patch"));
        assert_eq!(thermostat.metadata.properties.len(), 2);
        Ok(())
    }

    #[test]
    fn what_is_read_is_written_back() {
        let expected: Value = serde_json::from_str(DOCUMENTED).unwrap();
        let twin: BasicDigitalTwin = serde_json::from_value(expected.clone()).unwrap();
        let written = serde_json::to_value(&twin).unwrap();
        assert_eq!(written["$metadata"], expected["$metadata"]);
        assert_eq!(written, expected);
    }

    #[test]
    fn what_the_hub_may_add_is_in_nobodys_way() {
        let json = json!({"$dtId": "x", "$metadata": {"$model": "", "$lastUpdateTime": "now"}});
        let twin: BasicDigitalTwin = serde_json::from_value(json).unwrap();
        assert_eq!(twin.metadata, DigitalTwinMetadata::default());
    }

    #[test]
    fn what_an_application_keeps_there_is_not_shown() {
        let twin: BasicDigitalTwin = serde_json::from_str(DOCUMENTED).unwrap();
        let shown = format!("{twin:?}");
        assert!(
            !shown.contains("alwinexlepaho8329") && !shown.contains("21.8"),
            "{shown}"
        );
    }
}

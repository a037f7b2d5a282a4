use std::str::FromStr;

use azure_core::error::ErrorKind;
use iothub_core::{Error, Result, models::JsonText};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Changes to what is wanted of a digital twin.
///
/// A path is `/property`, `/component/property` or `/component`. There is no difference between adding and replacing for
/// what is wanted of a property. Adding or replacing a component also clears what is wanted of those of its properties
/// that are not named.
///
/// Names follow the rules of models: up to 64 of `A-Z a-z 0-9 _`, beginning with a letter and not ending with `_`. Values
/// are texts, numbers, booleans and objects of these, nested up to five deep; arrays are none. The operations take effect
/// all together or not at all.
///
/// # Examples
///
/// ```
/// use iothub_digitaltwin::JsonPatch;
/// use serde_json::json;
///
/// let patch = JsonPatch::new()
///     .add("/targetTemperature", 21.4)
///     .replace("/thermostat1/targetTemperature", 20)
///     .add_component("/thermostat2", [("targetTemperature", 19)])
///     .remove("/thermostat3");
/// assert_eq!(
///     serde_json::to_value(&patch)?,
///     json!([
///         { "op": "add", "path": "/targetTemperature", "value": 21.4 },
///         { "op": "replace", "path": "/thermostat1/targetTemperature", "value": 20 },
///         { "op": "add", "path": "/thermostat2", "value": { "targetTemperature": 19, "$metadata": {} } },
///         { "op": "remove", "path": "/thermostat3" },
///     ])
/// );
///
/// // Written by somebody else: values stay as they are, byte for byte.
/// let patch: JsonPatch = r#"[{ "op": "add", "path": "/targetTemperature", "value": 21.40 }]"#.parse()?;
/// # let _ = patch;
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[doc(alias = "UpdateOperationsUtility")]
#[doc(alias = "JsonPatchDocument")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonPatch(Vec<Operation>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    op: Op,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<JsonText>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Add,
    Replace,
    Remove,
}

impl JsonPatch {
    /// A patch that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what is wanted of a property.
    #[doc(alias = "AppendAddPropertyOp")]
    #[must_use]
    pub fn add(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(Op::Add, path, Some(value.into()))
    }

    /// Sets what is wanted of a property that is there already.
    #[doc(alias = "AppendReplacePropertyOp")]
    #[must_use]
    pub fn replace(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(Op::Replace, path, Some(value.into()))
    }

    /// Clears what is wanted of a property, or of all properties of a component. The value itself goes when the device
    /// does not report it any more.
    #[doc(alias = "AppendRemoveOp")]
    #[must_use]
    pub fn remove(self, path: impl Into<String>) -> Self {
        self.with(Op::Remove, path, None)
    }

    /// Sets what is wanted of the properties of a component, and clears the rest. The empty `$metadata` by which the hub
    /// knows a component is added.
    #[doc(alias = "AppendAddComponentOp")]
    #[must_use]
    pub fn add_component<N: Into<String>, V: Into<Value>>(
        self,
        path: impl Into<String>,
        properties: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.with(Op::Add, path, Some(component(properties)))
    }

    /// The same for a component that is there already.
    #[doc(alias = "AppendReplaceComponentOp")]
    #[must_use]
    pub fn replace_component<N: Into<String>, V: Into<Value>>(
        self,
        path: impl Into<String>,
        properties: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.with(Op::Replace, path, Some(component(properties)))
    }

    fn with(mut self, op: Op, path: impl Into<String>, value: Option<Value>) -> Self {
        self.0.push(Operation {
            op,
            path: path.into(),
            value: value.map(JsonText::from),
        });
        self
    }

    /// Refuses what no hub would take, whatever the model.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.is_empty() {
            return Err(refused(
                "this patch has no operation, and a hub takes at least one".to_owned(),
            ));
        }
        self.0.iter().try_for_each(Operation::check)
    }
}

impl FromStr for JsonPatch {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| {
            let what = format!(
                "this text of {} bytes is not an array of JSON Patch operations",
                text.len()
            );
            Error::with_error(ErrorKind::DataConversion, error, what)
        })
    }
}

impl Operation {
    fn check(&self) -> Result<()> {
        let Self { op, path, value } = self;
        let mut names = path.split('/');
        let is_path =
            names.next() == Some("") && (1..=2).contains(&names.clone().count()) && names.all(|name| !name.is_empty());
        if !is_path {
            let shown: String = path.chars().take(160).collect();
            return Err(refused(format!(
                "{shown:?} is not a path in a digital twin: that is /property, /component/property or /component"
            )));
        }
        match (op, value) {
            (Op::Add | Op::Replace, None) => Err(refused(format!("there is no value for {path}"))),
            _ => Ok(()),
        }
    }
}

fn component<N: Into<String>, V: Into<Value>>(properties: impl IntoIterator<Item = (N, V)>) -> Value {
    let properties = properties.into_iter();
    let mut members: Map<String, Value> = properties.map(|(name, value)| (name.into(), value.into())).collect();
    members.insert("$metadata".to_owned(), Map::new().into());
    members.into()
}

fn refused(why: String) -> Error {
    Error::with_message(ErrorKind::DataConversion, why)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What .NET's `UpdateOperationsUtility` documents for each of its methods.
    #[test]
    fn operations_are_those_of_dotnet() {
        let patch = JsonPatch::new()
            .add("/samplePropertyName", 20)
            .replace("/sampleComponentName/samplePropertyName", 20)
            .remove("/samplePropertyName")
            .add_component("/sampleComponentName", [("samplePropertyName", 20)])
            .replace_component("/sampleComponentName", [("samplePropertyName", 20)]);
        let component = json!({"samplePropertyName": 20, "$metadata": {}});
        assert_eq!(
            serde_json::to_value(&patch).unwrap(),
            json!([
                {"op": "add", "path": "/samplePropertyName", "value": 20},
                {"op": "replace", "path": "/sampleComponentName/samplePropertyName", "value": 20},
                {"op": "remove", "path": "/samplePropertyName"},
                {"op": "add", "path": "/sampleComponentName", "value": component},
                {"op": "replace", "path": "/sampleComponentName", "value": component},
            ])
        );
        assert!(patch.check().is_ok());
    }

    #[test]
    fn a_written_patch_keeps_its_values() {
        let text = r#"[{"op":"add","path":"/a","value":{"n": 1.50,"big":12345678901234567890123}}]"#;
        let patch: JsonPatch = text.parse().unwrap();
        assert_eq!(serde_json::to_string(&patch).unwrap(), text);
    }

    #[test]
    fn what_no_hub_takes_is_refused() {
        for (patch, why) in [
            (JsonPatch::new(), "no operation"),
            (JsonPatch::new().add("a", 1), "/component/property"),
            (JsonPatch::new().add("", 1), "/component/property"),
            (JsonPatch::new().add("/", 1), "/component/property"),
            (JsonPatch::new().remove("/a/"), "/component/property"),
            (JsonPatch::new().remove("/a/b/c"), "/component/property"),
            (r#"[{"op":"add","path":"/a"}]"#.parse().unwrap(), "no value for /a"),
        ] {
            let error = patch.check().unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::DataConversion);
            assert!(error.to_string().contains(why), "{error}");
        }
        for text in [
            "",
            "{}",
            r#"[{"op":"move","path":"/a","from":"/b"}]"#,
            r#"[{"path":"/a"}]"#,
        ] {
            let error = text.parse::<JsonPatch>().unwrap_err().to_string();
            assert!(error.contains("JSON Patch operations"), "{error}");
        }
    }
}

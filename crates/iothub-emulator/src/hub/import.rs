//! What import jobs do with each line.

use iothub_core::HubErrorCode;
use serde::Serialize;
use serde_json::Value;

use super::{
    Failure, Grant, Hub,
    bulk::{Item, Mode},
};

/// Why a line could not be carried out, as the log of an import has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImportError {
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration_id: Option<String>,
    error_code: Option<u32>,
    error_status: String,
}

impl Hub {
    /// Carries out one line of a file of devices.
    pub(crate) fn import_device(&self, line: &[u8]) -> Result<(), ImportError> {
        let text = String::from_utf8_lossy(line);
        let value = read(&text)?;
        let member = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let outcome = Item::parse(&text, &value).and_then(|item| self.import_item(item));
        outcome.map_err(|failure| ImportError {
            device_id: member("id"),
            module_id: member("moduleId").filter(|id| !id.is_empty()),
            ..ImportError::of(failure)
        })
    }

    /// Carries out one line of a file of configurations. It may have to look at all twins.
    pub(crate) fn import_configuration(&self, line: &[u8]) -> Result<(), ImportError> {
        let text = String::from_utf8_lossy(line);
        let value = read(&text)?;
        let id = value.get("Id").or_else(|| value.get("id")).and_then(Value::as_str);
        self.import_configuration_line(&text).map_err(|failure| ImportError {
            configuration_id: id.map(str::to_owned),
            ..ImportError::of(failure)
        })
    }

    fn import_item(&self, mut item: Item<'_>) -> Result<(), Failure> {
        let writes_identity = matches!(item.mode, Mode::Create | Mode::CreateOrUpdate | Mode::Update);
        match item.target.module() {
            // The modules of the edge runtime come and go with their device; only their twins are anybody's to write.
            Some(module) if module.starts_with('$') && writes_identity => {
                (item.mode, item.if_match) = (Mode::UpdateTwin, false);
            }
            None if writes_identity && item.members.text("status")?.is_none() => {
                return Err(Failure::argument("status is missing"));
            }
            _ => {}
        }
        // The job was allowed once, for all its lines.
        self.bulk_item(&Grant::unlimited(), &item)
    }
}

impl ImportError {
    /// A line of the log.
    pub(crate) fn to_line(&self) -> Vec<u8> {
        // Texts and numbers can always be written.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    fn of(failure: Failure) -> Self {
        Self {
            device_id: None,
            module_id: None,
            configuration_id: None,
            error_code: failure.code.number(),
            error_status: failure.message,
        }
    }
}

/// The log repeats a line that is no JSON, as the service does.
fn read(line: &str) -> Result<Value, ImportError> {
    serde_json::from_str(line).map_err(|error| {
        let text = format!("Invalid device format in line: {line}. {error}");
        ImportError::of(Failure::new(HubErrorCode::DeserializationError, text))
    })
}

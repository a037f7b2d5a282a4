use azure_core::http::Etag;
use iothub_core::{
    IfMatch,
    models::{Authentication, Device, DeviceCapabilities, DeviceStatus, ImportMode, Module, TwinContent, TwinPatch},
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{BulkOperation, TwinId};

/// One item of a bulk call as the hub reads it. It borrows, because a call holds up to a hundred.
///
/// What an operation has nothing to say about is left out: an authentication without keys, for one, would have the hub
/// make new ones.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BulkItem<'a> {
    pub(crate) id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) module_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    import_mode: Option<ImportMode>,
    #[serde(rename = "eTag", skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
    #[serde(rename = "twinETag", skip_serializing_if = "Option::is_none")]
    twin_etag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a DeviceStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication: Option<&'a Authentication>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<&'a DeviceCapabilities>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_scope: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    parent_scopes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    managed_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties<'a>>,
}

#[derive(Serialize)]
struct Properties<'a> {
    desired: &'a Map<String, Value>,
}

impl<'a> BulkItem<'a> {
    pub(crate) fn create_device(device: &'a Device, twin: Option<&'a TwinContent>) -> Self {
        let item = Self {
            import_mode: Some(ImportMode::Create),
            ..Self::device(device)
        };
        match twin {
            Some(twin) => item.with_twin(&twin.tags, &twin.desired),
            None => item,
        }
    }

    pub(crate) fn update_device(device: &'a Device, etag: Option<&'a Etag>) -> Self {
        Self {
            etag: etag.map(bare),
            import_mode: Some(update(etag.is_some())),
            ..Self::device(device)
        }
    }

    pub(crate) fn delete_device(id: &'a str, etag: Option<&'a Etag>) -> Self {
        Self {
            id,
            etag: etag.map(bare),
            import_mode: Some(delete(etag.is_some())),
            ..Self::default()
        }
    }

    pub(crate) fn update_twin(id: &'a TwinId, patch: &'a TwinPatch, etag: Option<&'a Etag>) -> Self {
        let item = Self {
            id: id.device().as_str(),
            module_id: id.module(),
            twin_etag: etag.map(bare),
            import_mode: Some(match etag {
                Some(_) => ImportMode::UpdateTwinIfMatchETag,
                None => ImportMode::UpdateTwin,
            }),
            ..Self::default()
        };
        item.with_twin(&patch.tags, &patch.desired)
    }

    fn device(device: &'a Device) -> Self {
        Self {
            id: device.device_id.as_str(),
            status: Some(&device.status),
            status_reason: device.status_reason.as_deref(),
            authentication: Some(&device.authentication),
            capabilities: Some(&device.capabilities),
            device_scope: device.device_scope.as_deref(),
            parent_scopes: &device.parent_scopes,
            ..Self::default()
        }
    }

    fn module(module: &'a Module) -> Self {
        Self {
            id: module.id.device().as_str(),
            module_id: Some(module.id.module()),
            authentication: Some(&module.authentication),
            managed_by: module.managed_by.as_deref(),
            ..Self::default()
        }
    }

    fn with_twin(mut self, tags: &'a Map<String, Value>, desired: &'a Map<String, Value>) -> Self {
        self.tags = Some(tags).filter(|tags| !tags.is_empty());
        self.properties = Some(Properties { desired }).filter(|_| !desired.is_empty());
        self
    }
}

impl<'a> From<&'a BulkOperation> for BulkItem<'a> {
    fn from(operation: &'a BulkOperation) -> Self {
        match operation {
            BulkOperation::CreateDevice { device, twin } => Self::create_device(device, Some(twin)),
            BulkOperation::UpdateDevice { device, if_match } => Self::update_device(device, tag(if_match)),
            BulkOperation::DeleteDevice { id, if_match } => Self::delete_device(id.as_str(), tag(if_match)),
            BulkOperation::CreateModule { module, twin } => {
                let item = Self {
                    import_mode: Some(ImportMode::Create),
                    ..Self::module(module)
                };
                item.with_twin(&twin.tags, &twin.desired)
            }
            BulkOperation::UpdateModule { module, if_match } => {
                let tag = tag(if_match);
                Self {
                    etag: tag.map(bare),
                    import_mode: Some(update(tag.is_some())),
                    ..Self::module(module)
                }
            }
            BulkOperation::DeleteModule { id, if_match } => Self {
                module_id: Some(id.module()),
                ..Self::delete_device(id.device().as_str(), tag(if_match))
            },
            BulkOperation::UpdateTwin { id, patch, if_match } => Self::update_twin(id, patch, tag(if_match)),
        }
    }
}

fn tag(if_match: &IfMatch) -> Option<&Etag> {
    match if_match {
        IfMatch::Any => None,
        IfMatch::Tag(tag) => Some(tag),
    }
}

fn update(conditional: bool) -> ImportMode {
    match conditional {
        true => ImportMode::UpdateIfMatchETag,
        false => ImportMode::Update,
    }
}

fn delete(conditional: bool) -> ImportMode {
    match conditional {
        true => ImportMode::DeleteIfMatchETag,
        false => ImportMode::Delete,
    }
}

/// A tag in a body stands without the quotation marks that it has in a header.
fn bare(tag: &Etag) -> &str {
    let tag: &str = tag.as_ref();
    tag.strip_prefix('"')
        .and_then(|tag| tag.strip_suffix('"'))
        .unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use iothub_core::{DeviceId, ModuleId, Result, models::SymmetricKey};
    use serde_json::json;

    use super::*;

    #[test]
    fn items_say_what_the_operation_says_and_no_more() -> Result<()> {
        let id: DeviceId = "lamp".parse()?;
        let module_id = ModuleId::new(id.clone(), "dim")?;
        let tag = IfMatch::Tag("\"MQ==\"".into());
        let keys = SymmetricKey::new("cA==", "cw==");
        let device = Device::new(id.clone())
            .with_authentication(keys.into())
            .with_status(DeviceStatus::Disabled)
            .with_device_scope("ms-azure-iot-edge://hall-1");
        let authentication = json!({ "type": "sas", "symmetricKey": { "primaryKey": "cA==", "secondaryKey": "cw==" } });
        let identity = json!({
            "id": "lamp", "status": "disabled", "authentication": authentication,
            "capabilities": { "iotEdge": false }, "deviceScope": "ms-azure-iot-edge://hall-1",
        });
        let module = Module::new(module_id.clone()).with_managed_by("me");
        let twin = TwinContent::new().set_tag("site", "x").set_desired("on", true);
        let patch = TwinPatch::new().remove_tag("site");
        for (operation, expected) in [
            (
                BulkOperation::create_device_with_twin(device.clone(), twin.clone()),
                with(
                    &identity,
                    &json!({
                        "importMode": "create", "tags": { "site": "x" }, "properties": { "desired": { "on": true } },
                    }),
                ),
            ),
            (
                BulkOperation::update_device(device.clone(), tag.clone()),
                with(&identity, &json!({ "importMode": "updateIfMatchETag", "eTag": "MQ==" })),
            ),
            (
                BulkOperation::update_device(device, IfMatch::Any),
                with(&identity, &json!({ "importMode": "update" })),
            ),
            (
                BulkOperation::DeleteDevice {
                    id: id.clone(),
                    if_match: IfMatch::Any,
                },
                json!({ "id": "lamp", "importMode": "delete" }),
            ),
            (
                BulkOperation::create_module(module.clone()),
                json!({
                    "id": "lamp", "moduleId": "dim", "importMode": "create", "managedBy": "me",
                    "authentication": { "type": "sas" },
                }),
            ),
            (
                BulkOperation::update_module(module, tag.clone()),
                json!({
                    "id": "lamp", "moduleId": "dim", "importMode": "updateIfMatchETag", "eTag": "MQ==",
                    "managedBy": "me", "authentication": { "type": "sas" },
                }),
            ),
            (
                BulkOperation::DeleteModule {
                    id: module_id.clone(),
                    if_match: tag.clone(),
                },
                json!({ "id": "lamp", "moduleId": "dim", "importMode": "deleteIfMatchETag", "eTag": "MQ==" }),
            ),
            (
                BulkOperation::UpdateTwin {
                    id: id.into(),
                    patch: patch.clone(),
                    if_match: tag,
                },
                json!({
                    "id": "lamp", "importMode": "updateTwinIfMatchETag", "twinETag": "MQ==", "tags": { "site": null },
                }),
            ),
            (
                BulkOperation::UpdateTwin {
                    id: module_id.into(),
                    patch,
                    if_match: IfMatch::Any,
                },
                json!({ "id": "lamp", "moduleId": "dim", "importMode": "updateTwin", "tags": { "site": null } }),
            ),
        ] {
            assert_eq!(
                serde_json::to_value(BulkItem::from(&operation)).unwrap(),
                expected,
                "{operation:?}"
            );
        }
        Ok(())
    }

    fn with(item: &Value, more: &Value) -> Value {
        let mut item = item.clone();
        for (name, value) in more.as_object().unwrap() {
            item[name] = value.clone();
        }
        item
    }
}

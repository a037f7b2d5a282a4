use azure_core::time::OffsetDateTime;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{properties::Properties, text::Text};
use crate::models::{
    AuthenticationType, ConnectionState, DeviceCapabilities, DeviceStatus, X509Thumbprints, timestamp,
};

/// What the hub has told of a twin.
#[derive(Clone, Default)]
pub(super) struct Members {
    pub(super) device_id: Option<Text>,
    pub(super) module_id: Option<Text>,
    pub(super) model_id: Option<Text>,
    pub(super) etag: Option<Text>,
    pub(super) version: Option<i64>,
    pub(super) device_etag: Option<Text>,
    pub(super) status: DeviceStatus,
    pub(super) status_reason: Option<Text>,
    pub(super) status_updated_time: Option<OffsetDateTime>,
    pub(super) connection_state: ConnectionState,
    pub(super) last_activity_time: Option<OffsetDateTime>,
    pub(super) cloud_to_device_message_count: u32,
    pub(super) authentication_type: Option<AuthenticationType>,
    pub(super) x509_thumbprints: X509Thumbprints,
    pub(super) capabilities: DeviceCapabilities,
    pub(super) device_scope: Option<Text>,
    pub(super) parent_scopes: Box<[Text]>,
    pub(super) configurations: Option<Text>,
    pub(super) tags: Option<Text>,
    pub(super) desired: Option<Text>,
    pub(super) reported: Option<Text>,
}

impl Members {
    pub(super) fn set(&mut self, key: &str, value: &RawValue, text: &str) -> serde_json::Result<()> {
        let string = |value| Text::of_string(value, text);
        match key {
            "deviceId" => self.device_id = string(value)?,
            "moduleId" => self.module_id = string(value)?,
            // The hub writes an empty one for devices that have named none.
            "modelId" => self.model_id = string(value)?.filter(|_| value.get() != "\"\""),
            "etag" => self.etag = string(value)?,
            "version" => self.version = parse(value)?,
            "deviceEtag" => self.device_etag = string(value)?,
            "status" => self.status = parse(value)?.unwrap_or_default(),
            "statusReason" => self.status_reason = string(value)?,
            "statusUpdateTime" => self.status_updated_time = time(value)?,
            "connectionState" => self.connection_state = parse(value)?.unwrap_or_default(),
            "lastActivityTime" => self.last_activity_time = time(value)?,
            "cloudToDeviceMessageCount" => self.cloud_to_device_message_count = parse(value)?.unwrap_or_default(),
            "authenticationType" => self.authentication_type = parse(value)?,
            "x509Thumbprint" => self.x509_thumbprints = parse(value)?.unwrap_or_default(),
            "capabilities" => self.capabilities = parse(value)?.unwrap_or_default(),
            "deviceScope" => self.device_scope = string(value)?,
            "parentScopes" => {
                let scopes: Vec<&RawValue> = parse(value)?.unwrap_or_default();
                self.parent_scopes = scopes
                    .into_iter()
                    .filter_map(|scope| string(scope).transpose())
                    .collect::<Result<_, _>>()?;
            }
            "configurations" => self.configurations = section(value, text),
            "tags" => self.tags = section(value, text),
            "properties" => self.set_properties(&serde_json::from_str(value.get())?, text),
            // Whoever wants another member finds it in the text.
            _ => {}
        }
        Ok(())
    }

    pub(super) fn set_properties(&mut self, properties: &Properties<'_>, text: &str) {
        self.desired = properties.desired.and_then(|value| section(value, text));
        self.reported = properties.reported.and_then(|value| section(value, text));
    }
}

fn parse<'a, T: Deserialize<'a>>(value: &'a RawValue) -> serde_json::Result<Option<T>> {
    serde_json::from_str(value.get())
}

fn time(value: &RawValue) -> serde_json::Result<Option<OffsetDateTime>> {
    timestamp::option::deserialize(&mut serde_json::Deserializer::from_str(value.get()))
}

fn section(value: &RawValue, text: &str) -> Option<Text> {
    (value.get() != "null").then(|| Text::of_value(value, text))
}

//! Identities as the registry shows them.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;

use super::{
    authentication::{Authentication, Key},
    registry::{Connection, Device, Module},
    timestamp,
};

/// A device identity.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeviceDocument<'a> {
    device_id: &'a str,
    generation_id: String,
    pub(crate) etag: String,
    connection_state: &'static str,
    status: &'static str,
    status_reason: Option<&'a str>,
    connection_state_updated_time: Cow<'static, str>,
    status_updated_time: Cow<'static, str>,
    last_activity_time: Cow<'static, str>,
    cloud_to_device_message_count: usize,
    authentication: AuthenticationDocument<'a>,
    capabilities: Capabilities,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_scope: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    parent_scopes: &'a [Box<str>],
}

/// A module identity.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModuleDocument<'a> {
    module_id: &'a str,
    managed_by: Option<&'a str>,
    device_id: &'a str,
    generation_id: String,
    pub(crate) etag: String,
    connection_state: &'static str,
    connection_state_updated_time: Cow<'static, str>,
    last_activity_time: Cow<'static, str>,
    cloud_to_device_message_count: usize,
    authentication: AuthenticationDocument<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthenticationDocument<'a> {
    symmetric_key: SymmetricKey,
    x509_thumbprint: Thumbprints<'a>,
    r#type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SymmetricKey {
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Thumbprints<'a> {
    primary_thumbprint: Option<&'a str>,
    secondary_thumbprint: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Capabilities {
    pub(crate) iot_edge: bool,
}

impl<'a> DeviceDocument<'a> {
    pub(crate) fn new(id: &'a str, device: &'a Device) -> Self {
        let (identity, status) = (&device.identity, &device.status);
        Self {
            device_id: id,
            generation_id: identity.generation.to_string(),
            etag: etag(identity.etag),
            connection_state: connection_state(&identity.connection),
            status: status.as_str(),
            status_reason: status.reason.as_deref(),
            connection_state_updated_time: timestamp::text_or_never(identity.connection.updated),
            status_updated_time: timestamp::text_or_never(status.updated),
            last_activity_time: timestamp::text_or_never(identity.connection.last_activity),
            cloud_to_device_message_count: identity.message_count(),
            authentication: AuthenticationDocument::new(&identity.authentication),
            capabilities: Capabilities { iot_edge: device.edge },
            device_scope: device.shown_scope(),
            parent_scopes: &device.parents,
        }
    }
}

impl<'a> ModuleDocument<'a> {
    pub(crate) fn new(device: &'a str, id: &'a str, module: &'a Module) -> Self {
        let identity = &module.identity;
        Self {
            module_id: id,
            managed_by: module.managed_by.as_deref(),
            device_id: device,
            generation_id: identity.generation.to_string(),
            etag: etag(identity.etag),
            connection_state: connection_state(&identity.connection),
            connection_state_updated_time: timestamp::text_or_never(identity.connection.updated),
            last_activity_time: timestamp::text_or_never(identity.connection.last_activity),
            cloud_to_device_message_count: identity.message_count(),
            authentication: AuthenticationDocument::new(&identity.authentication),
        }
    }
}

impl<'a> AuthenticationDocument<'a> {
    pub(crate) fn new(authentication: &'a Authentication) -> Self {
        let [primary_key, secondary_key] = match authentication {
            Authentication::Sas(keys) => keys.each_ref().map(Key::to_base64).map(Some),
            _ => [None, None],
        };
        let [primary_thumbprint, secondary_thumbprint] = authentication.thumbprints();
        Self {
            symmetric_key: SymmetricKey {
                primary_key,
                secondary_key,
            },
            x509_thumbprint: Thumbprints {
                primary_thumbprint,
                secondary_thumbprint,
            },
            r#type: authentication.kind(),
        }
    }
}

/// The tag of an identity: its number in decimal, in base64.
pub(crate) fn etag(number: u64) -> String {
    BASE64_STANDARD.encode(number.to_string())
}

pub(crate) fn connection_state(connection: &Connection) -> &'static str {
    if connection.connected {
        "Connected"
    } else {
        "Disconnected"
    }
}

use std::collections::BTreeMap;

use iothub_core::HubErrorCode;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Failure,
    configurations::{Shown, shown},
    identities::{Document, to_json},
    identity_document::{Capabilities, connection_state, etag},
    registry::{Device, Identity},
    timestamp,
    twin::Twin,
};

/// A twin as clients see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TwinDocument<'a> {
    device_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    etag: String,
    device_etag: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<&'a str>,
    status_update_time: String,
    connection_state: &'static str,
    last_activity_time: String,
    cloud_to_device_message_count: usize,
    authentication_type: &'static str,
    x509_thumbprint: Thumbprints<'a>,
    model_id: &'a str,
    version: u64,
    tags: &'a RawValue,
    properties: Properties,
    capabilities: Capabilities,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    configurations: BTreeMap<&'a str, Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_scope: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    parent_scopes: &'a [Box<str>],
}

/// In twins, and only there, these names begin with a capital.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Thumbprints<'a> {
    primary_thumbprint: Option<&'a str>,
    secondary_thumbprint: Option<&'a str>,
}

#[derive(Serialize)]
pub(crate) struct Properties {
    desired: Box<RawValue>,
    reported: Box<RawValue>,
}

impl Properties {
    pub(crate) fn of(twin: &Twin) -> Result<Self, Failure> {
        Ok(Self {
            desired: RawValue::from_string(twin.desired.document(true)).map_err(broken)?,
            reported: RawValue::from_string(twin.reported.document(false)).map_err(broken)?,
        })
    }
}

/// The twin of a device, or of a module on it.
pub(crate) fn twin_document(
    device_id: &str,
    device: &Device,
    module: Option<(&str, &Identity)>,
) -> Result<Document, Failure> {
    let identity = module.map_or(&device.identity, |(_, identity)| identity);
    let twin: &Twin = &identity.twin;
    let [primary_thumbprint, secondary_thumbprint] = identity.authentication.thumbprints();
    let document = TwinDocument {
        device_id,
        module_id: module.map(|(id, _)| id),
        etag: twin.etag(),
        device_etag: etag(identity.etag),
        status: device.status.as_str(),
        status_reason: device.status.reason.as_deref(),
        status_update_time: timestamp::text(device.status.updated),
        connection_state: connection_state(&identity.connection),
        last_activity_time: timestamp::text(identity.connection.last_activity),
        cloud_to_device_message_count: identity.message_count(),
        authentication_type: identity.authentication.kind(),
        x509_thumbprint: Thumbprints {
            primary_thumbprint,
            secondary_thumbprint,
        },
        model_id: identity.model_id(),
        version: twin.version(),
        tags: serde_json::from_str(&twin.tags).map_err(broken)?,
        properties: Properties::of(twin)?,
        capabilities: Capabilities { iot_edge: device.edge },
        configurations: shown(&identity.assignments, ["targeted", "applied"]),
        device_scope: device.shown_scope(),
        parent_scopes: &device.parents,
    };
    Ok(Document {
        json: to_json(&document)?,
        etag: document.etag,
    })
}

pub(crate) fn broken(error: serde_json::Error) -> Failure {
    Failure::new(HubErrorCode::ServerError, format!("a twin is not JSON: {error}"))
}

use serde::Serialize;

use super::{
    Failure,
    configurations::shown,
    identities::Document,
    identity_document::{connection_state, etag},
    json_text::ObjectWriter,
    registry::{Device, Identity},
    timestamp::text_or_never,
};

/// In twins, and only there, these names begin with a capital.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Thumbprints<'a> {
    primary_thumbprint: Option<&'a str>,
    secondary_thumbprint: Option<&'a str>,
}

/// The twin of a device, or of a module on it, as clients see it.
///
/// It is what a hub is asked for most, so that it is written in one go: no trees are built for it, and what was checked
/// when it came in is not checked again.
pub(crate) fn twin_document(
    device_id: &str,
    device: &Device,
    module: Option<(&str, &Identity)>,
) -> Result<Document, Failure> {
    let identity = module.map_or(&device.identity, |(_, identity)| identity);
    let (twin, connection) = (&identity.twin, &identity.connection);
    let tag = twin.etag();
    let mut document = ObjectWriter::new();
    document.text("deviceId", device_id);
    if let Some((module_id, _)) = module {
        document.text("moduleId", module_id);
    }
    document.text("etag", &tag);
    document.text("deviceEtag", &etag(identity.etag));
    document.text("status", device.status.as_str());
    if let Some(reason) = &device.status.reason {
        document.text("statusReason", reason);
    }
    document.text("statusUpdateTime", &text_or_never(device.status.updated));
    document.text("connectionState", connection_state(connection));
    document.text("lastActivityTime", &text_or_never(connection.last_activity));
    document.number("cloudToDeviceMessageCount", identity.message_count() as u64);
    document.text("authenticationType", identity.authentication.kind());
    match identity.authentication.thumbprints() {
        [None, None] => document.json("x509Thumbprint", NO_THUMBPRINTS),
        [primary_thumbprint, secondary_thumbprint] => {
            let thumbprints = Thumbprints {
                primary_thumbprint,
                secondary_thumbprint,
            };
            document.member("x509Thumbprint", &thumbprints)?;
        }
    }
    document.text("modelId", identity.model_id());
    document.number("version", twin.version());
    document.json("tags", &twin.tags);
    twin.write_properties(document.begin("properties"));
    document.json("capabilities", if device.edge { EDGE } else { NO_EDGE });
    if !identity.assignments.is_empty() {
        document.member("configurations", &shown(&identity.assignments, ["targeted", "applied"]))?;
    }
    if let Some(scope) = device.shown_scope() {
        document.text("deviceScope", scope);
    }
    if !device.parents.is_empty() {
        document.member("parentScopes", &device.parents)?;
    }
    Ok(Document {
        json: document.finish(),
        etag: tag,
    })
}

const NO_THUMBPRINTS: &str = r#"{"PrimaryThumbprint":null,"SecondaryThumbprint":null}"#;
const EDGE: &str = r#"{"iotEdge":true}"#;
const NO_EDGE: &str = r#"{"iotEdge":false}"#;

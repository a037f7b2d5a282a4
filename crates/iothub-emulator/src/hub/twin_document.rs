use std::borrow::Cow;

use super::{
    Failure,
    configurations::shown,
    identities::Document,
    identity_document::{connection_state, etag},
    json_text::{ObjectWriter, quoted},
    registry::{Device, Identity},
    timestamp::text_or_never,
};

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
    // In twins, and only there, these names begin with a capital.
    let [primary, secondary] = identity.authentication.thumbprints().map(quoted_or_null);
    document.json(
        "x509Thumbprint",
        &format!(r#"{{"PrimaryThumbprint":{primary},"SecondaryThumbprint":{secondary}}}"#),
    );
    document.text("modelId", identity.model_id());
    document.number("version", twin.version());
    document.json("tags", &twin.tags);
    twin.write_properties(document.begin("properties"));
    document.json("capabilities", &format!(r#"{{"iotEdge":{}}}"#, device.edge));
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

fn quoted_or_null(text: Option<&str>) -> Cow<'static, str> {
    text.map_or(Cow::Borrowed("null"), |text| Cow::Owned(quoted(text)))
}

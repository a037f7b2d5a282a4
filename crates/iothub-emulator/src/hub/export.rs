//! What export jobs write.

use std::ops::Bound;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Failure, Hub,
    identity_document::{AuthenticationDocument, Capabilities, etag},
    json_text::broken,
    registry::{Device, Identity},
};

/// Where an export is.
#[derive(Debug, Default)]
pub(crate) struct ExportPlace {
    /// The device that was written last.
    after: Option<Box<str>>,
    written: usize,
}

/// A line of an export: a device or module, its twin included.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    #[serde(rename = "eTag")]
    etag: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<&'a str>,
    authentication: Option<AuthenticationDocument<'a>>,
    #[serde(rename = "twinETag")]
    twin_etag: String,
    tags: &'a RawValue,
    properties: Box<RawValue>,
    capabilities: Capabilities,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_scope: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    parent_scopes: &'a [Box<str>],
}

impl Hub {
    /// Adds the lines of the next few devices and their modules. `false` if there are none left.
    ///
    /// The registry is let go after each call, so that an export does not hold up those who write.
    pub(crate) fn export_some(
        &self,
        place: &mut ExportPlace,
        exclude_keys: bool,
        lines: &mut Vec<u8>,
    ) -> Result<bool, Failure> {
        let registry = self.registry();
        let from = place.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut devices = registry.devices.range::<str, _>((from, Bound::Unbounded)).take(BREATH);
        let Some(first) = devices.next() else {
            return Ok(false);
        };
        let mut last = first.0;
        for (id, device) in std::iter::once(first).chain(devices) {
            write_line(lines, &Line::new(id, device, None, exclude_keys)?)?;
            for (module, found) in &device.modules {
                let line = Line::new(id, device, Some((module, &found.identity)), exclude_keys)?;
                write_line(lines, &line)?;
            }
            place.written += 1;
            last = id;
        }
        place.after = Some(last.clone());
        Ok(true)
    }

    /// How much of the registry is written, of 100.
    pub(crate) fn exported_percent(&self, place: &ExportPlace) -> u8 {
        let percent = (place.written * 100).checked_div(self.registry().devices.len());
        u8::try_from(percent.unwrap_or(100)).unwrap_or(100).min(100)
    }
}

impl<'a> Line<'a> {
    fn new(
        id: &'a str,
        device: &'a Device,
        module: Option<(&'a str, &'a Identity)>,
        exclude_keys: bool,
    ) -> Result<Self, Failure> {
        let identity = module.map_or(&device.identity, |(_, identity)| identity);
        Ok(Self {
            id,
            module_id: module.map(|(id, _)| id),
            etag: etag(identity.etag),
            status: device.status.as_str(),
            status_reason: device.status.reason.as_deref().filter(|_| module.is_none()),
            authentication: (!exclude_keys).then(|| AuthenticationDocument::new(&identity.authentication)),
            twin_etag: identity.twin.etag(),
            tags: serde_json::from_str(&identity.twin.tags).map_err(broken)?,
            properties: RawValue::from_string(identity.twin.properties()).map_err(broken)?,
            capabilities: Capabilities {
                iot_edge: device.edge && module.is_none(),
            },
            device_scope: device.shown_scope().filter(|_| module.is_none()),
            parent_scopes: if module.is_none() { &device.parents } else { &[] },
        })
    }
}

fn write_line(lines: &mut Vec<u8>, line: &Line<'_>) -> Result<(), Failure> {
    serde_json::to_writer(&mut *lines, line).map_err(broken)?;
    lines.push(b'\n');
    Ok(())
}

/// How many devices are written before others get a turn.
const BREATH: usize = 128;

//! Devices that are there from the start.

use azure_core::credentials::Secret;
use iothub_core::{DeviceId, HubErrorCode};
use serde::Deserialize;

use super::{
    Failure, Grant, Hub,
    authentication::{Authentication, Key},
    identity_request::DeviceRequest,
    if_match::IfMatch,
    options::wrong,
};

/// A device that is made at the start, unless it is there.
///
/// It has the keys that are given here, or certificates with these thumbprints, or generated keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceOptions {
    /// Its id.
    pub id: String,
    /// The base64 of 16 to 64 bytes. Without it, a generated one.
    pub primary_key: Option<Secret>,
    /// The same.
    pub secondary_key: Option<Secret>,
    /// The thumbprint of a certificate, in hexadecimal digits.
    pub primary_thumbprint: Option<String>,
    /// The same.
    pub secondary_thumbprint: Option<String>,
    /// Whether it is an edge device, which modules may run on. Without it, it is not.
    pub edge: bool,
}

impl DeviceOptions {
    pub(super) fn check(&self) -> iothub_core::Result<()> {
        self.id
            .parse::<DeviceId>()
            .map_err(|error| wrong(format!("hub.devices: {error}")))?;
        self.authentication()
            .map_err(|failure| wrong(format!("hub.devices: {}: {}", self.id, failure.message)))?;
        Ok(())
    }

    fn authentication(&self) -> Result<Authentication, Failure> {
        let keys = [&self.primary_key, &self.secondary_key];
        let thumbprints = [&self.primary_thumbprint, &self.secondary_thumbprint];
        if thumbprints.iter().all(|thumbprint| thumbprint.is_none()) {
            let [primary, secondary] = keys.map(Key::given_or_generated);
            return Ok(Authentication::Sas(Box::new([primary?, secondary?])));
        }
        if keys.iter().any(|key| key.is_some()) {
            return Err(Failure::argument("a device has keys or thumbprints, not both"));
        }
        let thumbprints = thumbprints.map(|thumbprint| thumbprint.as_deref().map(Box::from));
        Ok(Authentication::SelfSigned(Box::new(thumbprints)))
    }
}

impl Hub {
    /// Makes the devices that the options ask for.
    pub(crate) fn provision(&self) -> Result<(), Failure> {
        for device in &self.options().devices {
            let id: DeviceId = device
                .id
                .parse()
                .map_err(|error: iothub_core::Error| Failure::argument(error.to_string()))?;
            let request = DeviceRequest {
                disabled: false,
                status_reason: None,
                authentication: device.authentication()?,
                edge: device.edge,
                scope: None,
                parents: Vec::new(),
            };
            match self.put_device(&Grant::unlimited(), &id, &IfMatch::Absent, request) {
                Err(failure) if failure.code != HubErrorCode::DeviceAlreadyExists => return Err(failure),
                _ => {}
            }
        }
        Ok(())
    }
}

//! Reading and writing twins.

#[cfg(test)]
mod differential;
#[cfg(test)]
mod model;

use std::borrow::Borrow;

use iothub_core::HubErrorCode;

use super::{
    DataAction, Event, Failure, Grant, Hub, Target,
    desired::DesiredChange,
    identities::Document,
    if_match::IfMatch,
    journal::Operation,
    json_text::compact,
    registry::Registry,
    twin::{Twin, Write},
    twin_document::twin_document,
    twin_request::{SectionChange, TwinRequest},
};

impl Hub {
    pub(crate) fn get_twin(&self, grant: &Grant, target: &Target) -> Result<Document, Failure> {
        self.allow(grant, DataAction::ReadTwins)?;
        document(&self.registry(), target)
    }

    /// Merges into tags and desired properties, or replaces them.
    pub(crate) fn write_twin(
        &self,
        grant: &Grant,
        target: &Target,
        condition: IfMatch,
        request: &TwinRequest,
        write: Write,
    ) -> Result<Document, Failure> {
        self.allow(grant, DataAction::WriteTwins)?;
        self.change_twin(target, condition, request, write)?;
        document(&self.registry(), target)
    }

    /// The same for the hub itself, which does not want to see the twin.
    pub(super) fn change_twin(
        &self,
        target: &Target,
        condition: IfMatch,
        request: &TwinRequest,
        write: Write,
    ) -> Result<(), Failure> {
        self.change_twin_by(target, condition.only_quoted(), write, |_| Ok(request))?;
        Ok(())
    }

    /// The same by what `request` makes of the twin as it is. Returns the new tag.
    pub(super) fn change_twin_by<R: Borrow<TwinRequest>>(
        &self,
        target: &Target,
        condition: IfMatch,
        write: Write,
        request: impl FnOnce(&Twin) -> Result<R, Failure>,
    ) -> Result<String, Failure> {
        let now = self.clock().now();
        let (changed, etag) = {
            let mut registry = self.registry_mut();
            let twin = &mut registry.identity_mut(target).map_err(as_device)?.twin;
            if let IfMatch::Tag { tag, .. } = condition
                && tag != twin.etag()
            {
                let (stored, next) = (twin.version(), twin.version() + 1);
                let text = format!(
                    "Precondition failed: Device version did not match, \
                     existingVersion:{stored} newVersion:{next}; the ETag is {}",
                    twin.etag()
                );
                return Err(Failure::new(HubErrorCode::PreconditionFailed, text));
            }
            let request = request(twin)?;
            let request = request.borrow();
            let version = twin.desired.version;
            let changed = twin.write(request, write, now)?;
            if twin.desired.version != version {
                self.tell_desired(target, || DesiredChange::of(&twin.desired, &request.desired, write));
            }
            (changed, twin.etag())
        };
        if changed {
            self.journal().record(Event::Executed {
                operation: Operation::UpdateTwin,
                on: target.to_string(),
            });
            self.configure(target);
        }
        Ok(etag)
    }

    /// Merges into the reported properties, as a device does. `patch` is the text of a JSON object.
    pub(crate) fn report(&self, target: &Target, patch: &str) -> Result<u64, Failure> {
        serde_json::from_str::<serde::de::IgnoredAny>(patch).map_err(|error| {
            let text = format!("reported properties are not JSON: {error}");
            Failure::new(HubErrorCode::IotHubFormatError, text)
        })?;
        let change = SectionChange::parse("reported", &compact(patch)?)?;
        let now = self.clock().now();
        let version = {
            let mut registry = self.registry_mut();
            let reported = &mut registry.identity_mut(target)?.twin.reported;
            reported.write(&change, Write::Merge, now)?;
            reported.version
        };
        self.configure(target);
        Ok(version)
    }
}

/// For twins the hub names the device as missing when it is the module.
pub(super) fn as_device(failure: Failure) -> Failure {
    match failure.code {
        HubErrorCode::ModuleNotFound => Failure::new(HubErrorCode::DeviceNotFound, failure.message),
        _ => failure,
    }
}

fn document(registry: &Registry, target: &Target) -> Result<Document, Failure> {
    let device = registry.device(target.device())?;
    let module = match target.module() {
        None => None,
        Some(id) => Some((id, registry.identity(target).map_err(as_device)?)),
    };
    twin_document(target.device(), device, module)
}

//! Device identities: who exists, and who may change it when.

use std::collections::BTreeMap;

use iothub_core::{DeviceId, HubErrorCode};

use super::{
    DataAction, Event, Failure, Grant, Hub, Target,
    authentication::{Authentication, Key},
    edge,
    identity_document::{DeviceDocument, etag},
    identity_request::DeviceRequest,
    if_match::IfMatch,
    journal::Operation,
    registry::{Device, Identity, Registry, Status},
};

/// A document as the hub shows it, and its tag.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) json: Vec<u8>,
    pub(crate) etag: String,
}

impl Hub {
    pub(crate) fn get_device(&self, grant: &Grant, id: &str) -> Result<Document, Failure> {
        self.allow(grant, DataAction::ReadDevices)?;
        let registry = self.registry();
        document(id, registry.device(id)?)
    }

    /// The first `top` devices, by id.
    pub(crate) fn list_devices(&self, grant: &Grant, top: usize) -> Result<Vec<u8>, Failure> {
        self.allow(grant, DataAction::ReadDevices)?;
        let registry = self.registry();
        let devices: Vec<_> = registry
            .devices
            .iter()
            .take(top)
            .map(|(id, device)| DeviceDocument::new(id, device))
            .collect();
        to_json(&devices)
    }

    /// Creates a device, or replaces it if there is a condition.
    pub(crate) fn put_device(
        &self,
        grant: &Grant,
        id: &DeviceId,
        condition: &IfMatch,
        request: DeviceRequest,
    ) -> Result<Document, Failure> {
        self.allow(grant, DataAction::WriteDevices)?;
        let now = self.clock().now();
        let target = Target::Device(id.clone());
        let id = id.as_str();
        let (document, operation) = {
            let mut registry = self.registry_mut();
            let operation = match (registry.devices.get(id), condition) {
                (None, IfMatch::Absent) => {
                    let device = registry.new_device(id, request, now)?;
                    registry.devices.insert(id.into(), device);
                    registry.note_family(id);
                    Operation::Create
                }
                (Some(_), IfMatch::Absent) => {
                    let text = format!("device {id} is already registered");
                    return Err(Failure::new(HubErrorCode::DeviceAlreadyExists, text));
                }
                (None, _) => return Err(Failure::device_not_found(id)),
                (Some(device), condition) => {
                    condition.check(&etag(device.identity.etag))?;
                    registry.replace_device(id, request, now)?;
                    Operation::Update
                }
            };
            (document(id, registry.device(id)?)?, operation)
        };
        self.journal().record(Event::Executed {
            operation,
            on: id.to_owned(),
        });
        self.review_sessions(id);
        self.configure(&target);
        Ok(document)
    }

    /// Removes a device with its twin, its modules and all that waits for it.
    pub(crate) fn delete_device(&self, grant: &Grant, id: &str, condition: &IfMatch) -> Result<(), Failure> {
        self.allow(grant, DataAction::DeleteDevices)?;
        if *condition == IfMatch::Absent {
            return Err(etag_missing());
        }
        {
            let mut registry = self.registry_mut();
            condition.check(&etag(registry.device(id)?.identity.etag))?;
            registry.remove_device(id);
            self.drop_feedback(&mut registry, id);
        }
        self.journal().record(Event::Executed {
            operation: Operation::Delete,
            on: id.to_owned(),
        });
        self.review_sessions(id);
        Ok(())
    }

    /// Makes a device with generated keys, unless it exists.
    pub(crate) fn add_device(&self, id: &DeviceId) -> Result<(), Failure> {
        let request = DeviceRequest {
            disabled: false,
            status_reason: None,
            authentication: Authentication::generated()?,
            edge: false,
            scope: None,
            parents: Vec::new(),
        };
        match self.put_device(&Grant::unlimited(), id, &IfMatch::Absent, request) {
            Err(failure) if failure.code != HubErrorCode::DeviceAlreadyExists => Err(failure),
            _ => Ok(()),
        }
    }

    /// The keys that an enabled device or module signs with.
    pub(crate) fn keys_of(&self, target: &Target) -> Option<[Key; 2]> {
        self.registry().keys_of(target)
    }
}

impl Registry {
    fn new_device(&mut self, id: &str, request: DeviceRequest, now: time::OffsetDateTime) -> Result<Device, Failure> {
        let generation = self.next_generation(now);
        let family = edge::family_of_new(self, id, &request, generation)?;
        let identity = Identity::new(generation, self.next_etag(), request.authentication);
        let mut device = Device {
            identity,
            status: Status {
                disabled: request.disabled,
                reason: request.status_reason,
                updated: None,
            },
            edge: request.edge,
            scope: family.scope,
            parents: family.parents,
            modules: BTreeMap::new(),
        };
        if device.edge {
            self.add_edge_modules(&mut device, now);
        }
        Ok(device)
    }

    fn replace_device(&mut self, id: &str, request: DeviceRequest, now: time::OffsetDateTime) -> Result<(), Failure> {
        let family = edge::family_after(self, id, self.device(id)?, &request)?;
        let etag = self.next_etag();
        // Before and after, because modules may come and go.
        self.note_family(id);
        // Taken out for a moment, so that the registry can hand out numbers for its modules.
        let mut device = self.devices.remove(id).ok_or_else(|| Failure::device_not_found(id))?;
        device.identity.etag = etag;
        device.identity.authentication = request.authentication;
        if device.status.disabled != request.disabled {
            device.status.updated = Some(now);
        }
        device.status.disabled = request.disabled;
        device.status.reason = request.status_reason;
        (device.scope, device.parents) = (family.scope, family.parents);
        match (device.edge, request.edge) {
            (false, true) => self.add_edge_modules(&mut device, now),
            (true, false) => edge::remove_edge_modules(&mut device),
            _ => {}
        }
        device.edge = request.edge;
        self.devices.insert(id.into(), device);
        self.note_family(id);
        Ok(())
    }
}

pub(crate) fn etag_missing() -> Failure {
    let text = "Precondition failed: Etag missing, a delete needs If-Match";
    Failure::new(HubErrorCode::PreconditionFailed, text)
}

pub(crate) fn to_json(document: &(impl serde::Serialize + ?Sized)) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(document).map_err(|error| Failure::new(HubErrorCode::ServerError, error.to_string()))
}

fn document(id: &str, device: &Device) -> Result<Document, Failure> {
    let document = DeviceDocument::new(id, device);
    Ok(Document {
        json: to_json(&document)?,
        etag: document.etag,
    })
}

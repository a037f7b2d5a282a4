//! Module identities.

use iothub_core::{HubErrorCode, ModuleId};

use super::{
    DataAction, Event, Failure, Grant, Hub, Target,
    authentication::Authentication,
    identities::{Document, etag_missing, to_json},
    identity_document::{ModuleDocument, etag},
    identity_request::ModuleRequest,
    if_match::IfMatch,
    journal::Operation,
    registry::{Device, Identity, Module, Registry},
};

impl Hub {
    pub(crate) fn get_module(&self, grant: &Grant, id: &ModuleId) -> Result<Document, Failure> {
        self.allow(grant, DataAction::ReadDevices)?;
        let registry = self.registry();
        let device = host(&registry, grant, id.device().as_str())?;
        document(id, device.modules.get(id.module()).ok_or_else(|| not_found(id))?)
    }

    /// Every module on a device, those of the edge runtime included.
    pub(crate) fn list_modules(&self, grant: &Grant, device: &str) -> Result<Vec<u8>, Failure> {
        self.allow(grant, DataAction::ReadDevices)?;
        let registry = self.registry();
        let modules: Vec<_> = host(&registry, grant, device)?
            .modules
            .iter()
            .map(|(id, module)| ModuleDocument::new(device, id, module))
            .collect();
        to_json(&modules)
    }

    /// Creates a module, or replaces it if there is a condition.
    pub(crate) fn put_module(
        &self,
        grant: &Grant,
        id: &ModuleId,
        condition: &IfMatch,
        request: ModuleRequest,
    ) -> Result<Document, Failure> {
        self.allow(grant, DataAction::WriteDevices)?;
        let now = self.clock().now();
        let (document, operation) = {
            let mut registry = self.registry_mut();
            let (generation, tag) = (registry.next_generation(now), registry.next_etag());
            host(&registry, grant, id.device().as_str())?;
            let modules = registry.modules_mut(id.device().as_str(), id.module())?;
            let count = modules.len();
            let operation = match (modules.get_mut(id.module()), condition) {
                (Some(_), IfMatch::Absent) => {
                    let text = format!("module {id} is already registered");
                    return Err(Failure::new(HubErrorCode::ModuleAlreadyExistsOnDevice, text));
                }
                (None, IfMatch::Absent) => {
                    if id.module().starts_with('$') {
                        let text = format!("{}: names that begin with $ belong to the hub", id.module());
                        return Err(Failure::argument(text));
                    }
                    if count >= MAX_MODULES {
                        let text = format!("{} already has {count} modules", id.device());
                        return Err(Failure::new(HubErrorCode::TooManyModulesOnDevice, text));
                    }
                    let module = Module {
                        identity: Identity::new(generation, tag, request.authentication),
                        managed_by: request.managed_by,
                    };
                    modules.insert(id.module().into(), module);
                    Operation::Create
                }
                (None, _) => return Err(not_found(id)),
                (Some(module), condition) => {
                    condition.check(&etag(module.identity.etag))?;
                    must_not_be_the_runtimes(id, module)?;
                    module.identity.etag = tag;
                    module.identity.authentication = request.authentication;
                    module.managed_by = request.managed_by;
                    Operation::Update
                }
            };
            let module = modules.get(id.module()).ok_or_else(|| not_found(id))?;
            (document(id, module)?, operation)
        };
        self.journal().record(Event::Executed {
            operation,
            on: id.to_string(),
        });
        self.configure(&Target::Module(id.clone()));
        Ok(document)
    }

    pub(crate) fn delete_module(&self, grant: &Grant, id: &ModuleId, condition: &IfMatch) -> Result<(), Failure> {
        self.allow(grant, DataAction::DeleteDevices)?;
        {
            let mut registry = self.registry_mut();
            host(&registry, grant, id.device().as_str())?;
            if *condition == IfMatch::Absent {
                return Err(etag_missing());
            }
            let modules = &registry.device(id.device().as_str())?.modules;
            let module = modules.get(id.module()).ok_or_else(|| not_found(id))?;
            condition.check(&etag(module.identity.etag))?;
            must_not_be_the_runtimes(id, module)?;
            registry.remove_module(id.device().as_str(), id.module())?;
        }
        self.journal().record(Event::Executed {
            operation: Operation::Delete,
            on: id.to_string(),
        });
        self.review_sessions(id.device().as_str());
        Ok(())
    }
}

/// The device that a module is on.
///
/// Whoever comes with a shared access signature is told nothing about devices that are missing or disabled.
fn host<'a>(registry: &'a Registry, grant: &Grant, id: &str) -> Result<&'a Device, Failure> {
    let device = registry.device(id);
    if grant.is_sas() && !device.as_ref().is_ok_and(|device| !device.status.disabled) {
        let text = format!("{} may do nothing on device {id}", grant.principal());
        return Err(Failure::unauthorized(text));
    }
    device
}

fn must_not_be_the_runtimes(id: &ModuleId, module: &Module) -> Result<(), Failure> {
    if module.identity.authentication != Authentication::None {
        return Ok(());
    }
    let text = format!("module {id} belongs to the edge runtime");
    Err(Failure::new(HubErrorCode::SystemModuleModifyUnauthorizedAccess, text))
}

fn not_found(id: &ModuleId) -> Failure {
    Failure::new(HubErrorCode::ModuleNotFound, format!("module {id} not registered"))
}

fn document(id: &ModuleId, module: &Module) -> Result<Document, Failure> {
    let document = ModuleDocument::new(id.device().as_str(), id.module(), module);
    Ok(Document {
        json: to_json(&document)?,
        etag: document.etag,
    })
}

/// What documentation says; nobody has published what the service does at the limit.
pub(super) const MAX_MODULES: usize = 50;

use iothub_core::ModuleId;

use super::{answer::Answer, call::Call};
use crate::hub::{Failure, Hub, Target, identity_request::ModuleRequest};

pub(crate) fn list(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let device = call.device_id()?;
    hub.list_modules(&call.grant, device.as_str()).map(Answer::json)
}

pub(crate) fn get(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    hub.get_module(&call.grant, &id(call)?).map(Answer::document)
}

pub(crate) fn put(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let id = id(call)?;
    let request = ModuleRequest::parse(id.device().as_str(), id.module(), &call.body)?;
    hub.put_module(&call.grant, &id, &call.if_match(), request)
        .map(Answer::document)
}

pub(crate) fn delete(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    hub.delete_module(&call.grant, &id(call)?, &call.if_match())?;
    Ok(Answer::nothing())
}

fn id(call: &Call) -> Result<ModuleId, Failure> {
    match call.target()? {
        Target::Module(id) => Ok(id),
        Target::Device(id) => Err(Failure::argument(format!(
            "{id} is a device, and a module was expected"
        ))),
    }
}

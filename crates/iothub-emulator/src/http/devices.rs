use http::StatusCode;
use iothub_core::HubErrorCode;
use serde_json::json;

use super::{answer::Answer, call::Call};
use crate::hub::{DataAction, Failure, Hub, identity_request::DeviceRequest};

pub(crate) fn list(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let top = call.parameter("top").and_then(|top| top.parse().ok());
    let top = top.filter(|top| (1..=MOST).contains(top)).unwrap_or(MOST);
    hub.list_devices(&call.grant, top).map(Answer::json)
}

pub(crate) fn bulk(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let result = hub.bulk(&call.grant, &call.body)?;
    Ok(match result.is_successful {
        true => Answer::json(result.json),
        false => {
            let code = HubErrorCode::BulkRegistryOperationFailure;
            Answer::partial_failure(StatusCode::BAD_REQUEST, &code, result.json)
        }
    })
}

pub(crate) fn get(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let id = call.device_id()?;
    hub.get_device(&call.grant, id.as_str()).map(Answer::document)
}

pub(crate) fn put(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let id = call.device_id()?;
    let request = DeviceRequest::parse(id.as_str(), &call.body)?;
    hub.put_device(&call.grant, &id, &call.if_match(), request)
        .map(Answer::document)
}

pub(crate) fn delete(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let id = call.device_id()?;
    hub.delete_device(&call.grant, id.as_str(), &call.if_match())?;
    Ok(Answer::nothing())
}

pub(crate) fn purge(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let target = call.target()?;
    call.grant.require(DataAction::PurgeMessages)?;
    let purged = hub.purge_messages(&target)?;
    let result = json!({
        "deviceId": target.device(),
        "moduleId": target.module(),
        "totalMessagesPurged": purged,
    });
    Ok(Answer::json(result.to_string().into_bytes()))
}

/// The most devices that one list holds.
const MOST: usize = 1000;

use iothub_core::{ConfigurationId, HubErrorCode};

use super::{answer::Answer, call::Call};
use crate::hub::{ConfigurationRequest, Failure, Hub};

/// Serves a call on a thread of its own, because it may have to look at every twin there is.
pub(crate) async fn aside(
    hub: &Hub,
    call: Call,
    serve: fn(&Hub, &Call) -> Result<Answer, Failure>,
) -> Result<Answer, Failure> {
    let hub = hub.clone();
    let served = tokio::task::spawn_blocking(move || serve(&hub, &call));
    served
        .await
        .unwrap_or_else(|_| Err(Failure::new(HubErrorCode::ServerError, "the call was given up")))
}

pub(crate) fn list(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    hub.list_configurations(&call.grant).map(Answer::json)
}

pub(crate) fn get(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    hub.get_configuration(&call.grant, call.segment(1))
        .map(Answer::document)
}

pub(crate) fn put(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let id: ConfigurationId = call
        .segment(1)
        .parse()
        .map_err(|error: iothub_core::Error| Failure::argument(error.to_string()))?;
    let request = ConfigurationRequest::parse(&id, &call.body)?;
    hub.put_configuration(&call.grant, &id, call.if_match(), request)
        .map(Answer::document)
}

pub(crate) fn delete(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    hub.delete_configuration(&call.grant, call.segment(1), call.if_match())?;
    Ok(Answer::nothing())
}

pub(crate) fn test_queries(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    hub.test_configuration_queries(&call.grant, &call.body)
        .map(Answer::json)
}

/// Writes the content of a deployment into one edge device.
pub(crate) fn apply(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let id = call.device_id()?;
    hub.apply_configuration(&call.grant, id.as_str(), &call.body)?;
    Ok(Answer::nothing())
}

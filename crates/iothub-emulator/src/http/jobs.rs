use super::{answer::Answer, call::Call};
use crate::{
    hub::{Failure, Hub},
    transfer::Dispatcher,
};

/// Starts an import or export.
pub(crate) async fn create(dispatcher: &Dispatcher, call: &Call) -> Result<Answer, Failure> {
    dispatcher.create(&call.grant, &call.body).await.map(Answer::json)
}

pub(crate) fn list(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    hub.list_transfers(&call.grant).map(Answer::json)
}

pub(crate) fn get(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    hub.get_transfer(&call.grant, call.segment(1)).map(Answer::json)
}

pub(crate) fn cancel(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    hub.cancel_transfer(&call.grant, call.segment(1))?;
    Ok(Answer::nothing())
}

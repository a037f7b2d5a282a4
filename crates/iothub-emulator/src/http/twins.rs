use super::{answer::Answer, call::Call};
use crate::hub::{Failure, Hub, twin::Write, twin_request::TwinRequest};

pub(crate) fn get(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    hub.get_twin(&call.grant, &call.target()?).map(Answer::document)
}

pub(crate) fn patch(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    write(hub, call, Write::Merge)
}

pub(crate) fn put(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    write(hub, call, Write::Replace)
}

fn write(hub: &Hub, call: &Call, write: Write) -> Result<Answer, Failure> {
    let target = call.target()?;
    let request = TwinRequest::parse(&call.body)?;
    hub.write_twin(&call.grant, &target, call.if_match(), &request, write)
        .map(Answer::document)
}

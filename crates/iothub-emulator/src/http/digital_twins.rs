use http::{HeaderName, header};

use super::{answer::Answer, call::Call, methods};
use crate::hub::{
    Failure, Hub,
    digital_twins::{Command, Patch, target},
};

pub(crate) fn get(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    hub.get_digital_twin(&call.grant, &target(call.segment(1))?)
        .map(Answer::document)
}

pub(crate) fn patch(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let target = target(call.segment(1))?;
    let patch = Patch::parse(&call.body)?;
    let etag = hub.patch_digital_twin(&call.grant, &target, call.if_match(), &patch)?;
    Ok(Answer::accepted()
        .with(header::ETAG, &format!("\"{etag}\""))
        .with(header::LOCATION, call.raw_path()))
}

/// Invokes a command of the root, or of a component, and waits for the device.
pub(crate) async fn invoke(hub: &Hub, call: &Call, component: Option<usize>, name: usize) -> Result<Answer, Failure> {
    let target = target(call.segment(1))?;
    let command = Command::new(
        component.map(|at| call.segment(at)),
        call.segment(name),
        &call.body,
        call.parameter("responseTimeoutInSeconds"),
        call.parameter("connectTimeoutInSeconds"),
    );
    let timeouts = command.as_ref().ok().map(Command::timeouts);
    let invoked = match command {
        Ok(command) => hub.invoke_command(&call.grant, &target, command).await,
        Err(failure) => Err(failure),
    };
    match invoked {
        Ok(answer) => Ok(Answer::json(answer.payload.into()).with(STATUS, &answer.status.to_string())),
        Err(failure) => methods::refused(hub, failure, timeouts),
    }
}

const STATUS: HeaderName = HeaderName::from_static("x-ms-command-statuscode");

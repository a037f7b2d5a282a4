use iothub_core::HubErrorCode;
use time::Duration;

use super::{answer::Answer, call::Call};
use crate::hub::{Failure, Hub, method_call::MethodCall, methods::MethodAnswer};

/// Invokes a method, and waits for the device.
pub(crate) async fn invoke(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let target = call.target()?;
    let mut timeouts = None;
    let invoked = match MethodCall::parse(&call.body) {
        Ok(method) => {
            timeouts = Some((method.connect_timeout, method.response_timeout));
            hub.invoke_method(&call.grant, &target, method).await
        }
        Err(failure) => Err(failure),
    };
    match invoked {
        Ok(answer) => Ok(Answer::json(document(&answer))),
        Err(failure) => refused(hub, failure, timeouts),
    }
}

/// The answer to a method or command that has not run to its end. `timeouts` are those for the connection and for the
/// response.
pub(super) fn refused(hub: &Hub, failure: Failure, timeouts: Option<(Duration, Duration)>) -> Result<Answer, Failure> {
    let timeout = match failure.code {
        HubErrorCode::IotHubUnauthorizedAccess => return Err(failure),
        HubErrorCode::DeviceNotOnline => timeouts.map(|(connect, _)| connect),
        HubErrorCode::GatewayTimeout => timeouts.map(|(_, response)| response),
        _ => None,
    };
    let timeout = timeout.map(clock_face);
    Ok(Answer::nested_refusal(&failure, timeout.as_deref(), hub.clock().now()))
}

/// The payload goes out as the device wrote it.
fn document(answer: &MethodAnswer) -> Vec<u8> {
    let mut json = format!("{{\"status\":{},\"payload\":", answer.status).into_bytes();
    json.extend_from_slice(&answer.payload);
    json.push(b'}');
    json
}

/// A time span as .NET writes it.
fn clock_face(span: Duration) -> String {
    let seconds = span.whole_seconds();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

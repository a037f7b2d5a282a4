use http::header::{CONTENT_TYPE, ETAG, HeaderName};
use iothub_core::HubErrorCode;

use super::{answer::Answer, call::Call};
use crate::hub::{DataAction, Failure, Hub, Outcome, identities::to_json, timestamp};

/// The next batch of feedback, if there is one.
pub(crate) fn receive(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    call.grant.require(DataAction::ReceiveFeedback)?;
    let Some(batch) = hub.feedback().batches.take(hub) else {
        return Ok(Answer::nothing());
    };
    let token = batch.token.to_string();
    Ok(Answer::json(to_json(&batch.message[..])?)
        .with(CONTENT_TYPE, FEEDBACK)
        .with(ETAG, &format!("\"{token}\""))
        .with(LOCK_TOKEN, &token)
        .with(ENQUEUED_TIME, &timestamp::text(batch.enqueued)))
}

pub(crate) fn complete(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    settle(hub, call, Outcome::Completed)
}

pub(crate) fn abandon(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    settle(hub, call, Outcome::Abandoned)
}

fn settle(hub: &Hub, call: &Call, outcome: Outcome) -> Result<Answer, Failure> {
    call.grant.require(DataAction::ReceiveFeedback)?;
    let token = call.segment(3);
    let token = token.trim_matches('"').parse().map_err(|_| {
        let text = format!("{token:?} is not the lock token of a batch");
        Failure::new(HubErrorCode::DeviceMessageLockLost, text)
    })?;
    hub.feedback().batches.settle(hub, token, outcome)?;
    Ok(Answer::nothing())
}

const FEEDBACK: &str = "application/vnd.microsoft.iothub.feedback.json";
const LOCK_TOKEN: HeaderName = HeaderName::from_static("iothub-messagelocktoken");
const ENQUEUED_TIME: HeaderName = HeaderName::from_static("iothub-enqueuedtime");

use http::StatusCode;
use iothub_core::HubErrorCode;

use super::{answer::Answer, call::Call};
use crate::hub::{Failure, Hub};

/// A call that only some versions know. An older one takes it for a path that does not exist.
pub(crate) fn regenerate(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let version = call.parameter("api-version").unwrap_or_default();
    // Versions are dates, so they sort as texts.
    if version < SINCE {
        let text = format!("there is no POST /devices/keys/regenerate in {version}, but since {SINCE}");
        return Err(Failure::new(HubErrorCode::GenericNotFound, text));
    }
    let renewals = hub.renew_keys(&call.grant, &call.body)?;
    let code = HubErrorCode::BulkRegenerateDeviceKeyOperationFailure;
    Ok(match (renewals.renewed, renewals.failed) {
        (_, 0) => Answer::json(renewals.json),
        (0, _) => Answer::partial_failure(StatusCode::BAD_REQUEST, &code, renewals.json),
        _ => Answer::partial_failure(StatusCode::MULTI_STATUS, &code, renewals.json),
    })
}

const SINCE: &str = "2024-03-31";

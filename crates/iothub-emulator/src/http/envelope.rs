//! Error bodies. The service has several shapes, and clients look for a code in each of them.

use iothub_core::HubErrorCode;
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::hub::Failure;

/// The shape that the service has for this failure.
pub(crate) fn of(failure: &Failure, tracking: &str, now: OffsetDateTime) -> Vec<u8> {
    match failure.code {
        HubErrorCode::ModuleAlreadyExistsOnDevice => json(&Numbered::new(failure, tracking, now)),
        HubErrorCode::JobQuotaExceeded => json(&Named {
            message: format!(
                "ErrorCode:{name};Error: 403 ErrorCode: {name}\nMessage: {}\nTimestamp: {}\nTracking ID: {tracking}",
                failure.message,
                now.format(&Rfc3339).unwrap_or_default(),
                name = failure.code.as_str(),
            ),
            exception_message: format!("Tracking ID:{tracking}"),
        }),
        _ => json(&Named {
            message: format!("ErrorCode:{};{}", failure.code.as_str(), failure.message),
            exception_message: format!("Tracking ID:{tracking}"),
        }),
    }
}

/// The shape that errors of methods have: JSON in a string of JSON.
pub(crate) fn nested(failure: &Failure, timeout: Option<&str>, tracking: &str, now: OffsetDateTime) -> Vec<u8> {
    let inner = Nested {
        inner: Numbered::new(failure, tracking, now),
        info: timeout.map(|timeout| Info { timeout }),
    };
    json(&Named {
        message: String::from_utf8(json(&inner)).unwrap_or_default(),
        exception_message: String::new(),
    })
}

/// A tracking id as the service makes them: what to tell support about a request.
pub(crate) fn tracking_id(now: OffsetDateTime) -> String {
    let time = now.format(&Rfc3339).unwrap_or_default();
    format!("{}-G2:-TimeStamp:{time}", random_id().simple())
}

/// An id that nobody has seen before, and that may be guessed.
pub(crate) fn random_id() -> Uuid {
    uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid()
}

/// The members stand in the service's order, for those who read a log.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    message: String,
    exception_message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Numbered<'a> {
    error_code: Option<u32>,
    message: &'a str,
    tracking_id: &'a str,
    timestamp_utc: String,
}

#[derive(Serialize)]
struct Nested<'a> {
    #[serde(flatten)]
    inner: Numbered<'a>,
    info: Option<Info<'a>>,
}

#[derive(Serialize)]
struct Info<'a> {
    timeout: &'a str,
}

impl<'a> Numbered<'a> {
    fn new(failure: &'a Failure, tracking: &'a str, now: OffsetDateTime) -> Self {
        let seconds = now.replace_nanosecond(0).unwrap_or(now);
        Self {
            error_code: failure.code.number(),
            message: &failure.message,
            tracking_id: tracking,
            timestamp_utc: seconds.format(&Rfc3339).unwrap_or_default(),
        }
    }
}

/// These structs hold texts and numbers, which can always be written.
fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;

    fn body(code: HubErrorCode, write: fn(&Failure, &str, OffsetDateTime) -> Vec<u8>) -> Value {
        let body = write(&Failure::new(code, "text"), "abc", datetime!(2026-08-15 09:09:19.5 UTC));
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn most_errors_are_named() {
        let expected = json!({"Message": "ErrorCode:DeviceNotFound;text", "ExceptionMessage": "Tracking ID:abc"});
        assert_eq!(body(HubErrorCode::DeviceNotFound, of), expected);
    }

    #[test]
    fn errors_of_methods_are_json_in_json() {
        let failure = Failure::new(HubErrorCode::DeviceNotOnline, "text");
        let body = nested(&failure, Some("00:00:10"), "abc", datetime!(2026-08-15 09:09:19.5 UTC));
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["ExceptionMessage"], "");
        let inner: Value = serde_json::from_str(body["Message"].as_str().unwrap()).unwrap();
        let expected = json!({
            "errorCode": 404103, "message": "text", "trackingId": "abc", "timestampUtc": "2026-08-15T09:09:19Z",
            "info": {"timeout": "00:00:10"},
        });
        assert_eq!(inner, expected);
    }

    #[test]
    fn a_module_that_exists_is_a_number() {
        let expected = json!({
            "errorCode": 409301, "message": "text", "trackingId": "abc", "timestampUtc": "2026-08-15T09:09:19Z",
        });
        assert_eq!(body(HubErrorCode::ModuleAlreadyExistsOnDevice, of), expected);
    }
}

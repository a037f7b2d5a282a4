//! Error bodies. The service has three shapes, and clients look for a code in each of them.

use iothub_core::HubErrorCode;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::hub::Failure;

/// The shape that the service has for this failure.
pub(crate) fn of(failure: &Failure, tracking: &str, now: OffsetDateTime) -> Vec<u8> {
    match failure.code {
        HubErrorCode::ModuleAlreadyExistsOnDevice => numbered(failure, tracking, now).to_string(),
        _ => named(failure, tracking).to_string(),
    }
    .into_bytes()
}

/// What comes back from methods and commands: the numbered shape as a text within the named one.
pub(crate) fn nested(failure: &Failure, tracking: &str, now: OffsetDateTime) -> Vec<u8> {
    let mut inner = numbered(failure, tracking, now);
    if let Some(members) = inner.as_object_mut() {
        members.insert("info".to_owned(), Value::Null);
    }
    let outer = json!({"Message": inner.to_string(), "ExceptionMessage": ""});
    outer.to_string().into_bytes()
}

/// A tracking id as the service makes them: what to tell support about a request.
pub(crate) fn tracking_id(now: OffsetDateTime) -> String {
    let time = now.format(&Rfc3339).unwrap_or_default();
    format!("{}-G2:-TimeStamp:{time}", Uuid::new_v4().simple())
}

fn named(failure: &Failure, tracking: &str) -> Value {
    json!({
        "Message": format!("ErrorCode:{};{}", failure.code.as_str(), failure.message),
        "ExceptionMessage": format!("Tracking ID:{tracking}"),
    })
}

fn numbered(failure: &Failure, tracking: &str, now: OffsetDateTime) -> Value {
    let seconds = now.replace_nanosecond(0).unwrap_or(now);
    json!({
        "errorCode": failure.code.number(),
        "message": failure.message,
        "trackingId": tracking,
        "timestampUtc": seconds.format(&Rfc3339).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
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
    fn a_module_that_exists_is_a_number() {
        let expected = json!({
            "errorCode": 409301, "message": "text", "trackingId": "abc", "timestampUtc": "2026-08-15T09:09:19Z",
        });
        assert_eq!(body(HubErrorCode::ModuleAlreadyExistsOnDevice, of), expected);
    }

    #[test]
    fn what_a_device_answers_is_nested() {
        let outer = body(HubErrorCode::DeviceNotOnline, nested);
        assert_eq!(outer["ExceptionMessage"], "");
        let inner: Value = serde_json::from_str(outer["Message"].as_str().unwrap()).unwrap();
        assert_eq!(inner["errorCode"], 404103);
        assert_eq!(inner["info"], Value::Null);
    }
}

use iothub_core::HubErrorCode;
use uuid::Uuid;

use super::{error::AmqpError, value::Value};
use crate::hub::Failure;

impl From<Failure> for AmqpError {
    /// The condition that a hub gives for a failure, with a tracking id as all of its errors have one.
    fn from(failure: Failure) -> Self {
        let tracking_id = Uuid::new_v4().simple().to_string().to_uppercase();
        let code = failure.code.as_str();
        let description = format!("ErrorCode:{code};{} Tracking ID:{tracking_id}", failure.message);
        let mut error = Self::new(condition(&failure.code), description);
        error
            .info
            .push(("com.microsoft:tracking-id".to_owned(), Value::string(tracking_id)));
        if let Some(number) = failure.code.number().and_then(|number| i32::try_from(number).ok()) {
            error
                .info
                .push(("com.microsoft:error-code".to_owned(), Value::Int(number)));
        }
        error
    }
}

/// What Microsoft's own AMQP servers and clients call each failure. Whole classes go by the status of the code.
fn condition(code: &HubErrorCode) -> String {
    let known = match code {
        HubErrorCode::InvalidOperation => "amqp:not-allowed",
        HubErrorCode::IotHubNotFound => "com.microsoft:iot-hub-not-found-error",
        HubErrorCode::IotHubSuspended => "com.microsoft:iot-hub-suspended",
        HubErrorCode::IotHubQuotaExceeded => "com.microsoft:quota-exceeded",
        HubErrorCode::DeviceMaximumQueueDepthExceeded
        | HubErrorCode::DeviceMaximumQueueSizeExceeded
        | HubErrorCode::IotHubMaxCbsTokenExceeded => "amqp:resource-limit-exceeded",
        HubErrorCode::InvalidMessageExpiryTime => "com.microsoft:argument-error",
        HubErrorCode::FeatureNotSupported => "amqp:not-implemented",
        HubErrorCode::DeviceMessageLockLost => "com.microsoft:message-lock-lost",
        HubErrorCode::RequestCanceled => "com.microsoft:operation-cancelled",
        HubErrorCode::RequestTimedOut => "com.microsoft:timeout",
        // A condition that somebody asked for by name.
        HubErrorCode::Other { name, .. } if name.contains(':') => name,
        _ => match code.number().map(|number| number / 1000) {
            Some(400) => "com.microsoft:argument-error",
            Some(401 | 403) => "amqp:unauthorized-access",
            Some(404) => "amqp:not-found",
            Some(405) => "amqp:not-allowed",
            Some(409) => "com.microsoft:device-already-exists",
            Some(412) => "com.microsoft:precondition-failed",
            Some(413) => "amqp:link:message-size-exceeded",
            Some(429) => "com.microsoft:device-container-throttled",
            Some(501) => "amqp:not-implemented",
            Some(503) => "com.microsoft:server-busy",
            Some(504) => "com.microsoft:timeout",
            _ => "amqp:internal-error",
        },
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_the_conditions_that_clients_tell_apart() {
        for (code, expected) in [
            (HubErrorCode::DeviceNotFound, "amqp:not-found"),
            (HubErrorCode::ModuleNotFound, "amqp:not-found"),
            (
                HubErrorCode::DeviceMaximumQueueDepthExceeded,
                "amqp:resource-limit-exceeded",
            ),
            (HubErrorCode::MessageTooLarge, "amqp:link:message-size-exceeded"),
            (HubErrorCode::ArgumentInvalid, "com.microsoft:argument-error"),
            (HubErrorCode::DeviceDisabled, "amqp:unauthorized-access"),
            (HubErrorCode::IotHubUnauthorizedAccess, "amqp:unauthorized-access"),
            (
                HubErrorCode::ThrottlingException,
                "com.microsoft:device-container-throttled",
            ),
            (HubErrorCode::ServerError, "amqp:internal-error"),
            (HubErrorCode::from_name("com.example:odd"), "com.example:odd"),
        ] {
            let error = AmqpError::from(Failure::new(code, "because"));
            assert_eq!(error.condition, expected);
            let Value::String(tracking_id) = &error.info[0].1 else {
                panic!("the tracking id is no string");
            };
            assert!(error.description.contains("because"), "{}", error.description);
            assert!(error.description.ends_with(tracking_id), "{}", error.description);
        }
    }
}

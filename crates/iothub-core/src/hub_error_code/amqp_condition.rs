use super::HubErrorCode;

impl HubErrorCode {
    /// What an AMQP error condition of the hub means; [`Other`](Self::Other) with the condition as its name if it is
    /// about the connection and not about the hub.
    ///
    /// The readings are those that Microsoft's clients share. `amqp:resource-limit-exceeded` says on the paths of a
    /// backend that the queue of a device is full.
    pub fn from_amqp_condition(condition: &str) -> Self {
        CONDITIONS.iter().find(|(symbol, _)| *symbol == condition).map_or_else(
            || Self::Other {
                name: condition.to_owned(),
                number: None,
            },
            |(_, code)| code.clone(),
        )
    }

    /// The AMQP error condition by which a hub says this; `None` where it has no word of its own.
    pub fn amqp_condition(&self) -> Option<&'static str> {
        CONDITIONS
            .iter()
            .chain(SPOKEN_AS)
            .find(|(_, code)| code == self)
            .map(|(symbol, _)| *symbol)
    }
}

/// Condition and meaning. Where two conditions mean the same, the first is the one that is sent.
const CONDITIONS: &[(&str, HubErrorCode)] = &[
    ("amqp:internal-error", HubErrorCode::ServerError),
    ("amqp:link:message-size-exceeded", HubErrorCode::MessageTooLarge),
    ("amqp:not-allowed", HubErrorCode::InvalidOperation),
    ("amqp:not-found", HubErrorCode::DeviceNotFound),
    ("amqp:not-implemented", HubErrorCode::FeatureNotSupported),
    (
        "amqp:resource-limit-exceeded",
        HubErrorCode::DeviceMaximumQueueDepthExceeded,
    ),
    ("amqp:unauthorized-access", HubErrorCode::IotHubUnauthorizedAccess),
    ("com.microsoft:argument-error", HubErrorCode::ArgumentInvalid),
    ("com.microsoft:argument-out-of-range", HubErrorCode::ArgumentInvalid),
    ("com.microsoft:device-already-exists", HubErrorCode::DeviceAlreadyExists),
    (
        "com.microsoft:device-container-throttled",
        HubErrorCode::ThrottlingException,
    ),
    ("com.microsoft:iot-hub-not-found-error", HubErrorCode::IotHubNotFound),
    ("com.microsoft:iot-hub-suspended", HubErrorCode::IotHubSuspended),
    ("com.microsoft:message-lock-lost", HubErrorCode::DeviceMessageLockLost),
    ("com.microsoft:operation-cancelled", HubErrorCode::RequestCanceled),
    ("com.microsoft:precondition-failed", HubErrorCode::PreconditionFailed),
    ("amqp:precondition-failed", HubErrorCode::PreconditionFailed),
    ("com.microsoft:quota-exceeded", HubErrorCode::IotHubQuotaExceeded),
    ("com.microsoft:server-busy", HubErrorCode::ServerBusy),
    ("com.microsoft:timeout", HubErrorCode::GenericTimeout),
];

/// Codes that share the condition of another, so that the way back from the condition leads to the other.
const SPOKEN_AS: &[(&str, HubErrorCode)] = &[
    ("amqp:not-found", HubErrorCode::AmqpAddressNotFound),
    ("amqp:not-found", HubErrorCode::ModuleNotFound),
    (
        "amqp:resource-limit-exceeded",
        HubErrorCode::DeviceMaximumQueueSizeExceeded,
    ),
    ("amqp:resource-limit-exceeded", HubErrorCode::IotHubMaxCbsTokenExceeded),
    ("amqp:unauthorized-access", HubErrorCode::DeviceDisabled),
    ("amqp:unauthorized-access", HubErrorCode::GenericUnauthorized),
    ("amqp:unauthorized-access", HubErrorCode::IotHubUnauthorized),
    ("com.microsoft:argument-error", HubErrorCode::ArgumentNull),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_a_code_is_sent_as_means_that_code() {
        for (symbol, code) in CONDITIONS {
            assert_eq!(&HubErrorCode::from_amqp_condition(symbol), code);
            let sent = code.amqp_condition().expect("it has a condition");
            assert_eq!(&HubErrorCode::from_amqp_condition(sent), code);
        }
    }

    #[test]
    fn a_full_queue_is_no_quota() {
        let code = HubErrorCode::from_amqp_condition("amqp:resource-limit-exceeded");
        assert_eq!(code, HubErrorCode::DeviceMaximumQueueDepthExceeded);
    }

    #[test]
    fn conditions_of_the_connection_are_kept_by_name() {
        let code = HubErrorCode::from_amqp_condition("amqp:connection:forced");
        assert_eq!((code.as_str(), code.number()), ("amqp:connection:forced", None));
        assert_eq!(code.amqp_condition(), None);
    }

    #[test]
    fn a_disabled_device_is_refused_like_a_bad_token() {
        assert_eq!(
            HubErrorCode::DeviceDisabled.amqp_condition(),
            Some("amqp:unauthorized-access")
        );
    }
}

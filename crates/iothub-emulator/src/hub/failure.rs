use azure_core::error::ErrorKind;
use iothub_core::{Error, HubErrorCode};

/// Why the hub refuses. Doors turn it into a status and an envelope, or into an AMQP condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) code: HubErrorCode,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: HubErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// An argument that can never be right.
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new(HubErrorCode::ArgumentInvalid, message)
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(HubErrorCode::IotHubUnauthorizedAccess, message)
    }

    pub(crate) fn device_not_found(id: &str) -> Self {
        Self::new(HubErrorCode::DeviceNotFound, format!("device {id} not registered"))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::with_message(ErrorKind::Other, format!("{}: {}", failure.code, failure.message))
    }
}

use std::{fmt, sync::Arc};

use azure_core::{Error, error::ErrorKind, http::StatusCode};

use super::{
    AmqpError, AmqpScope,
    cbs::Unauthorized,
    recovery::{Next, Recovery, Role},
};
use crate::{HubError, HubErrorCode};

/// Something that went wrong, as several waiting callers can be told it, with what it asks for.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) recovery: Recovery,
    cause: Arc<Error>,
}

impl Fault {
    /// What a transport reported.
    pub(super) fn new(error: Error, role: Role) -> Self {
        // Without a word from the peer it is the connection that does not work.
        let Some(amqp) = AmqpError::of(&error) else {
            return Self::with(AmqpScope::Connection, next_of(&error), error);
        };
        let hub = HubError::from_amqp(amqp);
        let recovery = Recovery::from(amqp, role);
        let next = match &hub {
            // The transport says that trying again cannot help.
            None => match next_of(&error) {
                Next::Surface => Next::Surface,
                _ => recovery.next,
            },
            // Refused with the condition of a bad token, which a new token does not change.
            Some(hub) if hub.code == HubErrorCode::DeviceDisabled => Next::Surface,
            Some(_) => recovery.next,
        };
        let cause = match hub {
            Some(hub) if HubError::of(&error).is_none() => Error::new(error.kind().clone(), hub),
            _ => error,
        };
        Self::with(recovery.rebuild, next, cause)
    }

    /// Why a connection could not be authorized.
    pub(super) fn unauthorized(why: Unauthorized) -> Self {
        match why {
            Unauthorized::Token(error) => Self::with(AmqpScope::Message, next_of(&error), error),
            Unauthorized::Refused { status, description } => {
                let next = match status {
                    429 | 503 => Next::Throttle,
                    408 | 500.. => Next::Retry,
                    _ => Next::Surface,
                };
                let status = StatusCode::from(u16::try_from(status).unwrap_or(500));
                let refused = HubError::from_cbs(status, &description);
                Self::with(AmqpScope::Message, next, Error::new(ErrorKind::Credential, refused))
            }
            Unauthorized::Link(error) => {
                let mut fault = Self::new(error, Role::Sender);
                // Only one pair of links may lead to `$cbs`; the old one may not be gone yet on the other side.
                if fault.condition() == Some("amqp:not-allowed") {
                    fault.recovery.next = Next::Retry;
                }
                fault
            }
            Unauthorized::NoAnswer => Self::timed_out("the hub did not answer put-token in time"),
        }
    }

    /// A step of making a connection or link that took too long, which is how a peer that is gone shows.
    pub(super) fn timed_out(message: &'static str) -> Self {
        let error = Error::with_message(ErrorKind::Connection, message);
        Self::with(AmqpScope::Connection, Next::Retry, error)
    }

    /// The application closed the connection.
    pub(super) fn closed() -> Self {
        Self::with(AmqpScope::Connection, Next::Surface, closed())
    }

    /// Whether trying again by ourselves is no answer to it.
    pub(super) fn is_for_the_caller(&self) -> bool {
        self.recovery.next == Next::Surface
    }

    /// Whether the link lives on.
    pub(super) fn is_of_a_message(&self) -> bool {
        self.recovery.rebuild == AmqpScope::Message && self.recovery.next == Next::Surface
    }

    /// The condition, if the peer gave one.
    pub(super) fn condition(&self) -> Option<&str> {
        let condition = AmqpError::of(&self.cause)?.condition.as_ref()?;
        Some(condition.as_str())
    }

    /// The error for a caller of whose call nothing reached the hub, in which what the peer said is found again.
    pub(super) fn to_error(&self) -> Error {
        let kind = match (self.recovery.next, self.cause.kind()) {
            (Next::Retry, _) => ErrorKind::Connection,
            (_, ErrorKind::Io) => ErrorKind::Other,
            (_, kind) => kind.clone(),
        };
        Error::new(kind, Shared(Arc::clone(&self.cause)))
    }

    /// The error for a caller whose message was on its way when this happened.
    pub(super) fn to_unknown(&self) -> Error {
        Error::new(ErrorKind::Io, Shared(Arc::clone(&self.cause)))
    }

    fn with(rebuild: AmqpScope, next: Next, error: Error) -> Self {
        Self {
            recovery: Recovery { rebuild, next },
            cause: Arc::new(error),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

/// The error of everything that is asked of a connection after it was closed.
pub(super) fn closed() -> Error {
    Error::with_message(
        ErrorKind::Other,
        "the connection to the hub was closed by this application",
    )
}

fn next_of(error: &Error) -> Next {
    match error.kind() {
        ErrorKind::Connection | ErrorKind::Io => Next::Retry,
        _ => Next::Surface,
    }
}

#[derive(Debug)]
struct Shared(Arc<Error>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

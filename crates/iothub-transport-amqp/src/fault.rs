//! What the engine says when something ends, in the seam's words.

use std::io;

use azure_core::{Error, error::ErrorKind};
use fe2o3_amqp::{
    connection::{self, ConnectionStopReason, OpenError},
    link::{
        DetachError, IllegalLinkStateError, LinkStateError, ReceiverAttachError, SenderAttachError, SessionStopReason,
    },
    session::BeginError,
    transport,
};
use fe2o3_amqp_types::{
    definitions::{self, ErrorCondition},
    primitives::Symbol,
};
use iothub_core::amqp::{AmqpCondition, AmqpError, AmqpScope};

use crate::value::from_fields;

/// An error that proves that nothing was handed over.
pub(crate) fn not_sent(fault: AmqpError) -> Error {
    Error::new(ErrorKind::Connection, fault)
}

/// The peer's own words.
pub(crate) fn said(scope: AmqpScope, error: definitions::Error) -> AmqpError {
    AmqpError {
        scope,
        condition: Some(condition(error.condition)),
        description: error.description,
        info: error.info.map(|info| from_fields(*info)).unwrap_or_default(),
    }
}

/// The condition of an outcome.
pub(crate) fn condition(condition: ErrorCondition) -> AmqpCondition {
    let symbol = match condition {
        ErrorCondition::AmqpError(error) => Symbol::from(&error),
        ErrorCondition::ConnectionError(error) => Symbol::from(&error),
        ErrorCondition::SessionError(error) => Symbol::from(&error),
        ErrorCondition::LinkError(error) => Symbol::from(&error),
        ErrorCondition::Custom(symbol) => symbol,
    };
    AmqpCondition::from(symbol.0)
}

/// Why a connection did not open. `wire` is what the socket said.
pub(crate) fn of_open(error: OpenError, wire: Option<String>, host: &str) -> Error {
    let (kind, fault) = match error {
        OpenError::RemoteClosedWithError(error) => (ErrorKind::Connection, said(AmqpScope::Connection, error)),
        OpenError::RemoteClosed => (ErrorKind::Connection, text(AmqpScope::Connection, "the hub closed it")),
        OpenError::Io(cause) | OpenError::TransportError(transport::Error::Io(cause))
            if cause.kind() == io::ErrorKind::InvalidData =>
        {
            (
                ErrorKind::Other,
                text(AmqpScope::Connection, wire.unwrap_or_else(|| cause.to_string())),
            )
        }
        OpenError::Io(_)
        | OpenError::TransportError(transport::Error::Io(_))
        | OpenError::TransportError(transport::Error::IdleTimeoutElapsed) => {
            let why = wire.unwrap_or_else(|| error.to_string());
            (ErrorKind::Connection, text(AmqpScope::Connection, why))
        }
        // Another header than AMQP 1.0's, or bytes that are no frames: this peer will not speak AMQP the next time.
        other => (
            ErrorKind::Other,
            text(
                AmqpScope::Connection,
                format!("{host} does not speak AMQP 1.0: {other}"),
            ),
        ),
    };
    let message = format!("no AMQP connection to {host}: {fault}");
    Error::with_error(kind, fault, message)
}

/// Why a connection ended. `wire` is what the socket said.
pub(crate) fn of_connection(outcome: Result<(), connection::Error>, wire: Option<String>) -> AmqpError {
    match outcome {
        Err(connection::Error::RemoteClosedWithError(error)) => said(AmqpScope::Connection, error),
        Err(connection::Error::RemoteClosed) => text(AmqpScope::Connection, "the hub closed it"),
        Err(error) => match wire {
            Some(wire) => text(AmqpScope::Connection, wire),
            None => text(AmqpScope::Connection, error.to_string()),
        },
        Ok(()) => text(AmqpScope::Connection, "it was closed"),
    }
}

pub(crate) fn of_begin(error: BeginError) -> AmqpError {
    match error {
        BeginError::RemoteEndedWithError(error) => said(AmqpScope::Session, error),
        BeginError::ConnectionStopped(reason) => of_connection_stop(reason),
        BeginError::LocalChannelMaxReached => text(AmqpScope::Session, "the hub allows no more sessions"),
        other => text(AmqpScope::Session, other.to_string()),
    }
}

pub(crate) fn of_sender_attach(error: SenderAttachError) -> AmqpError {
    match error {
        SenderAttachError::RemoteClosedWithError(error) => said(AmqpScope::Link, error),
        SenderAttachError::SessionStopped(reason) => of_session_stop(reason),
        SenderAttachError::IncomingTargetIsNone => text(AmqpScope::Link, REFUSED),
        other => text(AmqpScope::Link, other.to_string()),
    }
}

pub(crate) fn of_receiver_attach(error: ReceiverAttachError) -> AmqpError {
    match error {
        ReceiverAttachError::RemoteClosedWithError(error) => said(AmqpScope::Link, error),
        ReceiverAttachError::SessionStopped(reason) => of_session_stop(reason),
        ReceiverAttachError::IncomingSourceIsNone => text(AmqpScope::Link, REFUSED),
        other => text(AmqpScope::Link, other.to_string()),
    }
}

pub(crate) fn of_detach(error: DetachError) -> AmqpError {
    of_link(LinkStateError::from(error))
}

pub(crate) fn of_link(error: LinkStateError) -> AmqpError {
    match error {
        LinkStateError::RemoteClosedWithError(error) | LinkStateError::RemoteDetachedWithError(error) => {
            said(AmqpScope::Link, error)
        }
        LinkStateError::RemoteClosed | LinkStateError::RemoteDetached => text(AmqpScope::Link, "the hub detached it"),
        LinkStateError::SessionStopped(reason) => of_session_stop(reason),
        LinkStateError::IllegalState | LinkStateError::ExpectImmediateDetach => {
            text(AmqpScope::Link, "it is no longer attached")
        }
    }
}

pub(crate) fn of_link_use(error: IllegalLinkStateError) -> AmqpError {
    of_link(error.into())
}

pub(crate) fn text(scope: AmqpScope, text: impl Into<String>) -> AmqpError {
    AmqpError::new(scope).with_description(text)
}

fn of_session_stop(reason: SessionStopReason) -> AmqpError {
    match reason {
        SessionStopReason::ConnectionStopped(reason) => of_connection_stop(reason),
        SessionStopReason::RemoteEndedWithError(error) => said(AmqpScope::Session, error),
        SessionStopReason::RemoteEnded => text(AmqpScope::Session, "the hub ended it"),
        SessionStopReason::EndedWithError(error) => said(AmqpScope::Session, error),
        SessionStopReason::Ended => text(AmqpScope::Session, "it was ended"),
    }
}

fn of_connection_stop(reason: ConnectionStopReason) -> AmqpError {
    match reason {
        ConnectionStopReason::RemoteClosedWithError(error) | ConnectionStopReason::ClosedWithError(error) => {
            said(AmqpScope::Connection, error)
        }
        ConnectionStopReason::RemoteClosed => text(AmqpScope::Connection, "the hub closed it"),
        ConnectionStopReason::Closed => text(AmqpScope::Connection, "it was closed"),
    }
}

const REFUSED: &str = "the hub refused it";

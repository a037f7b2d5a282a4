//! What reading, changing and writing back has to know while others write.

use std::fmt::Display;

use azure_core::error::ErrorKind;
use iothub_core::{CallFacts, Error, HubError, HubErrorCode};

/// The rounds after the first one.
pub(super) fn rounds(wanted: Option<u32>) -> std::ops::Range<u32> {
    1..wanted.unwrap_or(ROUNDS)
}

/// Whether somebody else has written in between. If an earlier try of the same write got no answer, nobody knows whether
/// it was somebody else.
pub(super) fn lost(error: &Error) -> bool {
    let code = HubError::of(error).map(|hub| &hub.code);
    let maybe_applied = CallFacts::of(error).is_some_and(|facts| facts.maybe_applied);
    code == Some(&HubErrorCode::PreconditionFailed) && !maybe_applied
}

pub(super) fn renamed(what: &str, asked: &impl Display, made: &impl Display) -> Error {
    Error::with_message_fn(ErrorKind::DataConversion, || {
        format!("the change turned {what} `{asked}` into `{made}`: an id cannot change")
    })
}

/// Each round is lost to a write that took place, so ten lost ones in a row mean a record that many fight for.
const ROUNDS: u32 = 10;

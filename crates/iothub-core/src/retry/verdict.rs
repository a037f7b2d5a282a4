use std::io;

use azure_core::{Error, error::ErrorKind, http::StatusCode};

use super::Progress;
use crate::{OperationClass, error_chain, schedule::Schedule};

/// What one try was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The hub may have acted, and no final answer says whether it did.
    pub(super) ambiguous: bool,
    pub(super) next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This is the outcome of the call.
    Done,
    /// Try again after a wait.
    Wait(Schedule),
    /// Try again with another token, once.
    Reauthorize,
}

impl Verdict {
    pub(super) fn of_status(status: StatusCode, class: OperationClass) -> Self {
        use Schedule::{Normal, Throttle};
        match u16::from(status) {
            401 => Self::refused(Next::Reauthorize),
            // Refused before it was looked at, so that even what must not happen twice may be sent again.
            429 => Self::refused(Next::Wait(Throttle)),
            408 | 500 | 502 | 504 => Self::unknown(class != OperationClass::NonIdempotent, Normal),
            503 => Self::unknown(class != OperationClass::NonIdempotent, Throttle),
            _ => Self::refused(Next::Done),
        }
    }

    pub(super) fn of_error(error: &Error, progress: Progress, class: OperationClass) -> Self {
        use OperationClass::{Idempotent, NonIdempotent, Read};
        match (error.kind(), progress) {
            (ErrorKind::Connection, _) | (ErrorKind::Io, Progress::Preparing) => {
                Self::refused(Next::Wait(Schedule::Normal))
            }
            (ErrorKind::Io, Progress::Sent) => Self::unknown(matches!(class, Read | Idempotent), Schedule::Normal),
            // The answer began and broke off. A read asks again; a write has been done, and asking again could
            // only make a different answer out of it.
            (ErrorKind::Io, Progress::Answered) => Self::unknown(class == Read, Schedule::Normal),
            // The answer came and cannot be used, as when it is too large: the next would be the same.
            (_, Progress::Answered) => Self {
                ambiguous: class == Idempotent || class == NonIdempotent,
                next: Next::Done,
            },
            // A certificate that is not trusted, a credential that cannot be had, a request that cannot be written.
            (_, Progress::Preparing | Progress::Sent) => Self::refused(Next::Done),
        }
    }

    fn refused(next: Next) -> Self {
        let ambiguous = false;
        Self { ambiguous, next }
    }

    fn unknown(again: bool, schedule: Schedule) -> Self {
        Self {
            ambiguous: true,
            next: if again { Next::Wait(schedule) } else { Next::Done },
        }
    }
}

/// Whether a try ended because somebody stopped to wait.
pub(super) fn is_timeout(error: &Error) -> bool {
    error_chain::find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

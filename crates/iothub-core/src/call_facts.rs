use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use azure_core::Error;

use crate::error_chain;

/// How a call went, whatever came of it: inside every error that a client returns.
///
/// # Examples
///
/// ```
/// use iothub_core::{CallFacts, Error, HubError, HubErrorCode};
///
/// fn may_send_again(error: &Error) -> bool {
///     CallFacts::of(error).is_some_and(|facts| !facts.maybe_applied)
/// }
///
/// let refused: Error = HubError::new(HubErrorCode::ThrottlingException, "wait 10 seconds").into();
/// let error = CallFacts { attempts: 3, ..CallFacts::default() }.attach(refused);
/// assert!(may_send_again(&error));
/// assert_eq!(CallFacts::of(&error).map(|facts| facts.attempts), Some(3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallFacts {
    /// How often the request was tried, at least once.
    pub attempts: u32,
    /// Whether the operation may have taken effect although the call failed: a request was on its way, and no final
    /// answer to it came. Never true of a read.
    pub maybe_applied: bool,
    /// How long the hub asked to wait, if it did and the call would not.
    pub retry_after: Option<Duration>,
}

impl CallFacts {
    /// The facts inside `error`. `None` if it did not get as far as a first try, as with a malformed id.
    pub fn of(error: &Error) -> Option<&Self> {
        error_chain::find::<CallError>(error).map(|found| &found.facts)
    }

    /// The same error, of the same kind, with these facts inside. [`HubError::of`](crate::HubError::of) still finds
    /// what it found before.
    #[must_use]
    pub fn attach(self, error: Error) -> Error {
        let kind = error.kind().clone();
        let message = match (self.attempts, self.maybe_applied) {
            (0 | 1, false) => error.to_string(),
            (0 | 1, true) => format!("{error}; it may have been carried out"),
            (n, false) => format!("{error}; tried {n} times"),
            (n, true) => format!("{error}; tried {n} times, and it may have been carried out"),
        };
        let facts = self;
        Error::with_error(kind, CallError { facts, cause: error }, message)
    }
}

impl Default for CallFacts {
    fn default() -> Self {
        Self {
            attempts: 1,
            maybe_applied: false,
            retry_after: None,
        }
    }
}

/// Tells how a call went that succeeded, such as whether it took more than one try.
///
/// It is put into the context of the call; see the example. A report in the contexts of several calls at once shows
/// the one that ended last.
///
/// # Examples
///
/// ```
/// use azure_core::http::{ClientMethodOptions, Context};
/// use iothub_core::CallReport;
///
/// let report = CallReport::default();
/// let method_options = ClientMethodOptions { context: Context::new().with_value(report.clone()) };
/// // … a call with these options …
/// # let _ = method_options;
/// if report.facts().is_some_and(|facts| facts.attempts > 1) {
///     println!("it took more than one try");
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct CallReport(Arc<Mutex<Option<CallFacts>>>);

impl CallReport {
    /// How the call went; `None` until it has ended, or if it did not come to a try.
    pub fn facts(&self) -> Option<CallFacts> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ended(&self, facts: Option<CallFacts>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }
}

/// The link that holds the facts in the chain of causes.
#[derive(Debug)]
struct CallError {
    facts: CallFacts,
    cause: Error,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

#[cfg(test)]
mod tests {
    use azure_core::error::ErrorKind;

    use super::*;
    use crate::{HubError, HubErrorCode};

    #[test]
    fn facts_leave_kind_and_cause_as_they_were() {
        let refused: Error = HubError::new(HubErrorCode::DeviceNotFound, "no lamp").into();
        let facts = CallFacts {
            attempts: 4,
            maybe_applied: true,
            retry_after: Some(Duration::from_secs(9)),
        };
        let error = facts.attach(refused);

        assert_eq!(CallFacts::of(&error), Some(&facts));
        assert_eq!(HubError::of(&error).unwrap().code, HubErrorCode::DeviceNotFound);
        assert_eq!(error.kind(), &ErrorKind::Other);
        assert_eq!(
            error.to_string(),
            "DeviceNotFound (404001): no lamp; tried 4 times, and it may have been carried out"
        );
    }

    #[test]
    fn an_error_before_the_first_try_has_no_facts() {
        assert_eq!(CallFacts::of(&Error::with_message(ErrorKind::Other, "no")), None);
    }
}

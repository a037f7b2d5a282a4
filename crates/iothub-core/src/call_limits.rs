use std::time::Duration;

/// How long a call may take and how often it may be tried.
///
/// They are set for a client in its options, and for one call in its context. What the call leaves open, the client
/// says; what the client leaves open, has the default that stands below.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use azure_core::http::{ClientMethodOptions, Context};
/// use iothub_core::CallLimits;
///
/// let soon = CallLimits { deadline: Some(Duration::from_secs(5)), ..CallLimits::default() };
/// let method_options = ClientMethodOptions { context: Context::new().with_value(soon) };
/// # let _ = method_options;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallLimits {
    /// After this the call returns, whatever it is waiting for: a token, a connection, an answer, the next try.
    /// 60 seconds by default, and longer for a call that the hub is known to take longer for, such as a direct method;
    /// a deadline in the context of a call is kept to in any case.
    pub deadline: Option<Duration>,
    /// How often a request is sent at most, the first time included. 9 by default; 1 never repeats.
    pub tries: Option<u32>,
    /// How long one try waits for the head of the answer. 30 seconds by default, and longer for a call that the hub is
    /// known to take longer for.
    pub head_timeout: Option<Duration>,
}

impl CallLimits {
    /// These limits, and where they leave something open, the others.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            deadline: self.deadline.or(others.deadline),
            tries: self.tries.or(others.tries),
            head_timeout: self.head_timeout.or(others.head_timeout),
        }
    }
}

/// The limits of one call, all of them said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EffectiveLimits {
    pub(crate) deadline: Duration,
    pub(crate) tries: u32,
    pub(crate) head_timeout: Duration,
}

impl EffectiveLimits {
    /// For a request whose answer may take `slow` to begin.
    pub(crate) fn new(call: &CallLimits, client: &CallLimits, slow: Duration) -> Self {
        Self {
            deadline: call
                .deadline
                .unwrap_or_else(|| client.deadline.unwrap_or(DEADLINE).max(slow)),
            tries: call.tries.or(client.tries).unwrap_or(TRIES),
            head_timeout: call
                .head_timeout
                .unwrap_or_else(|| client.head_timeout.unwrap_or(HEAD_TIMEOUT).max(slow)),
        }
    }
}

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const TRIES: u32 = 9;
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_is_heard_before_the_client() {
        let seconds = |n| Some(Duration::from_secs(n));
        let none = CallLimits::default();
        let short = CallLimits {
            deadline: seconds(5),
            ..none
        };
        let once = CallLimits { tries: Some(1), ..none };
        let patient = CallLimits {
            head_timeout: seconds(50),
            ..none
        };
        for (call, client, slow, expected) in [
            (none, none, 0, (60, 9, 30)),
            (none, short, 0, (5, 9, 30)),
            (once, short, 0, (5, 1, 30)),
            (patient, once, 0, (60, 1, 50)),
            // A slow answer has its time, unless the call says otherwise.
            (none, none, 200, (200, 9, 200)),
            (once, short, 200, (200, 1, 200)),
            (short, none, 200, (5, 9, 200)),
            (patient, none, 200, (200, 9, 50)),
            (none, patient, 40, (60, 9, 50)),
        ] {
            let limits = EffectiveLimits::new(&call, &client, Duration::from_secs(slow));
            let found = (limits.deadline.as_secs(), limits.tries, limits.head_timeout.as_secs());
            assert_eq!(found, expected, "{call:?} {client:?} {slow}");
        }
    }
}

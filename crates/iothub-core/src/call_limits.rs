use std::time::Duration;

/// How long a call may take and how often it may be tried.
///
/// They are set for a client in its options, and for one call in its context, where they take the place of the
/// client's.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use azure_core::http::{ClientMethodOptions, Context};
/// use iothub_core::CallLimits;
///
/// let soon = CallLimits { deadline: Duration::from_secs(5), ..CallLimits::default() };
/// let method_options = ClientMethodOptions { context: Context::new().with_value(soon) };
/// # let _ = method_options;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// After this the call returns, whatever it is waiting for: a token, a connection, an answer, the next try.
    /// 60 seconds by default.
    pub deadline: Duration,
    /// How often a request is sent at most, the first time included. 9 by default; 1 never repeats.
    pub tries: u32,
    /// How long one try waits for the head of the answer. 30 seconds by default; a call that the hub is known to take
    /// longer for, such as a direct method, waits as long as it needs.
    pub head_timeout: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(60),
            tries: 9,
            head_timeout: Duration::from_secs(30),
        }
    }
}

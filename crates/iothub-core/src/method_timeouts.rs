use std::time::Duration;

use azure_core::{Error, Result, error::ErrorKind};

use crate::models::seconds::whole;

/// How long a hub waits for a device that is to run a method, or a command of a digital twin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MethodTimeouts {
    /// For the device to connect. `None` does not wait.
    pub connect: Option<Duration>,
    /// For its answer. `None` is 30 seconds.
    pub response: Option<Duration>,
}

impl MethodTimeouts {
    /// How long the hub's answer may take to begin: both timeouts, and ten seconds for the way there and back. The hub is
    /// to be the one who says that the device was too slow.
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if no hub takes them: the response timeout is 5 to 300 seconds, and the connect timeout is
    /// not longer than that.
    pub fn head_timeout(&self) -> Result<Duration> {
        let response = self.response.unwrap_or(RESPONSE);
        let connect = self.connect.unwrap_or_default();
        let refused = |why: String| Err(Error::with_message(ErrorKind::DataConversion, why));
        if !(MIN_RESPONSE..=MAX_RESPONSE).contains(&response) {
            return refused(format!(
                "a response timeout of {response:?} is not from {MIN_RESPONSE:?} to {MAX_RESPONSE:?}"
            ));
        }
        if connect > response {
            return refused(format!(
                "a connect timeout of {connect:?} is more than the response timeout of {response:?}"
            ));
        }
        Ok(connect + response + ALLOWANCE)
    }

    /// Those that are set, by their names on the wire and in whole seconds. A fraction is rounded up.
    pub fn in_seconds(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named = [
            ("connectTimeoutInSeconds", self.connect),
            ("responseTimeoutInSeconds", self.response),
        ];
        named
            .into_iter()
            .filter_map(|(name, timeout)| Some((name, whole(timeout?))))
    }
}

/// What Microsoft's documentation of direct methods allows, and what a hub takes a missing timeout for.
const MIN_RESPONSE: Duration = Duration::from_secs(5);
const MAX_RESPONSE: Duration = Duration::from_secs(300);
const RESPONSE: Duration = Duration::from_secs(30);

const ALLOWANCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn timeouts(connect: Option<u64>, response: Option<u64>) -> MethodTimeouts {
        MethodTimeouts {
            connect: connect.map(Duration::from_secs),
            response: response.map(Duration::from_secs),
        }
    }

    #[test]
    fn the_hub_is_given_time_to_say_that_it_was_too_late() {
        for (connect, response, expected) in [
            (None, None, 40),
            (None, Some(5), 15),
            (Some(60), Some(300), 370),
            (Some(30), None, 70),
        ] {
            let found = timeouts(connect, response).head_timeout().unwrap();
            assert_eq!(found.as_secs(), expected, "{connect:?} {response:?}");
        }
    }

    #[test]
    fn what_no_hub_takes_is_refused() {
        for (connect, response, why) in [
            (None, Some(4), "response timeout of 4s"),
            (None, Some(301), "response timeout of 301s"),
            (Some(21), Some(20), "connect timeout of 21s"),
            (Some(31), None, "response timeout of 30s"),
        ] {
            let error = timeouts(connect, response).head_timeout().unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::DataConversion);
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn only_what_is_set_is_said() {
        assert_eq!(timeouts(None, None).in_seconds().count(), 0);
        let half = MethodTimeouts {
            connect: Some(Duration::from_millis(1500)),
            response: Some(Duration::from_secs(20)),
        };
        let said: Vec<_> = half.in_seconds().collect();
        assert_eq!(said, [("connectTimeoutInSeconds", 2), ("responseTimeoutInSeconds", 20)]);
    }
}

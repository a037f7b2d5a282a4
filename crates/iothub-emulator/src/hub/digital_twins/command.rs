use bytes::Bytes;
use iothub_core::HubErrorCode;

use crate::hub::{Failure, method_call::MethodCall};

/// A command of a digital twin, as the method that the device gets.
#[derive(Debug, PartialEq)]
pub(crate) struct Command(pub(super) MethodCall);

impl Command {
    /// `payload` is JSON, or nothing; the timeouts are texts of whole seconds.
    pub(crate) fn new(
        component: Option<&str>,
        name: &str,
        payload: &Bytes,
        response_timeout: Option<&str>,
        connect_timeout: Option<&str>,
    ) -> Result<Self, Failure> {
        let name = match component {
            None => name.to_owned(),
            Some(component) => format!("{component}*{name}"),
        };
        let payload = match payload.trim_ascii() {
            b"" => Bytes::from_static(b"null"),
            json => {
                serde_json::from_slice::<serde::de::IgnoredAny>(json).map_err(|error| {
                    let text = format!("the payload is not JSON: {error}");
                    Failure::new(HubErrorCode::IotHubFormatError, text)
                })?;
                payload.slice_ref(json)
            }
        };
        MethodCall::new(name, payload, response_timeout, connect_timeout).map(Self)
    }

    /// What it waits for a connection, and for an answer.
    pub(crate) fn timeouts(&self) -> (time::Duration, time::Duration) {
        (self.0.connect_timeout, self.0.response_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_stands_before_its_command() {
        let command = |component, payload: &'static str| {
            Command::new(component, "run", &Bytes::from_static(payload.as_bytes()), None, None).unwrap()
        };
        assert_eq!(command(None, "").0.name, "run");
        assert_eq!(command(Some("thermostat1"), "").0.name, "thermostat1*run");
        assert_eq!(command(None, "").0.payload, "null");
        assert_eq!(command(None, " { \"n\": 1.0 }\n").0.payload, "{ \"n\": 1.0 }");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (payload, response, connect, why) in [
            ("{", None, None, "not JSON"),
            ("1 2", None, None, "not JSON"),
            ("", Some("4"), None, "from 5 to 300"),
            ("", Some("soon"), None, "whole number"),
            ("", Some("10"), Some("11"), "longer than"),
        ] {
            let failure = Command::new(None, "run", &Bytes::from(payload), response, connect).unwrap_err();
            assert!(failure.message.contains(why), "{payload}: {}", failure.message);
        }
    }
}

use std::time::Duration;

use azure_core::fmt::SafeDebug;
use iothub_core::{
    MethodTimeouts,
    models::{DirectMethodRequest, JsonText},
};

/// A command for a Plug and Play device.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use iothub_digitaltwin::Command;
/// use serde_json::json;
///
/// let reboot = Command::new("reboot").with_payload(json!(3)).with_connect_timeout(Duration::from_secs(10));
/// let report = Command::new("getMaxMinReport").on_component("thermostat1");
/// # let _ = (reboot, report);
/// ```
#[derive(Clone, PartialEq, SafeDebug)]
#[safe(true)]
#[non_exhaustive]
pub struct Command {
    /// Its name in the model.
    pub name: String,
    /// The component that has it. `None` for a command of the root.
    pub component: Option<String>,
    /// What to hand the command, up to 128 KB of JSON. Without it the device receives `null`.
    #[safe(false)]
    pub payload: Option<JsonText>,
    /// How long to wait for the device's answer, 5 to 300 s. Without it the hub waits 30 s.
    pub response_timeout: Option<Duration>,
    /// How long to wait for a device that is not connected, no longer than the response timeout. Without it the hub does
    /// not wait.
    pub connect_timeout: Option<Duration>,
}

impl Command {
    /// A command of the root, without a payload.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            component: None,
            payload: None,
            response_timeout: None,
            connect_timeout: None,
        }
    }

    /// Sets [`component`](Self::component).
    #[must_use]
    pub fn on_component(mut self, component: impl Into<String>) -> Self {
        self.component = Some(component.into());
        self
    }

    /// Sets [`payload`](Self::payload).
    #[must_use]
    pub fn with_payload(mut self, payload: impl Into<JsonText>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// Sets [`response_timeout`](Self::response_timeout).
    #[must_use]
    pub fn with_response_timeout(mut self, response_timeout: Duration) -> Self {
        self.response_timeout = Some(response_timeout);
        self
    }

    /// Sets [`connect_timeout`](Self::connect_timeout).
    #[must_use]
    pub fn with_connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = Some(connect_timeout);
        self
    }

    pub(crate) fn timeouts(&self) -> MethodTimeouts {
        MethodTimeouts {
            connect: self.connect_timeout,
            response: self.response_timeout,
        }
    }

    /// What the method is called that the device gets.
    pub(crate) fn method_name(&self) -> String {
        match &self.component {
            None => self.name.clone(),
            Some(component) => format!("{component}*{}", self.name),
        }
    }
}

/// The direct method that the device gets for the command. Where commands are refused, it can be invoked by itself, with
/// the same effect.
impl From<&Command> for DirectMethodRequest {
    fn from(command: &Command) -> Self {
        let mut method = Self::new(command.method_name());
        method.payload.clone_from(&command.payload);
        method.response_timeout = command.response_timeout;
        method.connect_timeout = command.connect_timeout;
        method
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_method_to_the_device() {
        let command = Command::new("getMaxMinReport")
            .on_component("thermostat1")
            .with_payload("[1.0]".parse::<JsonText>().unwrap())
            .with_connect_timeout(Duration::from_secs(3));
        let method = serde_json::to_string(&DirectMethodRequest::from(&command)).unwrap();
        let expected = r#"{"methodName":"thermostat1*getMaxMinReport","payload":[1.0],"connectTimeoutInSeconds":3}"#;
        assert_eq!(method, expected);
        assert_eq!(Command::new("reboot").method_name(), "reboot");
    }
}

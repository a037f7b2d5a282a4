use std::fmt;

use azure_core::{
    Error,
    error::ErrorKind,
    http::{StatusCode, headers::Headers},
};

use crate::{HubErrorCode, amqp::AmqpError, error_chain};

mod envelope;

use envelope::Envelope;

/// What the hub said when it refused a call, over HTTP or AMQP.
///
/// It travels inside an [`Error`]; [`HubError::of`] finds it there.
///
/// # Examples
///
/// ```
/// use iothub_core::{Error, HubError, HubErrorCode};
///
/// fn is_missing(error: &Error) -> bool {
///     HubError::of(error).is_some_and(|hub| hub.code == HubErrorCode::DeviceNotFound)
/// }
///
/// assert!(is_missing(&HubError::new(HubErrorCode::DeviceNotFound, "no device `lamp`").into()));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubError {
    /// What is wrong. If the answer named no code, the generic one of its HTTP status.
    pub code: HubErrorCode,
    /// The hub's text, which is for people: it changes without notice. May be empty.
    pub message: String,
    /// What Microsoft's support asks for.
    pub tracking_id: Option<String>,
    amqp: Option<Box<AmqpError>>,
}

impl HubError {
    /// An error without a tracking id.
    pub fn new(code: HubErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            tracking_id: None,
            amqp: None,
        }
    }

    /// Reads the answer to an HTTP request that was not a success.
    ///
    /// The hub has several ways to write an error, and what stands before a hub has others. All of them are read, and
    /// none fails: what cannot be understood becomes the message.
    pub fn from_http(status: StatusCode, headers: &Headers, body: &[u8]) -> Self {
        let mut envelope = Envelope::read(&String::from_utf8_lossy(body));
        let header = |name: &'static str| headers.get_optional_string(&name.into());
        if let Some(name) = header("iothub-errorcode").or_else(|| header("iothuberrorcode")) {
            envelope.named_by_header(&name);
        }
        envelope.tracking_id = envelope.tracking_id.or_else(|| header("x-ms-request-id"));
        envelope.into_error(status)
    }

    /// Reads the status and the description with which a hub answers put-token.
    pub fn from_cbs(status: StatusCode, description: &str) -> Self {
        Envelope::read(description).into_error(status)
    }

    /// Reads what an AMQP peer said. `None` if it gave no condition.
    ///
    /// A condition that is about the connection rather than about the hub, such as `amqp:connection:forced`, becomes
    /// [`HubErrorCode::Other`] of that name. [`AmqpError::of`] still finds `error` inside the result.
    pub fn from_amqp(error: &AmqpError) -> Option<Self> {
        let condition = error.condition.as_ref()?;
        let mut envelope = Envelope::read(error.description.as_deref().unwrap_or_default());
        for (name, value) in &error.info {
            match name.as_str() {
                "com.microsoft:tracking-id" => envelope.tracking_id = value.as_str().map(str::to_owned),
                "com.microsoft:error-code" => match value.as_str() {
                    Some(code) => envelope.coded(code),
                    None => envelope.number = value.as_i64().and_then(|code| code.try_into().ok()),
                },
                _ => {}
            }
        }
        let code = envelope
            .code()
            .unwrap_or_else(|| HubErrorCode::from_amqp_condition(condition.as_str()));
        Some(Self {
            code,
            message: envelope.message,
            tracking_id: envelope.tracking_id,
            amqp: Some(Box::new(error.clone())),
        })
    }

    /// The same error with a tracking id.
    #[must_use]
    pub fn with_tracking_id(mut self, id: impl Into<String>) -> Self {
        self.tracking_id = Some(id.into());
        self
    }

    /// What the hub said, if `error` comes from a hub.
    pub fn of(error: &Error) -> Option<&Self> {
        error_chain::find(error)
    }
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, self.code.number()) {
            (HubErrorCode::Other { name, .. }, Some(number)) if *name == number.to_string() => write!(f, "{number}")?,
            (code, Some(number)) => write!(f, "{code} ({number})")?,
            (code, None) => write!(f, "{code}")?,
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        match &self.tracking_id {
            // Over AMQP the hub often writes it into its text as well.
            Some(id) if !self.message.contains(id.as_str()) => write!(f, " [tracking id {id}]"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for HubError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.amqp.as_deref().map(|error| error as _)
    }
}

impl From<HubError> for Error {
    fn from(error: HubError) -> Self {
        Self::new(ErrorKind::Other, error)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path};

    use base64::Engine;
    use serde::Deserialize;

    use super::*;
    use crate::amqp::{AmqpScope, AmqpValue};

    /// One file of `testdata/errors`: an answer, and what is in it to a reader.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Answer {
        #[expect(dead_code, reason = "for readers of the file")]
        about: String,
        status: u16,
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: String,
        body_base64: Option<String>,
        expected: Expected,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Expected {
        code: String,
        number: Option<u32>,
        message: String,
        tracking_id: Option<String>,
    }

    #[test]
    fn every_known_shape_of_an_error_is_read() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/errors");
        let mut read = 0;
        for file in fs::read_dir(corpus).unwrap() {
            let path = file.unwrap().path();
            let answer: Answer = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let mut headers = Headers::new();
            for (name, value) in answer.headers {
                headers.insert(name.to_ascii_lowercase(), value);
            }
            let body = match answer.body_base64 {
                Some(text) => base64::prelude::BASE64_STANDARD.decode(text).unwrap(),
                None => answer.body.into_bytes(),
            };
            let error = HubError::from_http(StatusCode::from(answer.status), &headers, &body);
            let found = Expected {
                code: error.code.as_str().to_owned(),
                number: error.code.number(),
                message: error.message,
                tracking_id: error.tracking_id,
            };
            assert_eq!(found, answer.expected, "{}", path.display());
            read += 1;
        }
        assert!(read > 30, "the corpus is in its place");
    }

    #[test]
    fn no_prefix_of_an_answer_is_too_much() {
        let whole = r#"{"Message":"ErrorCode:DeviceNotFound;\nMessage: ü","ExceptionMessage":"Tracking ID:x;y"}"#;
        for (end, _) in whole.char_indices() {
            HubError::from_http(StatusCode::NotFound, &Headers::new(), &whole.as_bytes()[..end]);
        }
        for end in 0..whole.len() {
            HubError::from_http(StatusCode::NotFound, &Headers::new(), &whole.as_bytes()[end..]);
        }
    }

    #[test]
    fn a_tracking_id_is_shown_once() {
        let error = |message: &str| HubError::new(HubErrorCode::DeviceNotFound, message).with_tracking_id("T1");
        assert_eq!(
            error("no lamp").to_string(),
            "DeviceNotFound (404001): no lamp [tracking id T1]"
        );
        assert_eq!(
            error("no lamp Tracking ID:T1").to_string(),
            "DeviceNotFound (404001): no lamp Tracking ID:T1"
        );
    }

    #[test]
    fn a_long_message_is_cut() {
        let error = HubError::from_http(StatusCode::NotFound, &Headers::new(), "ü".repeat(100_000).as_bytes());
        assert_eq!(error.message.chars().count(), 2049);
    }

    #[test]
    fn what_an_amqp_peer_says_is_read() {
        let mut said = AmqpError::new(AmqpScope::Message).with_condition("amqp:not-found", "no lamp");
        said.info = vec![("com.microsoft:tracking-id".to_owned(), AmqpValue::from("T7"))];
        let error = HubError::from_amqp(&said).expect("it has a condition");
        assert_eq!(
            (error.code.clone(), error.message.as_str()),
            (HubErrorCode::DeviceNotFound, "no lamp")
        );
        assert_eq!(error.tracking_id.as_deref(), Some("T7"));

        let error: Error = error.into();
        assert_eq!(error.to_string(), "DeviceNotFound (404001): no lamp [tracking id T7]");
        assert_eq!(AmqpError::of(&error).map(|amqp| amqp.scope), Some(AmqpScope::Message));
    }

    #[test]
    fn a_code_in_the_info_is_more_exact_than_the_condition() {
        for code in [
            AmqpValue::Int(404010),
            AmqpValue::from("404010"),
            AmqpValue::from("ModuleNotFound"),
        ] {
            let mut said = AmqpError::new(AmqpScope::Link).with_condition("amqp:not-found", "");
            said.info = vec![("com.microsoft:error-code".to_owned(), code)];
            let error = HubError::from_amqp(&said).expect("it has a condition");
            assert_eq!(error.code, HubErrorCode::ModuleNotFound);
        }
    }

    #[test]
    fn a_description_may_be_json() {
        let text = r#"{"errorCode":403004,"trackingId":"T8","message":"queue is full"}"#;
        let said = AmqpError::new(AmqpScope::Message).with_condition("amqp:resource-limit-exceeded", text);
        let error = HubError::from_amqp(&said).expect("it has a condition");
        assert_eq!(error.code, HubErrorCode::DeviceMaximumQueueDepthExceeded);
        assert_eq!(
            (error.message.as_str(), error.tracking_id.as_deref()),
            ("queue is full", Some("T8"))
        );
    }

    #[test]
    fn a_fault_of_the_connection_is_not_something_the_hub_said() {
        assert!(HubError::from_amqp(&AmqpError::new(AmqpScope::Connection)).is_none());
        let forced = AmqpError::new(AmqpScope::Connection).with_condition("amqp:connection:forced", "");
        let error = HubError::from_amqp(&forced).expect("it has a condition");
        assert_eq!(
            (error.code.number(), error.to_string().as_str()),
            (None, "amqp:connection:forced")
        );
    }

    #[test]
    fn put_token_answers_with_a_status() {
        let error = HubError::from_cbs(StatusCode::Unauthorized, "token expired");
        assert_eq!(
            (error.code, error.message.as_str()),
            (HubErrorCode::GenericUnauthorized, "token expired")
        );
    }
}

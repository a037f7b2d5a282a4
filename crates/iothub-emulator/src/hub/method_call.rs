use std::ops::RangeInclusive;

use bytes::Bytes;
use iothub_core::HubErrorCode;
use time::Duration;

use super::{Failure, json_text::RawMembers};

/// What a service says when it invokes a method.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MethodCall {
    pub(crate) name: String,
    /// JSON, byte for byte as it came.
    pub(crate) payload: Bytes,
    pub(crate) response_timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

impl MethodCall {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        let format = |text: String| Failure::new(HubErrorCode::IotHubFormatError, text);
        let text = std::str::from_utf8(body).map_err(|_| format("the body is not UTF-8".to_owned()))?;
        let RawMembers(members) =
            serde_json::from_str(text).map_err(|error| format(format!("the body is not a JSON object: {error}")))?;
        let member = |name: &str| {
            let member = members.iter().rfind(|(known, _)| known == name);
            member.map(|(_, value)| value.get()).filter(|value| *value != "null")
        };
        let name: String = member("methodName")
            .and_then(|name| serde_json::from_str(name).ok())
            .filter(|name: &String| !name.is_empty())
            .ok_or_else(|| Failure::argument("methodName has to be a string that is not empty"))?;
        Self::new(
            name,
            Bytes::copy_from_slice(member("payload").unwrap_or("null").as_bytes()),
            member("responseTimeoutInSeconds"),
            member("connectTimeoutInSeconds"),
        )
    }

    /// `payload` is JSON; the timeouts are texts of whole seconds.
    pub(crate) fn new(
        name: String,
        payload: Bytes,
        response_timeout: Option<&str>,
        connect_timeout: Option<&str>,
    ) -> Result<Self, Failure> {
        if payload.len() > MAX_PAYLOAD {
            let text = format!(
                "the payload of a method has at most {MAX_PAYLOAD} bytes, this one {}",
                payload.len()
            );
            return Err(Failure::new(HubErrorCode::MessageTooLarge, text));
        }
        let response = seconds("responseTimeoutInSeconds", response_timeout, 30, 5..=300)?;
        let connect = seconds("connectTimeoutInSeconds", connect_timeout, 0, 0..=300)?;
        if connect > response {
            let text =
                format!("connectTimeoutInSeconds, {connect}, is longer than responseTimeoutInSeconds, {response}");
            return Err(Failure::argument(text));
        }
        Ok(Self {
            name,
            payload,
            response_timeout: Duration::seconds(response),
            connect_timeout: Duration::seconds(connect),
        })
    }
}

fn seconds(name: &str, text: Option<&str>, default: i64, range: RangeInclusive<i64>) -> Result<i64, Failure> {
    let seconds = text.map_or(Ok(default), |text| {
        text.parse()
            .map_err(|_| Failure::argument(format!("{name} has to be a whole number of seconds, not {text}")))
    })?;
    if range.contains(&seconds) {
        return Ok(seconds);
    }
    let (least, most) = range.into_inner();
    let text = format!("{name} is {seconds}, and has to be from {least} to {most}");
    Err(Failure::argument(text))
}

/// The published limit.
const MAX_PAYLOAD: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_stays_as_it_was_written() {
        let body = br#" { "methodName" : "m", "payload" : { "n": 1.0, "t":"2026-01-01T00:00:00.000+00:00" }  } "#;
        let call = MethodCall::parse(body).unwrap();
        assert_eq!(call.payload, r#"{ "n": 1.0, "t":"2026-01-01T00:00:00.000+00:00" }"#);
        assert_eq!(call.response_timeout, Duration::seconds(30));
        assert_eq!(call.connect_timeout, Duration::ZERO);
        for body in [r#"{"methodName":"m"}"#, r#"{"methodName":"m","payload":null}"#] {
            assert_eq!(MethodCall::parse(body.as_bytes()).unwrap().payload, "null");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (body, why) in [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("{}", "methodName"),
            (r#"{"methodName":""}"#, "methodName"),
            (r#"{"methodName":7}"#, "methodName"),
            (r#"{"methodName":"m","responseTimeoutInSeconds":4}"#, "from 5 to 300"),
            (r#"{"methodName":"m","responseTimeoutInSeconds":301}"#, "from 5 to 300"),
            (r#"{"methodName":"m","connectTimeoutInSeconds":-1}"#, "from 0 to 300"),
            (r#"{"methodName":"m","connectTimeoutInSeconds":"1"}"#, "whole number"),
            (r#"{"methodName":"m","connectTimeoutInSeconds":31}"#, "longer than"),
        ] {
            let failure = MethodCall::parse(body.as_bytes()).unwrap_err();
            assert!(failure.message.contains(why), "{body}: {}", failure.message);
        }
    }
}

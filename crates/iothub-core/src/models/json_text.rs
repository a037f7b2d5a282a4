use std::{fmt, str::FromStr};

use azure_core::{Error, Result, error::ErrorKind};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

/// A JSON value as its text, kept byte for byte and read when somebody asks.
///
/// Dates stay as they were written, numbers keep all their digits, members their order.
///
/// # Examples
///
/// ```
/// use iothub_core::models::JsonText;
///
/// let exact: JsonText = r#"{"delay": 1.50, "at": "2030-01-01T00:00:00.100Z"}"#.parse()?;
/// assert_eq!(exact.as_str(), r#"{"delay": 1.50, "at": "2030-01-01T00:00:00.100Z"}"#);
///
/// let of_values = JsonText::new(&[1, 2])?;
/// assert_eq!(of_values.parse::<Vec<u8>>()?, [1, 2]);
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// The text of a value.
    ///
    /// # Errors
    ///
    /// `value` is not representable in JSON, such as a map whose keys are not strings.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        Ok(Self(serde_json::value::to_raw_value(value)?))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The value as a `T`.
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if it is not one.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(self.as_str()).map_err(|error| {
            let what = format!("the JSON value of {} bytes cannot be read so", self.as_str().len());
            Error::with_error(ErrorKind::DataConversion, error, what)
        })
    }
}

impl FromStr for JsonText {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match RawValue::from_string(text.to_owned()) {
            Ok(raw) => Ok(Self(raw)),
            Err(error) => Err(Error::with_error(
                ErrorKind::DataConversion,
                error,
                format!("this text of {} bytes is not one JSON value", text.len()),
            )),
        }
    }
}

impl From<Value> for JsonText {
    fn from(value: Value) -> Self {
        Self(serde_json::value::to_raw_value(&value).expect("every tree of values has a text"))
    }
}

/// Compares texts: `1.0` is not `1`.
impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for JsonText {}

/// Shows no content, which belongs to the application.
impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonText({} bytes)", self.as_str().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{DirectMethodRequest, DirectMethodResponse, ScheduledJob, ScheduledJobKind};

    const EXACT: &str = r#"{"z": 1.50, "a":[ 12345678901234567890123 ],"d":"2030-01-01T00:00:00.100+02:00"}"#;

    #[test]
    fn a_payload_keeps_every_byte() {
        let request = DirectMethodRequest::new("m").with_payload(EXACT.parse::<JsonText>().unwrap());
        let written = serde_json::to_string(&request).unwrap();
        assert_eq!(written, format!(r#"{{"methodName":"m","payload":{EXACT}}}"#));
        let answer = format!(r#"{{"status":200,"payload":{EXACT}}}"#);
        let answer: DirectMethodResponse = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer.payload.unwrap().as_str(), EXACT);
    }

    #[test]
    fn a_payload_within_a_job_is_read() {
        let text = r#"{"jobId":"j","status":"running","type":"scheduleDeviceMethod","queryCondition":"*",
            "cloudToDeviceMethod":{"methodName":"m","payload":{"a":[1]}}}"#;
        let job: ScheduledJob = serde_json::from_str(text).unwrap();
        let ScheduledJobKind::InvokeMethod(method) = job.kind else {
            panic!("{job:?}")
        };
        assert_eq!(method.payload.unwrap().as_str(), r#"{"a":[1]}"#);
    }

    #[test]
    fn what_is_not_one_value_is_refused_and_not_shown() {
        for text in ["", "{", "secret", "1 2"] {
            let error = text.parse::<JsonText>().unwrap_err().to_string();
            assert!(
                error.contains("not one JSON value") && !error.contains("secret"),
                "{error}"
            );
        }
        let secret: JsonText = r#""secret""#.parse().unwrap();
        assert!(!format!("{secret:?}").contains("secret"));
        assert!(!secret.parse::<bool>().unwrap_err().to_string().contains("secret"));
    }
}

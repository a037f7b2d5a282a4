use std::fmt;

use azure_core::http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

mod amqp_condition;
mod table;

pub use table::HubErrorCode;

impl HubErrorCode {
    /// The code with this name, whatever its case; [`Other`](Self::Other) if there is none.
    pub fn from_name(name: &str) -> Self {
        Self::known_name(name)
            .or_else(|| {
                Self::ALL
                    .iter()
                    .find(|code| code.as_str().eq_ignore_ascii_case(name))
                    .cloned()
            })
            .unwrap_or_else(|| Self::Other {
                name: name.to_owned(),
                number: None,
            })
    }

    /// The code with this number, such as 404001; [`Other`](Self::Other) if there is none.
    pub fn from_number(number: u32) -> Self {
        Self::known_number(number).unwrap_or_else(|| Self::Other {
            name: number.to_string(),
            number: Some(number),
        })
    }

    /// The generic code of an HTTP status, which stands for an answer that names none: 404 gives
    /// [`GenericNotFound`](Self::GenericNotFound).
    pub fn from_status(status: StatusCode) -> Self {
        Self::from_number(u32::from(u16::from(status)) * 1000)
    }

    /// The number, such as 404001. `None` if the hub gave only a name that is not in the published list.
    pub fn number(&self) -> Option<u32> {
        match self {
            Self::Other { number, .. } => *number,
            known => known.known().map(|(number, _)| number),
        }
    }

    /// The name, such as `DeviceNotFound`. Of an unknown code it is what the hub said: a name, a number in digits, or an
    /// AMQP condition.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other { name, .. } => name,
            known => known.known_str(),
        }
    }

    /// The HTTP status that goes with the code: the first three digits of its number.
    pub fn status(&self) -> Option<StatusCode> {
        let status = u16::try_from(self.number()? / 1000).ok()?;
        (100..600).contains(&status).then(|| StatusCode::from(status))
    }

    /// Whether the same call can succeed if it is made again.
    ///
    /// An unknown code gives [`RetryAdvice::Never`]: nobody knows what a repetition would do.
    pub fn retry_advice(&self) -> RetryAdvice {
        self.known().map_or(RetryAdvice::Never, |(_, advice)| advice)
    }

    /// Whether the hub asks for less traffic: every 429, and two ways to say that a part of it is busy.
    ///
    /// Such a call is worth repeating after seconds, not after milliseconds.
    pub fn is_throttling(&self) -> bool {
        matches!(self, Self::ServerBusy | Self::ReceiveLinkOpensThrottled)
            || self.number().is_some_and(|number| number / 1000 == 429)
    }
}

/// What to do after a [`HubErrorCode`].
///
/// The clients act on the HTTP status, and on whether a call may be repeated at all; this is for decisions above
/// them, such as whether to put a job back into a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryAdvice {
    /// The same call will fail again.
    Never,
    /// The call was not carried out and may succeed later.
    Later,
    /// The outcome is unknown: repeat only what does no harm when it happens twice.
    IfRepeatable,
    /// Somebody else was faster: read again, decide again, and write with the new tag.
    Reread,
}

impl fmt::Display for HubErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// As its number, or as its name where the number is not published.
impl Serialize for HubErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.number() {
            Some(number) => serializer.serialize_u32(number),
            None => serializer.serialize_str(self.as_str()),
        }
    }
}

/// From a number or a name: the hub writes both, in different places.
impl<'de> Deserialize<'de> for HubErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrName;

        impl de::Visitor<'_> for NumberOrName {
            type Value = HubErrorCode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number or the name of an IoT Hub error code")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<HubErrorCode, E> {
                let number = u32::try_from(number).map_err(|_| E::custom("an error code has six digits"))?;
                Ok(HubErrorCode::from_number(number))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<HubErrorCode, E> {
                let number = u32::try_from(number).map_err(|_| E::custom("an error code has six digits"))?;
                Ok(HubErrorCode::from_number(number))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<HubErrorCode, E> {
                Ok(name
                    .parse()
                    .map_or_else(|_| HubErrorCode::from_name(name), HubErrorCode::from_number))
            }
        }

        deserializer.deserialize_any(NumberOrName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_number_by_name_and_by_a_name_in_other_case() {
        for code in HubErrorCode::ALL {
            let number = code.number().expect("published codes have numbers");
            assert_eq!(&HubErrorCode::from_number(number), code);
            assert_eq!(&HubErrorCode::from_name(code.as_str()), code);
            assert_eq!(&HubErrorCode::from_name(&code.as_str().to_lowercase()), code);
            assert_eq!(u32::from(u16::from(code.status().expect("a status"))), number / 1000);
        }
    }

    #[test]
    fn the_numbers_rise_and_so_are_given_once() {
        let numbers: Vec<_> = HubErrorCode::ALL.iter().filter_map(HubErrorCode::number).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(numbers.len(), 165);
    }

    /// Names, numbers and advice as the public documentation and the .NET client print them.
    #[test]
    fn codes_are_those_of_the_documentation() {
        for (number, name, advice) in [
            (400004, "ArgumentInvalid", RetryAdvice::Never),
            (401002, "IotHubUnauthorizedAccess", RetryAdvice::Never),
            (403002, "IotHubQuotaExceeded", RetryAdvice::Later),
            (403004, "DeviceMaximumQueueDepthExceeded", RetryAdvice::Later),
            (404001, "DeviceNotFound", RetryAdvice::Never),
            (404103, "DeviceNotOnline", RetryAdvice::Later),
            (409001, "DeviceAlreadyExists", RetryAdvice::Never),
            (412001, "PreconditionFailed", RetryAdvice::Reread),
            (429001, "ThrottlingException", RetryAdvice::Later),
            (500001, "ServerError", RetryAdvice::IfRepeatable),
            (504101, "GatewayTimeout", RetryAdvice::IfRepeatable),
        ] {
            let code = HubErrorCode::from_number(number);
            assert_eq!((code.as_str(), code.retry_advice()), (name, advice));
        }
    }

    #[test]
    fn what_has_not_been_met_is_kept() {
        let named = HubErrorCode::from_name("BlobStoreOnFire");
        assert_eq!(
            (named.as_str(), named.number(), named.status()),
            ("BlobStoreOnFire", None, None)
        );

        let numbered = HubErrorCode::from_number(404999);
        assert_eq!((numbered.as_str(), numbered.number()), ("404999", Some(404999)));
        assert_eq!(numbered.status(), Some(StatusCode::NotFound));
        assert_eq!(HubErrorCode::from_number(u32::MAX).status(), None);
        assert_eq!(numbered.retry_advice(), RetryAdvice::Never);
    }

    #[test]
    fn throttling_is_every_429_and_a_busy_server() {
        assert!(HubErrorCode::ThrottlingBacklogTimeout.is_throttling());
        assert!(HubErrorCode::from_number(429999).is_throttling());
        assert!(HubErrorCode::ServerBusy.is_throttling());
        assert!(!HubErrorCode::IotHubQuotaExceeded.is_throttling());
    }

    #[test]
    fn json_holds_numbers_or_names() {
        for text in ["409001", "\"DeviceAlreadyExists\"", "\"409001\"", "409001"] {
            let code: HubErrorCode = serde_json::from_str(text).unwrap();
            assert_eq!(code, HubErrorCode::DeviceAlreadyExists, "{text}");
        }
        assert_eq!(
            serde_json::to_string(&HubErrorCode::DeviceAlreadyExists).unwrap(),
            "409001"
        );
        assert!(serde_json::from_str::<HubErrorCode>("-1").is_err());
        assert!(serde_json::from_str::<HubErrorCode>("1e30").is_err());
    }
}

use std::{collections::BTreeMap, fmt};

use azure_core::{Error, error::ErrorKind};
use bytes::Bytes;
use iothub_core::{
    HubError, HubErrorCode, Result,
    amqp::{AmqpBody, AmqpMessage, AmqpValue},
};
use time::{OffsetDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description};

use crate::{Ack, Target};

/// A message from a backend to a device or module.
///
/// Body, system properties and user properties together may have 64 KB; the hub keeps up to 50 messages for a device.
/// `Debug` shows neither body nor user properties.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use iothub_service::{Ack, CloudToDeviceMessage};
/// use time::OffsetDateTime;
///
/// let message = CloudToDeviceMessage {
///     message_id: Some("door-17".to_owned()),
///     content_type: Some("application/json".to_owned()),
///     expiry_time: Some(OffsetDateTime::now_utc() + Duration::from_secs(60)),
///     ack: Ack::Full,
///     properties: [("room".to_owned(), "kitchen".to_owned())].into(),
///     ..CloudToDeviceMessage::new(r#"{"open":true}"#)
/// };
/// # let _ = message;
/// ```
#[doc(alias = "Message")]
#[doc(alias = "OutgoingMessage")]
#[derive(Clone, Default, PartialEq)]
pub struct CloudToDeviceMessage {
    /// What the device gets. May be empty.
    pub body: Bytes,
    /// Names the message in feedback, and to a device that wants to know whether it has it already. From 1 to 128
    /// characters. Without it the options of the client decide.
    pub message_id: Option<String>,
    /// Says to which message this one is an answer.
    pub correlation_id: Option<String>,
    /// Says from whom it is. The hub does not check it.
    pub user_id: Option<String>,
    /// When the hub gives up on a device that has not come for it. To the millisecond. Without it the hub's default
    /// counts, one hour unless configured.
    #[doc(alias = "ExpiryTimeUtc")]
    pub expiry_time: Option<OffsetDateTime>,
    /// Of what becomes of it the hub tells.
    pub ack: Ack,
    /// The media type of the body, such as `application/json`.
    pub content_type: Option<String>,
    /// The encoding of the body, such as `utf-8`.
    pub content_encoding: Option<String>,
    /// When the application made it. Without it the device is told nothing of that.
    #[doc(alias = "CreationTimeUtc")]
    pub creation_time: Option<OffsetDateTime>,
    /// The schema of the body, as sender and device understand it.
    pub message_schema: Option<String>,
    /// The application's own properties.
    pub properties: BTreeMap<String, String>,
}

impl CloudToDeviceMessage {
    /// A message with nothing but a body.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// The message as AMQP has it.
    pub(crate) fn into_amqp(self, target: &Target) -> Result<AmqpMessage> {
        self.check_names()?;
        let to = target.address();
        let creation_time = self.creation_time.map(iso_8601).transpose()?;
        let system = [
            (CREATION_TIME, creation_time),
            (MESSAGE_SCHEMA, self.message_schema),
            (ACK, self.ack.as_wire().map(str::to_owned)),
        ];
        let system = system.into_iter().filter_map(|(name, value)| Some((name, value?)));

        let named = [
            &self.message_id,
            &self.correlation_id,
            &self.user_id,
            &self.content_type,
            &self.content_encoding,
        ];
        let named: usize = named.into_iter().flatten().map(String::len).sum();
        let own: usize = self
            .properties
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let mut size = self.body.len() + to.len() + named + own;

        let mut application_properties = Vec::new();
        for (name, value) in system {
            size += value.len();
            application_properties.push((name.to_owned(), value.into()));
        }
        if size > MAX_SIZE {
            return Err(too_large(size, target));
        }
        application_properties.extend(self.properties.into_iter().map(|(name, value)| (name, value.into())));
        Ok(AmqpMessage {
            message_id: self.message_id.map(AmqpValue::String),
            user_id: self.user_id.map(Bytes::from),
            to: Some(to),
            correlation_id: self.correlation_id.map(AmqpValue::String),
            content_type: self.content_type,
            content_encoding: self.content_encoding,
            absolute_expiry_time: self.expiry_time,
            application_properties,
            body: AmqpBody::Data(self.body),
            ..AmqpMessage::default()
        })
    }

    fn check_names(&self) -> Result<()> {
        if let Some(id) = &self.message_id {
            let length = id.chars().count();
            if !(1..=MAX_ID).contains(&length) {
                return Err(refused(format!(
                    "a message id has 1 to {MAX_ID} characters, and this one has {length}"
                )));
            }
        }
        // The name does not come first, where the message might be cut; it may be long.
        match self.properties.keys().find(|name| RESERVED.contains(&name.as_str())) {
            Some(name) => Err(refused(format!(
                "the property `{name}` is the hub's: set the field of the message that stands for it"
            ))),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for CloudToDeviceMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudToDeviceMessage")
            .field("message_id", &self.message_id)
            .field("correlation_id", &self.correlation_id)
            .field("expiry_time", &self.expiry_time)
            .field("ack", &self.ack)
            .field("content_type", &self.content_type)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

fn refused(why: String) -> Error {
    Error::with_message(ErrorKind::DataConversion, why)
}

fn too_large(size: usize, target: &Target) -> Error {
    let message = format!("the message to {target} has {size} bytes with its properties; a hub takes {MAX_SIZE}");
    HubError::new(HubErrorCode::MessageTooLarge, message).into()
}

fn iso_8601(time: OffsetDateTime) -> Result<String> {
    time.to_offset(UtcOffset::UTC).format(ISO_8601).map_err(|error| {
        Error::with_error(
            ErrorKind::DataConversion,
            error,
            format!("{time} is not a creation time"),
        )
    })
}

const CREATION_TIME: &str = "iothub-creation-time-utc";
const MESSAGE_SCHEMA: &str = "iothub-message-schema";
const ACK: &str = "iothub-ack";
const RESERVED: [&str; 3] = [CREATION_TIME, MESSAGE_SCHEMA, ACK];

/// As .NET writes it, with seven digits for the fraction of a second.
const ISO_8601: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]Z");

/// Microsoft's quota for a cloud-to-device message: 64 KB.
const MAX_SIZE: usize = 64 * 1024;

/// What Microsoft's documentation of messages allows for an id.
const MAX_ID: usize = 128;

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn lamp() -> Target {
        Target::Device("lamp".parse().unwrap())
    }

    #[test]
    fn every_property_has_its_place() -> Result<()> {
        let message = CloudToDeviceMessage {
            message_id: Some("m".to_owned()),
            correlation_id: Some("c".to_owned()),
            user_id: Some("jürgen".to_owned()),
            expiry_time: Some(datetime!(2030-01-02 03:04:05.006 UTC)),
            ack: Ack::Negative,
            content_type: Some("application/json".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            creation_time: Some(datetime!(2029-12-31 23:59:58.123456789 +01:00)),
            message_schema: Some("door".to_owned()),
            properties: [("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())].into(),
            ..CloudToDeviceMessage::new("{}")
        };
        let text = |name: &str, value: &str| (name.to_owned(), AmqpValue::from(value));
        let expected = AmqpMessage {
            message_id: Some("m".into()),
            user_id: Some(Bytes::from_static(b"j\xc3\xbcrgen")),
            to: Some("/devices/lamp/messages/devicebound".to_owned()),
            correlation_id: Some("c".into()),
            content_type: Some("application/json".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            absolute_expiry_time: Some(datetime!(2030-01-02 03:04:05.006 UTC)),
            application_properties: vec![
                text("iothub-creation-time-utc", "2029-12-31T22:59:58.1234567Z"),
                text("iothub-message-schema", "door"),
                text("iothub-ack", "negative"),
                text("a", "1"),
                text("b", "2"),
            ],
            body: AmqpBody::Data(Bytes::from_static(b"{}")),
            ..AmqpMessage::default()
        };
        let found = message.into_amqp(&lamp())?;
        assert!(found == expected, "{:?}", found.application_properties);
        Ok(())
    }

    #[test]
    fn a_bare_message_has_a_destination_and_a_body() -> Result<()> {
        let expected = AmqpMessage {
            to: Some("/devices/lamp/messages/devicebound".to_owned()),
            body: AmqpBody::Data(Bytes::new()),
            ..AmqpMessage::default()
        };
        assert_eq!(CloudToDeviceMessage::default().into_amqp(&lamp())?, expected);
        Ok(())
    }

    #[test]
    fn all_that_counts_is_counted() {
        // 34 for the destination, and one more for the acknowledgement in a letter of its value.
        let fits = |body: usize, message: CloudToDeviceMessage| {
            let message = CloudToDeviceMessage {
                body: vec![0; body].into(),
                ..message
            };
            message.into_amqp(&lamp())
        };
        let text = |n: usize| Some("x".repeat(n));
        let bare = CloudToDeviceMessage::default();
        for (left, message) in [
            (0, bare.clone()),
            (
                8,
                CloudToDeviceMessage {
                    ack: Ack::Positive,
                    ..bare.clone()
                },
            ),
            (
                100,
                CloudToDeviceMessage {
                    message_id: text(100),
                    ..bare.clone()
                },
            ),
            (
                7,
                CloudToDeviceMessage {
                    correlation_id: text(7),
                    ..bare.clone()
                },
            ),
            (
                7,
                CloudToDeviceMessage {
                    user_id: text(7),
                    ..bare.clone()
                },
            ),
            (
                7,
                CloudToDeviceMessage {
                    content_type: text(7),
                    ..bare.clone()
                },
            ),
            (
                7,
                CloudToDeviceMessage {
                    content_encoding: text(7),
                    ..bare.clone()
                },
            ),
            (
                7,
                CloudToDeviceMessage {
                    message_schema: text(7),
                    ..bare.clone()
                },
            ),
            (
                28,
                CloudToDeviceMessage {
                    creation_time: Some(datetime!(2030-01-01 00:00 UTC)),
                    ..bare.clone()
                },
            ),
            (
                10,
                CloudToDeviceMessage {
                    properties: [("abc".to_owned(), "defghij".to_owned())].into(),
                    ..bare
                },
            ),
        ] {
            let room = 65536 - 34 - left;
            assert!(fits(room, message.clone()).is_ok(), "{message:?}");
            let error = fits(room + 1, message).unwrap_err();
            assert_eq!(
                HubError::of(&error).map(|hub| &hub.code),
                Some(&HubErrorCode::MessageTooLarge)
            );
            assert!(error.to_string().contains("65537 bytes"), "{error}");
        }
    }

    #[test]
    fn an_id_of_the_wrong_length_and_a_property_of_the_hub_are_refused() {
        let bare = CloudToDeviceMessage::default;
        for id in [String::new(), "x".repeat(129)] {
            let message = CloudToDeviceMessage {
                message_id: Some(id),
                ..bare()
            };
            let error = message.into_amqp(&lamp()).unwrap_err().to_string();
            assert!(error.contains("1 to 128 characters"), "{error}");
        }
        let longest = CloudToDeviceMessage {
            message_id: Some("ü".repeat(128)),
            ..bare()
        };
        assert!(longest.into_amqp(&lamp()).is_ok());
        for name in ["iothub-ack", "iothub-creation-time-utc", "iothub-message-schema"] {
            let properties = [(name.to_owned(), "full".to_owned())].into();
            let error = CloudToDeviceMessage { properties, ..bare() }
                .into_amqp(&lamp())
                .unwrap_err()
                .to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_content() {
        let message = CloudToDeviceMessage {
            properties: [("pin".to_owned(), "1234".to_owned())].into(),
            ..CloudToDeviceMessage::new("secret")
        };
        let shown = format!("{message:?}");
        assert!(
            !shown.contains("secret") && !shown.contains("1234") && !shown.contains("pin"),
            "{shown}"
        );
    }
}

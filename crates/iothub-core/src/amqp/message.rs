use bytes::Bytes;
use time::OffsetDateTime;

use super::AmqpValue;

/// A message: the sections and properties that a hub reads or writes.
///
/// Its `Debug` output holds no body and no property values, because a put-token request carries a token in its body.
#[derive(Clone, Default, PartialEq)]
pub struct AmqpMessage {
    /// `properties.message-id`: a string, ulong, uuid or binary.
    pub message_id: Option<AmqpValue>,
    /// `properties.user-id`
    pub user_id: Option<Bytes>,
    /// `properties.to`
    pub to: Option<String>,
    /// `properties.subject`
    pub subject: Option<String>,
    /// `properties.reply-to`
    pub reply_to: Option<String>,
    /// `properties.correlation-id`: a string, ulong, uuid or binary.
    pub correlation_id: Option<AmqpValue>,
    /// `properties.content-type`
    pub content_type: Option<String>,
    /// `properties.content-encoding`
    pub content_encoding: Option<String>,
    /// `properties.absolute-expiry-time`
    pub absolute_expiry_time: Option<OffsetDateTime>,
    /// `properties.creation-time`
    pub creation_time: Option<OffsetDateTime>,
    /// The message annotations; keys are symbols.
    pub message_annotations: Vec<(String, AmqpValue)>,
    /// The application properties; keys are strings.
    pub application_properties: Vec<(String, AmqpValue)>,
    /// The body.
    pub body: AmqpBody,
}

/// The body of a message.
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub enum AmqpBody {
    /// No body section at all.
    #[default]
    Empty,
    /// One data section.
    Data(Bytes),
    /// One amqp-value section.
    Value(AmqpValue),
}

impl AmqpMessage {
    /// The application property of this name.
    pub fn application_property(&self, name: &str) -> Option<&AmqpValue> {
        self.application_properties
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The message annotation of this name.
    pub fn message_annotation(&self, name: &str) -> Option<&AmqpValue> {
        self.message_annotations
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }
}

impl std::fmt::Debug for AmqpMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AmqpMessage")
            .field("message_id", &self.message_id)
            .field("to", &self.to)
            .field("correlation_id", &self.correlation_id)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for AmqpBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::Value(_) => f.write_str("Value(..)"),
        }
    }
}

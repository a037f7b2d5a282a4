use bytes::Bytes;
use time::OffsetDateTime;

/// A cloud-to-device message with everything its sender put on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct C2dMessage {
    /// The payload.
    pub body: Bytes,
    /// The sender's id for the message, which feedback refers to.
    pub message_id: Option<String>,
    /// What the message answers, as the sender and the device agreed.
    pub correlation_id: Option<String>,
    /// Who sent it, as the sender says.
    pub user_id: Option<Bytes>,
    /// The address the message was sent to, as it came.
    pub to: Option<String>,
    /// When the message is no longer worth delivering. Without it the hub's default of one hour holds.
    pub expiry: Option<OffsetDateTime>,
    /// Which outcomes the sender wants to hear of.
    pub ack: Ack,
    /// The media type of the body.
    pub content_type: Option<String>,
    /// The encoding of the body.
    pub content_encoding: Option<String>,
    /// When the message was made, as the sender spelt it.
    pub creation_time: Option<String>,
    /// The schema of the body, as the sender calls it.
    pub message_schema: Option<String>,
    /// What else the sender knows about the message, in the order it came.
    pub properties: Vec<(String, String)>,
}

/// Which outcomes of a message its sender wants feedback on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// None.
    #[default]
    None,
    /// That the device completed it.
    Positive,
    /// That it expired, was rejected or was delivered too often.
    Negative,
    /// Any.
    Full,
}

impl Ack {
    /// What clients call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }
}

impl C2dMessage {
    /// What counts against the limit of a message: body, values of system properties, names and values of the others.
    pub(crate) fn size(&self) -> usize {
        let system = [
            &self.message_id,
            &self.correlation_id,
            &self.to,
            &self.content_type,
            &self.content_encoding,
            &self.creation_time,
            &self.message_schema,
        ];
        let system: usize = system.into_iter().flatten().map(String::len).sum();
        let properties: usize = self
            .properties
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.body.len() + self.user_id.as_ref().map_or(0, Bytes::len) + system + properties
    }
}

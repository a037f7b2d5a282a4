use bytes::Bytes;
use time::OffsetDateTime;

/// A device-to-cloud message with everything its sender put on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct D2cMessage {
    /// The payload.
    pub body: Bytes,
    /// The device's id for the message.
    pub message_id: Option<String>,
    /// What the message answers.
    pub correlation_id: Option<String>,
    /// Who sent it, as the device says.
    pub user_id: Option<Bytes>,
    /// The address it was sent to, as it came.
    pub to: Option<String>,
    /// When the message is no longer worth reading.
    pub expiry: Option<OffsetDateTime>,
    /// The media type of the body.
    pub content_type: Option<String>,
    /// The encoding of the body.
    pub content_encoding: Option<String>,
    /// When the message was made, as the device spelt it.
    pub creation_time: Option<String>,
    /// The schema of the body, as the device calls it.
    pub message_schema: Option<String>,
    /// The interface of Plug and Play that the message belongs to, as older devices say.
    pub interface_id: Option<String>,
    /// The component of Plug and Play that the message belongs to.
    pub component: Option<String>,
    /// What else the device says about the message, in the order it came.
    pub properties: Vec<(String, String)>,
}

impl D2cMessage {
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
            &self.interface_id,
            &self.component,
        ];
        let system: usize = system.into_iter().flatten().map(String::len).sum();
        let properties = self.properties.iter();
        let properties: usize = properties.map(|(name, value)| name.len() + value.len()).sum();
        self.body.len() + self.user_id.as_ref().map_or(0, Bytes::len) + system + properties
    }
}

impl<B: Into<Bytes>> From<B> for D2cMessage {
    fn from(body: B) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }
}

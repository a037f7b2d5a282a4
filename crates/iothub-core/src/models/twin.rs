use std::{collections::BTreeMap, fmt};

use azure_core::{Result, http::Etag, time::OffsetDateTime};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned},
    ser,
};
use serde_json::value::RawValue;

use super::{
    AuthenticationType, ConfigurationInfo, ConnectionState, DeviceCapabilities, DeviceStatus, TwinContent,
    X509Thumbprints,
};

mod key;
mod member;
mod members;
mod metadata;
mod page;
mod properties;
mod read;
mod section;
mod text;

pub use metadata::TwinMetadata;
pub use page::{TwinFormat, TwinPage};
pub use section::TwinSection;

use members::Members;
use text::Text;

/// What the hub keeps about a device or module besides its identity: tags, desired and reported properties.
///
/// Reading a twin does not parse its sections. [`tags`](Self::tags), [`desired`](Self::desired) and
/// [`reported`](Self::reported) are the hub's own JSON text, byte for byte, and parsed where you ask for a part of them.
///
/// The text of a twin is a slice of the answer that brought it. A twin from a query therefore keeps its whole page in memory
/// (some 100 twins); [`detached`](Self::detached) makes one that stands alone.
///
/// # Examples
///
/// ```
/// use iothub_core::models::Twin;
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Fan {
///     speed: u8,
/// }
///
/// let twin = Twin::from_json(
///     r#"{"deviceId": "lamp", "version": 3, "properties": {"desired": {"fan": {"speed": 2}, "$version": 7}}}"#,
/// )?;
/// let fan: Option<Fan> = twin.desired().get("fan")?;
/// assert_eq!(fan.map(|fan| fan.speed), Some(2));
/// assert_eq!(twin.desired().get::<u8>("fan.speed")?, Some(2));
/// assert_eq!(twin.desired().version(), Some(7));
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Twin {
    /// The whole object as the hub wrote it; what `Text` says is a place in it.
    text: Bytes,
    device_id: Text,
    members: Members,
}

impl Twin {
    /// Reads the JSON of one twin.
    ///
    /// Bytes are not copied; anything else that becomes [`Bytes`] is taken over.
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if this is not the JSON of a twin.
    pub fn from_json(json: impl Into<Bytes>) -> Result<Self> {
        read::twin(&json.into())
    }

    /// The device that the twin belongs to, or whose module it belongs to.
    pub fn device_id(&self) -> &str {
        self.device_id.within(&self.text)
    }

    /// The module that the twin belongs to. `None` for the twin of a device.
    pub fn module_id(&self) -> Option<&str> {
        self.optional(&self.members.module_id)
    }

    /// The Plug and Play model that the device has named, a digital twin model identifier (`dtmi:…`).
    pub fn model_id(&self) -> Option<&str> {
        self.optional(&self.members.model_id)
    }

    /// Which version of tags and desired properties this is; a conditional update compares it.
    ///
    /// Neither reported properties nor the identity move it.
    pub fn etag(&self) -> Option<Etag> {
        self.optional(&self.members.etag).map(Etag::from)
    }

    /// How often tags and desired properties have been written. `None` in a twin without the hub's bookkeeping.
    pub fn version(&self) -> Option<i64> {
        self.members.version
    }

    /// The tag of the identity, [`Device::etag`](super::Device::etag).
    pub fn device_etag(&self) -> Option<Etag> {
        self.optional(&self.members.device_etag).map(Etag::from)
    }

    /// Whether the device may connect.
    pub fn status(&self) -> &DeviceStatus {
        &self.members.status
    }

    /// Why the status is as it is.
    pub fn status_reason(&self) -> Option<&str> {
        self.optional(&self.members.status_reason)
    }

    /// When the status last changed.
    #[doc(alias = "statusUpdateTime")]
    pub fn status_updated_time(&self) -> Option<OffsetDateTime> {
        self.members.status_updated_time
    }

    /// Whether the device or module is connected; see
    /// [`Device::connection_state`](super::Device::connection_state) for what that is worth.
    pub fn connection_state(&self) -> &ConnectionState {
        &self.members.connection_state
    }

    /// When the device last connected, sent or received a message.
    pub fn last_activity_time(&self) -> Option<OffsetDateTime> {
        self.members.last_activity_time
    }

    /// How many cloud-to-device messages wait for the device, 50 at most.
    pub fn cloud_to_device_message_count(&self) -> u32 {
        self.members.cloud_to_device_message_count
    }

    /// How the device proves who it is.
    pub fn authentication_type(&self) -> Option<&AuthenticationType> {
        self.members.authentication_type.as_ref()
    }

    /// The certificates that the device may show; empty unless it is known by thumbprints.
    pub fn x509_thumbprints(&self) -> &X509Thumbprints {
        &self.members.x509_thumbprints
    }

    /// What kind of device it is.
    pub fn capabilities(&self) -> &DeviceCapabilities {
        &self.members.capabilities
    }

    /// See [`Device::device_scope`](super::Device::device_scope).
    pub fn device_scope(&self) -> Option<&str> {
        self.optional(&self.members.device_scope)
    }

    /// See [`Device::parent_scopes`](super::Device::parent_scopes).
    pub fn parent_scopes(&self) -> impl Iterator<Item = &str> {
        self.members.parent_scopes.iter().map(|scope| scope.within(&self.text))
    }

    /// The configurations that have to do with the device, by id.
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if the hub's text is not what it should be.
    pub fn configurations(&self) -> Result<BTreeMap<String, ConfigurationInfo>> {
        self.section(&self.members.configurations, "configurations").parse()
    }

    /// Your notes on the device, which the device does not see. Up to 8 KB.
    pub fn tags(&self) -> TwinSection<'_> {
        self.section(&self.members.tags, "tags")
    }

    /// What you want of the device, and what it gets to know. Up to 32 KB.
    pub fn desired(&self) -> TwinSection<'_> {
        self.section(&self.members.desired, "desired properties")
    }

    /// What the device has told. Up to 32 KB; only the device writes it.
    pub fn reported(&self) -> TwinSection<'_> {
        self.section(&self.members.reported, "reported properties")
    }

    /// What can be written of the twin, without the hub's bookkeeping: to change it and replace the twin with it.
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if a section is not a JSON object.
    pub fn content(&self) -> Result<TwinContent> {
        Ok(TwinContent {
            tags: self.tags().to_map()?,
            desired: self.desired().to_map()?,
        })
    }

    /// A member of the twin that has no method of its own, such as what newer hubs add. `None` if there is none.
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if the member is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        TwinSection::new(self.as_str(), "twin", self.device_id()).get(name)
    }

    /// The twin's JSON as the hub wrote it.
    pub fn as_str(&self) -> &str {
        text::utf8(&self.text)
    }

    /// The same twin with a text of its own, so that it does not keep the answer that brought it in memory.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            text: Bytes::copy_from_slice(&self.text),
            ..self.clone()
        }
    }

    fn optional<'a>(&'a self, text: &'a Option<Text>) -> Option<&'a str> {
        text.as_ref().map(|text| text.within(&self.text))
    }

    fn section<'a>(&'a self, text: &'a Option<Text>, name: &'static str) -> TwinSection<'a> {
        TwinSection::new(self.optional(text).unwrap_or("{}"), name, self.device_id())
    }
}

/// Two twins are equal if the hub wrote the same text.
impl PartialEq for Twin {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Shows which twin it is. What tags and properties hold belongs to the application.
impl fmt::Debug for Twin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Twin")
            .field("device_id", &self.device_id())
            .field("module_id", &self.module_id())
            .field("etag", &self.etag())
            .field("version", &self.members.version)
            .field("status", &self.members.status)
            .field("connection_state", &self.members.connection_state)
            .finish_non_exhaustive()
    }
}

/// Writes the hub's own text, so only into JSON.
impl Serialize for Twin {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(self.as_str()).map_err(ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Reads a copy, from JSON only. [`Twin::from_json`] and [`TwinPage::from_json`] do without the copy.
impl<'de> Deserialize<'de> for Twin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::from_json(String::from(Box::<str>::from(raw))).map_err(de::Error::custom)
    }
}

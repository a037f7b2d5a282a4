use azure_core::{
    error::ErrorKind,
    fmt::SafeDebug,
    http::{
        Etag, RawResponse,
        headers::{ETAG, HeaderName},
    },
};
use iothub_core::{Error, Result, models::JsonText};
use serde::de::DeserializeOwned;

/// A digital twin as the hub wrote it.
///
/// # Examples
///
/// ```no_run
/// use iothub_digitaltwin::{DigitalTwin, models::{ComponentMetadata, DigitalTwinMetadata}};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Controller {
///     #[serde(rename = "serialNumber")]
///     serial_number: Option<String>,
///     thermostat1: Option<Thermostat>,
///     #[serde(rename = "$metadata")]
///     metadata: DigitalTwinMetadata,
/// }
///
/// #[derive(Deserialize)]
/// struct Thermostat {
///     #[serde(rename = "targetTemperature")]
///     target_temperature: Option<f64>,
///     #[serde(rename = "$metadata")]
///     metadata: ComponentMetadata,
/// }
///
/// # fn example(twin: DigitalTwin) -> iothub_core::Result<()> {
/// let controller: Controller = twin.parse()?;
/// println!("{:?} follows {:?}", controller.serial_number, controller.metadata.model_id);
/// if let Some(thermostat) = controller.thermostat1 {
///     let target = thermostat.metadata.properties.get("targetTemperature");
///     let wanted = target.and_then(|property| property.desired_value.as_ref());
///     println!("it aims at {:?} and should at {wanted:?}", thermostat.target_temperature);
/// }
/// # Ok(()) }
/// ```
#[doc(alias = "DigitalTwinGetHeaders")]
#[derive(Clone, PartialEq, SafeDebug)]
#[safe(true)]
#[non_exhaustive]
pub struct DigitalTwin {
    /// The whole document, byte for byte.
    #[safe(false)]
    pub text: JsonText,
    /// Which version it is; a conditional update compares it. It is the tag of the device's twin, and reported properties
    /// do not move it.
    pub etag: Option<Etag>,
}

/// A digital twin that the hub has accepted changes to.
#[doc(alias = "DigitalTwinUpdateHeaders")]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpdatedDigitalTwin {
    /// Which version it is now.
    pub etag: Option<Etag>,
    /// Where the hub has it.
    pub location: Option<String>,
}

impl DigitalTwin {
    /// The text of the document.
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// The document as a type of yours, or a [`BasicDigitalTwin`](crate::models::BasicDigitalTwin).
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if it is not one.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        self.text.parse()
    }

    pub(crate) fn read(response: &RawResponse) -> Result<Self> {
        let text = std::str::from_utf8(response.body()).map_err(|error| {
            let what = "the hub's answer is not UTF-8, so it is no digital twin";
            Error::with_error(ErrorKind::DataConversion, error, what)
        })?;
        Ok(Self {
            text: text.parse()?,
            etag: etag(response),
        })
    }
}

impl UpdatedDigitalTwin {
    pub(crate) fn read(response: &RawResponse) -> Self {
        Self {
            etag: etag(response),
            location: response.headers().get_optional_string(&LOCATION),
        }
    }
}

fn etag(response: &RawResponse) -> Option<Etag> {
    response.headers().get_optional_string(&ETAG).map(Etag::from)
}

const LOCATION: HeaderName = HeaderName::from_static("location");

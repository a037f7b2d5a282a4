use azure_core::{
    error::ErrorKind,
    fmt::SafeDebug,
    http::{RawResponse, headers::HeaderName},
};
use iothub_core::{CallFacts, Error, Result, models::JsonText};

/// What a device answered to a command.
#[derive(Clone, PartialEq, SafeDebug)]
#[safe(true)]
#[doc(alias = "DigitalTwinCommandResponse")]
#[doc(alias = "DigitalTwinInvokeCommandHeaders")]
#[non_exhaustive]
pub struct CommandResponse {
    /// The device's own status; 200 by habit when it went well. The hub does not look at it.
    pub status: i32,
    /// What the command returned, byte for byte. `None` for `null`, too.
    #[safe(false)]
    pub payload: Option<JsonText>,
    /// The hub's id for the request, for Microsoft's support.
    pub request_id: Option<String>,
}

impl CommandResponse {
    pub(crate) fn read(response: &RawResponse) -> Result<Self> {
        let header = |name: &HeaderName| response.headers().get_optional_string(name);
        let status = header(&STATUS).ok_or_else(|| unreadable("it has no status of the device"))?;
        let status = status
            .trim()
            .parse()
            .map_err(|_| unreadable("the status of the device is not a number"))?;
        let body = std::str::from_utf8(response.body()).map_err(|_| unreadable("the payload is not UTF-8"))?;
        let payload = match body.trim() {
            "" | "null" => None,
            json => Some(json.parse().map_err(|_| unreadable("the payload is not JSON"))?),
        };
        Ok(Self {
            status,
            payload,
            request_id: header(&REQUEST_ID),
        })
    }
}

/// The command has run all the same.
fn unreadable(why: &str) -> Error {
    let text = format!("the answer to the command cannot be read: {why}");
    let facts = CallFacts {
        maybe_applied: true,
        ..CallFacts::default()
    };
    facts.attach(Error::with_message(ErrorKind::DataConversion, text))
}

const STATUS: HeaderName = HeaderName::from_static("x-ms-command-statuscode");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

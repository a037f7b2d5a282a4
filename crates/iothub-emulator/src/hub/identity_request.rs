//! What a client wants an identity to be, read from its JSON.

use iothub_core::HubErrorCode;
use serde_json::{Map, Value};

use super::{
    Failure,
    authentication::{Authentication, Key},
};

/// The writable part of a device identity. Everything else that clients send is the hub's and is ignored.
#[derive(Debug)]
pub(crate) struct DeviceRequest {
    pub(crate) disabled: bool,
    pub(crate) status_reason: Option<Box<str>>,
    pub(crate) authentication: Authentication,
    pub(crate) edge: bool,
    pub(crate) scope: Option<Box<str>>,
    pub(crate) parents: Vec<Box<str>>,
}

/// The writable part of a module identity.
#[derive(Debug)]
pub(crate) struct ModuleRequest {
    pub(crate) managed_by: Option<Box<str>>,
    pub(crate) authentication: Authentication,
}

/// An object in a request, whose members are read by name and type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Members<'a>(pub(crate) &'a Map<String, Value>);

impl DeviceRequest {
    pub(crate) fn parse(id: &str, body: &[u8]) -> Result<Self, Failure> {
        let body = object(body)?;
        Self::read(id, Members(&body))
    }

    pub(crate) fn read(id: &str, members: Members<'_>) -> Result<Self, Failure> {
        members.must_name("deviceId", id)?;
        let authentication = authentication(members)?;
        if authentication == Authentication::None {
            return Err(Failure::argument(
                "DeviceAuthenticationTypeIsMissing: a device has to prove who it is",
            ));
        }
        Ok(Self {
            disabled: disabled(members)?,
            status_reason: status_reason(members)?,
            authentication,
            edge: match members.object("capabilities")? {
                Some(capabilities) => capabilities.boolean("iotEdge")?.unwrap_or(false),
                None => false,
            },
            scope: members.text("deviceScope")?.map(Into::into),
            parents: members.texts("parentScopes")?,
        })
    }
}

impl ModuleRequest {
    pub(crate) fn parse(device: &str, id: &str, body: &[u8]) -> Result<Self, Failure> {
        let body = object(body)?;
        let members = Members(&body);
        members.must_name("deviceId", device)?;
        members.must_name("moduleId", id)?;
        Self::read(members)
    }

    pub(crate) fn read(members: Members<'_>) -> Result<Self, Failure> {
        let authentication = match authentication(members)? {
            // The hub gives every module but the edge runtime's own a key when it asks for nothing.
            Authentication::None => Authentication::generated()?,
            other => other,
        };
        Ok(Self {
            managed_by: members.text("managedBy")?.map(Into::into),
            authentication,
        })
    }
}

impl<'a> Members<'a> {
    /// A member that is there and not null.
    pub(crate) fn value(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text that is there and not empty.
    pub(crate) fn text(self, name: &str) -> Result<Option<&'a str>, Failure> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(wrong_type(name, "a string")),
        }
    }

    pub(crate) fn boolean(self, name: &str) -> Result<Option<bool>, Failure> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(wrong_type(name, "true or false")),
        }
    }

    pub(crate) fn object(self, name: &str) -> Result<Option<Self>, Failure> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Self(members))),
            Some(_) => Err(wrong_type(name, "an object")),
        }
    }

    fn texts(self, name: &str) -> Result<Vec<Box<str>>, Failure> {
        match self.value(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| {
                    item.as_str()
                        .map(Into::into)
                        .ok_or_else(|| wrong_type(name, "an array of strings"))
                })
                .collect(),
            Some(_) => Err(wrong_type(name, "an array of strings")),
        }
    }

    /// Refuses a body that is about something else than the path.
    fn must_name(self, name: &str, id: &str) -> Result<(), Failure> {
        match self.text(name)? {
            Some(other) if other != id => Err(Failure::argument(format!(
                "{name} is {other:?} in the body and {id:?} in the path"
            ))),
            _ => Ok(()),
        }
    }
}

/// The object that a request has to consist of.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Failure::new(HubErrorCode::ArgumentNull, "the body is empty"));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(Value::Null) => Err(Failure::new(HubErrorCode::ArgumentNull, "the body is null")),
        Ok(_) => Err(Failure::new(
            HubErrorCode::IotHubFormatError,
            "the body is not a JSON object",
        )),
        Err(error) => Err(Failure::new(
            HubErrorCode::IotHubFormatError,
            format!("the body is not JSON: {error}"),
        )),
    }
}

fn disabled(members: Members<'_>) -> Result<bool, Failure> {
    match members.text("status")? {
        None => Ok(false),
        Some(status) if status.eq_ignore_ascii_case("enabled") => Ok(false),
        Some(status) if status.eq_ignore_ascii_case("disabled") => Ok(true),
        Some(status) => Err(Failure::argument(format!(
            "status {status:?} is neither enabled nor disabled"
        ))),
    }
}

fn status_reason(members: Members<'_>) -> Result<Option<Box<str>>, Failure> {
    let reason = members.text("statusReason")?;
    if reason.is_some_and(|reason| reason.chars().count() > 128) {
        return Err(Failure::argument("statusReason has more than 128 characters"));
    }
    Ok(reason.map(Into::into))
}

/// No authentication, or keys that are empty, means new keys.
fn authentication(members: Members<'_>) -> Result<Authentication, Failure> {
    let Some(authentication) = members.object("authentication")? else {
        return Authentication::generated();
    };
    let thumbprints = thumbprints(authentication)?;
    let kind = authentication.text("type")?.map(str::to_ascii_lowercase);
    match kind.as_deref() {
        None if thumbprints.iter().any(Option::is_some) => Ok(Authentication::SelfSigned(Box::new(thumbprints))),
        None | Some("sas") => symmetric_key(authentication),
        Some("selfsigned") => Ok(Authentication::SelfSigned(Box::new(thumbprints))),
        Some("certificateauthority") => Ok(Authentication::Authority),
        Some("none") => Ok(Authentication::None),
        Some(other) => Err(Failure::argument(format!(
            "authentication type {other:?} is none of sas, selfSigned and certificateAuthority"
        ))),
    }
}

fn symmetric_key(authentication: Members<'_>) -> Result<Authentication, Failure> {
    let (primary, secondary) = match authentication.object("symmetricKey")? {
        None => (None, None),
        Some(key) => (key.text("primaryKey")?, key.text("secondaryKey")?),
    };
    match (primary, secondary) {
        (None, None) => Authentication::generated(),
        (Some(primary), Some(secondary)) => Ok(Authentication::Sas(Box::new([
            Key::parse(primary)?,
            Key::parse(secondary)?,
        ]))),
        _ => Err(Failure::argument(
            "primaryKey and secondaryKey come together or not at all",
        )),
    }
}

fn thumbprints(authentication: Members<'_>) -> Result<[Option<Box<str>>; 2], Failure> {
    let Some(pair) = authentication.object("x509Thumbprint")? else {
        return Ok([None, None]);
    };
    let [primary, secondary] = [pair.text("primaryThumbprint")?, pair.text("secondaryThumbprint")?];
    for thumbprint in [primary, secondary].into_iter().flatten() {
        let hex = thumbprint.bytes().all(|b| b.is_ascii_hexdigit());
        if !hex || !matches!(thumbprint.len(), 40 | 64) {
            return Err(Failure::argument(
                "a thumbprint is 40 or 64 hexadecimal digits without separators",
            ));
        }
    }
    if let (Some(primary), Some(secondary)) = (primary, secondary)
        && primary.len() != secondary.len()
    {
        return Err(Failure::argument("both thumbprints have 40 digits, or both have 64"));
    }
    Ok([primary.map(Into::into), secondary.map(Into::into)])
}

fn wrong_type(name: &str, expected: &str) -> Failure {
    Failure::new(HubErrorCode::IotHubFormatError, format!("{name} has to be {expected}"))
}

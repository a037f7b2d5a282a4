use std::fmt;

use azure_core::credentials::Secret;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::rand::{SecureRandom, SystemRandom};

use super::Failure;

/// How a device or module proves who it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Authentication {
    /// By a signature with either of two keys.
    Sas(Box<[Key; 2]>),
    /// By a certificate with either of two thumbprints.
    SelfSigned(Box<[Option<Box<str>>; 2]>),
    /// By a certificate of an authority that the hub trusts.
    Authority,
    /// Not at all: the modules that belong to the edge runtime.
    None,
}

/// The key of a device: 16 to 64 bytes.
#[derive(Clone, PartialEq)]
pub(crate) struct Key(Box<[u8]>);

impl Authentication {
    /// Two keys that nobody has seen before.
    pub(crate) fn generated() -> Result<Self, Failure> {
        Ok(Self::Sas(Box::new([Key::generated()?, Key::generated()?])))
    }

    /// The kind as the registry and twins name it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Sas(_) => "sas",
            Self::SelfSigned(_) => "selfSigned",
            Self::Authority => "certificateAuthority",
            Self::None => "none",
        }
    }

    /// The kind that has this name.
    pub(crate) fn kind_named(name: &str) -> Option<&'static str> {
        let kinds = ["sas", "selfSigned", "certificateAuthority", "none"];
        kinds.into_iter().find(|kind| *kind == name)
    }

    /// Primary and secondary thumbprint, as they were given.
    pub(crate) fn thumbprints(&self) -> [Option<&str>; 2] {
        match self {
            Self::SelfSigned(thumbprints) => thumbprints.each_ref().map(Option::as_deref),
            _ => [None, None],
        }
    }
}

impl Key {
    pub(crate) fn generated() -> Result<Self, Failure> {
        let mut bytes = vec![0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| {
            let text = "the system has no random numbers for a key";
            Failure::new(iothub_core::HubErrorCode::ServerError, text)
        })?;
        Ok(Self(bytes.into()))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = || Failure::argument("a symmetric key is the base64 of 16 to 64 bytes");
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| wrong())?;
        if !(16..=64).contains(&bytes.len()) {
            return Err(wrong());
        }
        Ok(Self(bytes.into()))
    }

    pub(crate) fn given_or_generated(given: &Option<Secret>) -> Result<Self, Failure> {
        match given {
            Some(text) => Self::parse(text.secret()),
            None => Self::generated(),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

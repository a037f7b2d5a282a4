use std::{
    fmt,
    str::FromStr,
    sync::{Arc, PoisonError, RwLock},
};

use azure_core::{Error, Result, credentials::Secret, error::ErrorKind, time::OffsetDateTime};
use iothub_core::amqp::{CbsToken, CbsTokenKind};

use crate::{clock::Clock, credential_error::CredentialError};

/// A shared access signature that was signed elsewhere: `SharedAccessSignature sr=…&sig=…&se=…&skn=…`.
///
/// Nobody can renew it but who signed it. Until `se` it is sent as it is; from then on every call fails with
/// [`CredentialError::Expired`] before anything is sent. [`update`](Self::update) replaces it in place: clones share one
/// signature, so that the clients made with it go on with the new one.
///
/// # Examples
///
/// ```
/// use iothub_auth::SharedAccessSignature;
///
/// let signature: SharedAccessSignature =
///     "SharedAccessSignature sr=hub.azure-devices.net&sig=c2lnbmF0dXJl&se=1700000000&skn=service".parse()?;
/// assert_eq!(signature.expires_on().unix_timestamp(), 1_700_000_000);
///
/// let in_a_client = signature.clone();
/// signature.update("SharedAccessSignature sr=hub.azure-devices.net&sig=bmV3ZXI%3D&se=1700003600&skn=service".parse()?);
/// assert_eq!(in_a_client.expires_on().unix_timestamp(), 1_700_003_600);
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "AzureSasCredential")]
pub struct SharedAccessSignature {
    current: Arc<RwLock<Signature>>,
    clock: Clock,
}

/// What one signature says; never changed, only replaced.
#[derive(Clone)]
struct Signature {
    text: Secret,
    expires_on: OffsetDateTime,
}

impl SharedAccessSignature {
    pub(crate) fn signed(text: String, expires_on: OffsetDateTime) -> Self {
        let text = Secret::new(text);
        Self {
            current: Arc::new(RwLock::new(Signature { text, expires_on })),
            clock: Clock::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Replaces the signature here and in every clone.
    pub fn update(&self, new: Self) {
        let new = new.current();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// When the hub stops to accept the signature: its `se`.
    pub fn expires_on(&self) -> OffsetDateTime {
        self.current().expires_on
    }

    /// The whole text, `SharedAccessSignature sr=…`. Whoever has it acts as its policy until it expires.
    pub fn secret(&self) -> Secret {
        self.current().text
    }

    pub(crate) fn token(&self) -> Result<CbsToken> {
        let Signature { text, expires_on } = self.current();
        if expires_on <= self.clock.now() {
            return Err(CredentialError::Expired { expired_on: expires_on }.into());
        }
        Ok(CbsToken {
            kind: CbsTokenKind::Sas,
            secret: text,
            expires_on,
        })
    }

    fn current(&self) -> Signature {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl FromStr for SharedAccessSignature {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fields = text.strip_prefix("SharedAccessSignature ").ok_or_else(|| {
            refused("it does not begin with the word `SharedAccessSignature` and one space, as in `SharedAccessSignature sr=…&sig=…&se=…`")
        })?;
        if !fields.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(refused(
                "it has spaces, line ends or letters outside of ASCII, which are percent-encoded",
            ));
        }
        let field = |name: &str| {
            let mut values = fields
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value);
            match (values.next(), values.next()) {
                (Some(value), None) if !value.is_empty() => Ok(value),
                (Some(_), Some(_)) => Err(refused(&format!("`{name}` is there twice"))),
                _ => Err(refused(&format!("`{name}` is missing or empty"))),
            }
        };
        field("sr")?;
        field("sig")?;
        let expires_on = field("se")?
            .parse()
            .ok()
            .and_then(|seconds: u32| OffsetDateTime::from_unix_timestamp(seconds.into()).ok())
            .ok_or_else(|| refused("`se` is not a count of seconds since 1970, as in se=1700000000"))?;
        Ok(Self::signed(text.to_owned(), expires_on))
    }
}

impl fmt::Debug for SharedAccessSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedAccessSignature")
            .field("expires_on", &self.expires_on())
            .finish_non_exhaustive()
    }
}

/// The text itself stays out of the message: it may be a key that was pasted in the wrong place.
fn refused(why: &str) -> Error {
    Error::with_message_fn(ErrorKind::DataConversion, || {
        format!("this is not a shared access signature: {why}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "SharedAccessSignature sr=hub.net&sig=c2ln%3D&se=1700000000&skn=service";

    #[test]
    fn what_is_not_a_signature_is_refused_without_being_shown() {
        for (text, expected) in [
            ("", "does not begin"),
            ("canary", "does not begin"),
            ("SharedAccessSignature", "does not begin"),
            ("SharedAccessSignature  sr=canary&sig=canary&se=1", "spaces"),
            ("SharedAccessSignature sr=canary&sig=canary&se=1\r\nX: 1", "spaces"),
            ("SharedAccessSignature sig=canary&se=1", "`sr` is missing"),
            ("SharedAccessSignature sr=canary&se=1", "`sig` is missing"),
            ("SharedAccessSignature sr=canary&sig=&se=1", "`sig` is missing"),
            ("SharedAccessSignature sr=canary&sig=canary", "`se` is missing"),
            ("SharedAccessSignature sr=canary&sig=canary&se=soon", "`se` is not"),
            ("SharedAccessSignature sr=canary&sig=canary&se=-1", "`se` is not"),
            (
                "SharedAccessSignature sr=canary&sig=canary&se=99999999999999999999",
                "`se` is not",
            ),
            (
                "SharedAccessSignature sr=canary&sig=canary&se=1&se=2",
                "`se` is there twice",
            ),
        ] {
            let error = text.parse::<SharedAccessSignature>().unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains(expected), "{text}: {said}");
            assert!(!said.contains("canary"), "{said}");
        }
    }

    #[test]
    fn the_text_is_sent_as_it_was_given() {
        let signature: SharedAccessSignature = GOOD.parse().unwrap();
        assert_eq!(signature.secret().secret(), GOOD);
    }

    #[test]
    fn from_se_on_it_is_an_error_until_it_is_replaced() {
        let expires_on = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let signature: SharedAccessSignature = GOOD.parse().unwrap();
        let signature = signature.with_clock(Clock::showing(move || expires_on));
        let in_a_client = signature.clone();

        let error = in_a_client.token().unwrap_err();
        assert_eq!(
            CredentialError::of(&error),
            Some(&CredentialError::Expired { expired_on: expires_on })
        );

        signature.update(GOOD.replace("1700000000", "1700000001").parse().unwrap());
        assert!(in_a_client.token().is_ok());
    }
}

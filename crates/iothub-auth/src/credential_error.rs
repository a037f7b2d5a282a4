use std::{error::Error as StdError, fmt};

use azure_core::{
    Error,
    error::ErrorKind,
    time::{Duration, OffsetDateTime},
};

/// Why a credential gave no token, where the reason lies on this side of the wire.
///
/// Such an error is inside the [`Error`](iothub_core::Error) that a call returns; [`of`](Self::of) finds it. What an
/// authority answered (`AADSTS…`) is not here but in the text of the error and in its
/// [`ErrorKind::HttpResponse`](azure_core::error::ErrorKind::HttpResponse).
///
/// # Examples
///
/// ```
/// use iothub_auth::{ConnectionString, CredentialError};
///
/// fn ask_for_a_new_signature(error: &iothub_core::Error) -> bool {
///     matches!(CredentialError::of(error), Some(CredentialError::Expired { .. }))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialError {
    /// The credential is not set up here, or what it would ask is not here. A chain goes on to its next link.
    Unavailable {
        /// The type that could not be used, such as `EnvironmentCredential`.
        credential: String,
        /// What is missing.
        reason: String,
    },
    /// A shared access signature from elsewhere is past its `se`. Nothing was sent; see
    /// [`SharedAccessSignature::update`](crate::SharedAccessSignature::update).
    #[doc(alias = "CredentialExpired")]
    Expired {
        /// When the hub stopped to accept it.
        expired_on: OffsetDateTime,
    },
    /// This computer's clock is more than a day behind the hub's, so that every token it signs has expired already.
    ClockSkew {
        /// How far the hub's clock is ahead.
        behind: Duration,
    },
    /// A certificate, its key or its password is not usable.
    Certificate {
        /// The file, or what stood in for one.
        source: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file with the federated token is missing or empty.
    TokenFile {
        /// Where the file should be.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An environment variable or an option has a value that cannot be used.
    Setting {
        /// The name of the variable or option.
        name: String,
        /// What is wrong, and what would have been right.
        reason: String,
    },
    /// No HTTP transport was given and the feature `hyper` is off.
    NoTransport,
}

impl CredentialError {
    /// The reason inside `error`, however deep it was wrapped.
    pub fn of(error: &Error) -> Option<&Self> {
        let mut next: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(cause) = next {
            if let Some(found) = cause.downcast_ref() {
                return Some(found);
            }
            next = cause.source();
        }
        None
    }

    pub(crate) fn unavailable(credential: &str, reason: impl Into<String>) -> Error {
        let credential = credential.to_owned();
        let reason = reason.into();
        Self::Unavailable { credential, reason }.into()
    }

    pub(crate) fn setting(name: &str, reason: impl Into<String>) -> Error {
        let name = name.to_owned();
        let reason = reason.into();
        Self::Setting { name, reason }.into()
    }
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { credential, reason } => write!(f, "{credential} is not available: {reason}"),
            Self::Expired { expired_on } => write!(
                f,
                "the shared access signature expired on {expired_on}: replace it with SharedAccessSignature::update"
            ),
            Self::ClockSkew { behind } => write!(
                f,
                "this computer's clock is {} hours behind the hub's, so that each token it signs has expired already: \
                 set the clock",
                behind.whole_hours()
            ),
            Self::Certificate { source, reason } => write!(f, "the certificate in {source} is not usable: {reason}"),
            Self::TokenFile { path, reason } => write!(f, "the federated token file `{path}` is not usable: {reason}"),
            Self::Setting { name, reason } => write!(f, "`{name}` is not usable: {reason}"),
            Self::NoTransport => f.write_str(
                "no HTTP transport for token requests: turn on the feature `hyper` of iothub-auth, or set \
                 `client_options.transport`",
            ),
        }
    }
}

impl StdError for CredentialError {}

impl From<CredentialError> for Error {
    fn from(error: CredentialError) -> Self {
        Self::new(ErrorKind::Credential, error)
    }
}

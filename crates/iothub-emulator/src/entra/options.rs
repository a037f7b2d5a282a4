use std::time::Duration;

use azure_core::{credentials::Secret, error::ErrorKind};
use iothub_core::{Error, Result};
use serde::Deserialize;

use super::Role;

/// What the token endpoint of an emulator is like.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use iothub_emulator::EntraOptions;
///
/// let options = EntraOptions { token_lifetime: Duration::from_secs(60), ..Default::default() };
/// assert_eq!(options.port, 0);
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntraOptions {
    /// The port of the token endpoint; 0, the default, takes a free one.
    pub port: u16,
    /// The port of the managed-identity endpoints, which speak plain HTTP; 0, the default, takes a free one.
    pub identity_port: u16,
    /// How long an access token holds. Without it an hour, about as long as Entra's own.
    #[serde(with = "humantime_serde")]
    pub token_lifetime: Duration,
    /// Resources besides `https://iothubs.azure.net` that tokens are given for. The hub takes tokens for them as well,
    /// as the hubs of a sovereign cloud have a resource of their own.
    pub resources: Vec<String>,
    /// Apps that are registered from the start, besides the one that every tenant is born with, which is called `app`. An
    /// entry of that name changes it.
    pub applications: Vec<ApplicationOptions>,
}

/// An app registration that is there from the start.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApplicationOptions {
    /// Its name for people.
    pub name: String,
    /// The id by which it asks for tokens. Without it, a new one.
    pub client_id: Option<String>,
    /// Its client secret. Without it, a generated one.
    pub client_secret: Option<Secret>,
    /// What it may do. Without it, everything at the hub.
    pub roles: Option<Vec<Role>>,
}

impl Default for EntraOptions {
    fn default() -> Self {
        Self {
            port: 0,
            identity_port: 0,
            token_lifetime: Duration::from_secs(3600),
            resources: Vec::new(),
            applications: Vec::new(),
        }
    }
}

impl EntraOptions {
    /// Refuses what could not work, before anything is opened.
    pub(crate) fn check(&self) -> Result<()> {
        let day = Duration::from_secs(24 * 3600);
        if self.token_lifetime < Duration::from_secs(2) || self.token_lifetime > day {
            return Err(Error::with_message(
                ErrorKind::Other,
                format!(
                    "a token_lifetime of {:?} cannot be: it is from two seconds to a day",
                    self.token_lifetime
                ),
            ));
        }
        if self.applications.iter().any(|app| app.name.is_empty()) {
            let text = "entra.applications: there is one without a name";
            return Err(Error::with_message(ErrorKind::Other, text));
        }
        Ok(())
    }
}

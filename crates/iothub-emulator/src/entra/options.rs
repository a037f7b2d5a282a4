use std::time::Duration;

use azure_core::error::ErrorKind;
use iothub_core::{Error, Result};

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
#[derive(Clone, Debug)]
pub struct EntraOptions {
    /// The port of the token endpoint; 0, the default, takes a free one.
    pub port: u16,
    /// The port of the managed-identity endpoints, which speak plain HTTP; 0, the default, takes a free one.
    pub identity_port: u16,
    /// How long an access token holds. Without it an hour, about as long as Entra's own.
    pub token_lifetime: Duration,
    /// Resources besides `https://iothubs.azure.net` that tokens are given for. The hub takes tokens for them as well,
    /// as the hubs of a sovereign cloud have a resource of their own.
    pub resources: Vec<String>,
}

impl Default for EntraOptions {
    fn default() -> Self {
        Self {
            port: 0,
            identity_port: 0,
            token_lifetime: Duration::from_secs(3600),
            resources: Vec::new(),
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
        Ok(())
    }
}

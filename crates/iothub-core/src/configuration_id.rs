use std::{fmt, str::FromStr};

use azure_core::{Error, Result, error::ErrorKind};
use serde::{Deserialize, Serialize};

/// The id of a configuration: 1 to 128 characters of `a-z 0-9` and `- + % _ * ! '`. No capital letters.
///
/// A hub answers some other ids with an internal error instead of a refusal, so they are refused here. A value of this
/// type has been checked, and is escaped wherever it becomes part of a path.
///
/// # Examples
///
/// ```
/// use iothub_core::ConfigurationId;
///
/// let slow: ConfigurationId = "slow-2".parse()?;
/// assert_eq!(slow.as_str(), "slow-2");
/// assert!("Slow".parse::<ConfigurationId>().is_err());
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ConfigurationId(String);

impl ConfigurationId {
    /// The id as the hub spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConfigurationId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ConfigurationId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-+%_*!'".contains(c);
        if text.is_empty() || text.len() > 128 || !text.chars().all(allowed) {
            let shown: String = text.chars().take(160).collect();
            return Err(Error::with_message_fn(ErrorKind::DataConversion, || {
                format!("{shown:?} is not a configuration id: 1 to 128 of a-z 0-9 - + % _ * ! '")
            }));
        }
        Ok(Self(text))
    }
}

impl PartialEq<str> for ConfigurationId {
    fn eq(&self, text: &str) -> bool {
        self.0 == text
    }
}

impl PartialEq<&str> for ConfigurationId {
    fn eq(&self, text: &&str) -> bool {
        self.0 == *text
    }
}

impl AsRef<str> for ConfigurationId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConfigurationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_the_hub_allows_is_taken() {
        let id = "az09-+%_*!'";
        assert_eq!(id.parse::<ConfigurationId>().unwrap().as_str(), id);
        assert!("x".repeat(128).parse::<ConfigurationId>().is_ok());
    }

    #[test]
    fn what_the_hub_refuses_is_named() {
        for bad in ["", "Slow", "a.b", "a/b", "a b", "ä", "a#b", &"x".repeat(129)] {
            let error = bad.parse::<ConfigurationId>().unwrap_err().to_string();
            assert!(error.contains("is not a configuration id: 1 to 128"), "{error}");
        }
    }
}

use std::{fmt, str::FromStr};

use azure_core::{Error, Result, error::ErrorKind};
use serde::{Deserialize, Serialize};

/// The id of a device: 1 to 128 characters of `A-Z a-z 0-9` and `- : . + % _ # * ? ! ( ) , = @ ; $ '`.
///
/// Case matters. A value of this type has been checked, and is escaped wherever it becomes part of a path.
///
/// # Examples
///
/// ```
/// use iothub_core::DeviceId;
///
/// let lamp: DeviceId = "lamp#1".parse()?;
/// assert_eq!(lamp.as_str(), "lamp#1");
/// assert!("hall/lamp".parse::<DeviceId>().is_err());
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct DeviceId(String);

impl DeviceId {
    /// The id as the hub spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        checked(text, "a device id")?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for DeviceId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        checked(&text, "a device id")?;
        Ok(Self(text))
    }
}

impl PartialEq<str> for DeviceId {
    fn eq(&self, text: &str) -> bool {
        self.0 == text
    }
}

impl PartialEq<&str> for DeviceId {
    fn eq(&self, text: &&str) -> bool {
        self.0 == *text
    }
}

impl AsRef<str> for DeviceId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rule that device and module ids share.
pub(crate) fn checked(text: &str, what: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-:.+%_#*?!(),=@;$'".contains(c);
    if text.is_empty() || text.len() > 128 || !text.chars().all(allowed) {
        let shown: String = text.chars().take(160).collect();
        return Err(Error::with_message_fn(ErrorKind::DataConversion, || {
            format!("{shown:?} is not {what}: 1 to 128 of A-Z a-z 0-9 - : . + % _ # * ? ! ( ) , = @ ; $ '")
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_the_hub_allows_is_taken() {
        let id = "Az09-:.+%_#*?!(),=@;$'";
        assert_eq!(id.parse::<DeviceId>().unwrap().as_str(), id);
        assert!("x".repeat(128).parse::<DeviceId>().is_ok());
    }

    #[test]
    fn what_the_hub_refuses_is_named() {
        for bad in ["", "a/b", "a b", "ä", "a\nb", "a&b", "a\"b", &"x".repeat(129)] {
            let error = bad.parse::<DeviceId>().unwrap_err().to_string();
            assert!(error.contains("is not a device id: 1 to 128"), "{error}");
        }
    }
}

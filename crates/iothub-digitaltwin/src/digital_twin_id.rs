use std::{fmt, str::FromStr};

use azure_core::error::ErrorKind;
use iothub_core::{DeviceId, Error, ModuleId, Result};

/// Whose digital twin it is: a device's, or a module's on a device.
///
/// As text, a module's id is `device~module`: neither of the two names can hold a `~`.
///
/// # Examples
///
/// ```
/// use iothub_core::{DeviceId, ModuleId};
/// use iothub_digitaltwin::DigitalTwinId;
///
/// let gateway: DeviceId = "gateway".parse()?;
/// assert_eq!(DigitalTwinId::from(gateway.clone()), "gateway".parse()?);
/// assert_eq!(DigitalTwinId::from(ModuleId::new(gateway, "filter")?), "gateway~filter".parse()?);
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DigitalTwinId {
    /// The digital twin of a device.
    Device(DeviceId),
    /// The digital twin of a module.
    Module(ModuleId),
}

impl From<DeviceId> for DigitalTwinId {
    fn from(device: DeviceId) -> Self {
        Self::Device(device)
    }
}

impl From<&DeviceId> for DigitalTwinId {
    fn from(device: &DeviceId) -> Self {
        Self::Device(device.clone())
    }
}

impl From<ModuleId> for DigitalTwinId {
    fn from(module: ModuleId) -> Self {
        Self::Module(module)
    }
}

impl From<&ModuleId> for DigitalTwinId {
    fn from(module: &ModuleId) -> Self {
        Self::Module(module.clone())
    }
}

impl FromStr for DigitalTwinId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('~') {
            None => text.parse().map(Self::Device),
            Some((device, module)) if !module.contains('~') => ModuleId::new(device.parse()?, module).map(Self::Module),
            Some(_) => Err(Error::with_message_fn(ErrorKind::DataConversion, || {
                let shown: String = text.chars().take(300).collect();
                format!("{shown:?} is not the id of a digital twin: that is `device` or `device~module`")
            })),
        }
    }
}

impl fmt::Display for DigitalTwinId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => device.fmt(f),
            Self::Module(id) => write!(f, "{}~{}", id.device(), id.module()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_id_is_read_again() -> Result<()> {
        for text in ["gateway", "gateway~filter", "a%b?c", "$edge~$edgeAgent"] {
            let id: DigitalTwinId = text.parse()?;
            assert_eq!(id.to_string(), text);
            assert_eq!(matches!(id, DigitalTwinId::Module(_)), text.contains('~'));
        }
        Ok(())
    }

    #[test]
    fn what_is_no_id_is_refused_by_name() {
        for (bad, expected) in [
            ("", "is not a device id"),
            ("~filter", "is not a device id"),
            ("gateway~", "is not a module id"),
            ("gateway/filter", "is not a device id"),
            ("a~b~c", "`device` or `device~module`"),
        ] {
            let error = bad.parse::<DigitalTwinId>().unwrap_err().to_string();
            assert!(error.contains(expected), "{bad}: {error}");
        }
    }
}

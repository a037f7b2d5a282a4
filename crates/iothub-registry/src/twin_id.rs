use std::{fmt, str::FromStr};

use azure_core::error::ErrorKind;
use iothub_core::{DeviceId, Error, ModuleId, Result};

/// Whose twin it is: a device's, or a module's on a device.
///
/// As text, a module's id is `device/module`: neither of the two names can hold a `/`.
///
/// # Examples
///
/// ```
/// use iothub_core::{DeviceId, ModuleId};
/// use iothub_registry::TwinId;
///
/// let gateway: DeviceId = "gateway".parse()?;
/// assert_eq!(TwinId::from(gateway.clone()), "gateway".parse()?);
/// assert_eq!(TwinId::from(ModuleId::new(gateway, "filter")?), "gateway/filter".parse()?);
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TwinId {
    /// The twin of a device.
    Device(DeviceId),
    /// The twin of a module.
    Module(ModuleId),
}

impl TwinId {
    /// The device that the twin belongs to, or whose module it belongs to.
    pub fn device(&self) -> &DeviceId {
        match self {
            Self::Device(device) => device,
            Self::Module(id) => id.device(),
        }
    }

    /// The module's own name. `None` for the twin of a device.
    pub fn module(&self) -> Option<&str> {
        match self {
            Self::Device(_) => None,
            Self::Module(id) => Some(id.module()),
        }
    }
}

impl From<DeviceId> for TwinId {
    fn from(device: DeviceId) -> Self {
        Self::Device(device)
    }
}

impl From<&DeviceId> for TwinId {
    fn from(device: &DeviceId) -> Self {
        Self::Device(device.clone())
    }
}

impl From<ModuleId> for TwinId {
    fn from(module: ModuleId) -> Self {
        Self::Module(module)
    }
}

impl From<&ModuleId> for TwinId {
    fn from(module: &ModuleId) -> Self {
        Self::Module(module.clone())
    }
}

impl FromStr for TwinId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('/') {
            None => text.parse().map(Self::Device),
            Some((device, module)) if !module.contains('/') => ModuleId::new(device.parse()?, module).map(Self::Module),
            Some(_) => Err(Error::with_message_fn(ErrorKind::DataConversion, || {
                let shown: String = text.chars().take(300).collect();
                format!("{shown:?} is not the id of a twin: that is `device` or `device/module`")
            })),
        }
    }
}

impl fmt::Display for TwinId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => device.fmt(f),
            Self::Module(module) => module.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        for text in ["lamp", "Az09-:.+%_#*?!(),=@;$'", "gateway/filter", "gateway/$edgeAgent"] {
            let id: TwinId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(id.module().is_some(), text.contains('/'));
        }
    }

    #[test]
    fn what_is_no_id_is_refused_by_name() {
        for (bad, expected) in [
            ("", "is not a device id"),
            ("a b", "is not a device id"),
            ("/filter", "is not a device id"),
            ("gateway/", "is not a module id"),
            ("a/b/c", "`device` or `device/module`"),
        ] {
            let error = bad.parse::<TwinId>().unwrap_err().to_string();
            assert!(error.contains(expected), "{bad}: {error}");
        }
    }
}

use std::fmt;

use iothub_core::{DeviceId, ModuleId};
use serde::{Serialize, Serializer};

use super::Failure;

/// Whom a message, a method or a twin is for: a device, or a module on one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A device.
    Device(DeviceId),
    /// A module on a device.
    Module(ModuleId),
}

impl Target {
    pub(crate) fn parse(device: &str, module: Option<&str>) -> Result<Self, Failure> {
        let device = device
            .parse::<DeviceId>()
            .map_err(|error| Failure::argument(error.to_string()))?;
        match module {
            None => Ok(Self::Device(device)),
            Some(module) => ModuleId::new(device, module)
                .map(Self::Module)
                .map_err(|error| Failure::argument(error.to_string())),
        }
    }

    /// The id of the device, or of the device that the module runs on.
    pub fn device(&self) -> &str {
        match self {
            Self::Device(device) => device.as_str(),
            Self::Module(module) => module.device().as_str(),
        }
    }

    /// Its path below the host, as tokens name it: `devices/lamp`, or `devices/lamp/modules/bulb`.
    pub(crate) fn resource(&self) -> String {
        match self {
            Self::Device(device) => format!("devices/{device}"),
            Self::Module(module) => format!("devices/{}/modules/{}", module.device(), module.module()),
        }
    }

    /// The module's own name, if it is one.
    pub fn module(&self) -> Option<&str> {
        match self {
            Self::Device(_) => None,
            Self::Module(module) => Some(module.module()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => device.fmt(f),
            Self::Module(module) => module.fmt(f),
        }
    }
}

/// As its text: `device`, or `device/module`.
impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<DeviceId> for Target {
    fn from(device: DeviceId) -> Self {
        Self::Device(device)
    }
}

impl From<ModuleId> for Target {
    fn from(module: ModuleId) -> Self {
        Self::Module(module)
    }
}

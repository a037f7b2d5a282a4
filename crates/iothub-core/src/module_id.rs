use std::fmt;

use azure_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::{DeviceId, device_id::checked};

/// A module on a device. Both names follow the rule of [`DeviceId`].
///
/// # Examples
///
/// ```
/// use iothub_core::{DeviceId, ModuleId};
///
/// let gateway: DeviceId = "gateway".parse()?;
/// let filter = ModuleId::new(gateway, "filter")?;
/// assert_eq!(filter.to_string(), "gateway/filter");
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Members")]
pub struct ModuleId {
    #[serde(rename = "deviceId")]
    device: DeviceId,
    #[serde(rename = "moduleId")]
    module: String,
}

impl ModuleId {
    /// Names a module on `device`.
    ///
    /// # Errors
    ///
    /// `module` is not a module id.
    pub fn new(device: DeviceId, module: &str) -> Result<Self> {
        checked(module, "a module id")?;
        Ok(Self {
            device,
            module: module.to_owned(),
        })
    }

    /// The device that the module runs on.
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// The module's own name.
    pub fn module(&self) -> &str {
        &self.module
    }
}

/// How JSON tells a module: members of the object that is about it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    device_id: DeviceId,
    module_id: String,
}

impl TryFrom<Members> for ModuleId {
    type Error = Error;

    fn try_from(members: Members) -> Result<Self> {
        Self::new(members.device_id, &members.module_id)
    }
}

impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.device, self.module)
    }
}

use std::fmt;

use azure_core::Result;

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId {
    device: DeviceId,
    module: String,
}

impl ModuleId {
    /// Names a module on `device`.
    ///
    /// # Errors
    ///
    /// `module` is not a module id.
    pub fn new(device: DeviceId, module: &str) -> Result<Self> {
        let module = checked(module, "a module id")?;
        Ok(Self { device, module })
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

impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.device, self.module)
    }
}

use iothub_core::{
    DeviceId, IfMatch, ModuleId,
    models::{Device, Module, TwinContent, TwinPatch},
};

use crate::TwinId;

/// One change of the registry, to be made in a bulk call together with others.
///
/// # Examples
///
/// ```
/// use iothub_core::models::TwinContent;
/// use iothub_registry::{BulkOperation, IfMatch, models::Device};
///
/// let lamp = Device::new("lamp".parse()?);
/// let operations = [
///     BulkOperation::create_device_with_twin(lamp, TwinContent::new().set_tag("site", "x")),
///     BulkOperation::DeleteDevice { id: "candle".parse()?, if_match: IfMatch::Any },
/// ];
/// assert_eq!(operations[1].device_id().as_str(), "candle");
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[doc(alias = "ExportImportDevice")]
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BulkOperation {
    /// Adds a device. It fails if there is one with this id.
    CreateDevice {
        /// Who it is.
        device: Box<Device>,
        /// What stands in its first twin.
        twin: TwinContent,
    },
    /// Replaces the identity of a device. With [`GeneratedKeys`](iothub_core::models::Authentication::GeneratedKeys) it
    /// gets new keys.
    UpdateDevice {
        /// Its new identity.
        device: Box<Device>,
        /// Which version may be replaced.
        if_match: IfMatch,
    },
    /// Deletes a device, and with it the twin, the modules and the messages that wait for it.
    DeleteDevice {
        /// Which one.
        id: DeviceId,
        /// Which version of the identity may be deleted.
        if_match: IfMatch,
    },
    /// Adds a module to a device. It fails if the device has one with this name.
    CreateModule {
        /// Who it is.
        module: Box<Module>,
        /// What stands in its first twin.
        twin: TwinContent,
    },
    /// Replaces the identity of a module.
    UpdateModule {
        /// Its new identity.
        module: Box<Module>,
        /// Which version may be replaced.
        if_match: IfMatch,
    },
    /// Deletes a module, and its twin with it.
    DeleteModule {
        /// Which one.
        id: ModuleId,
        /// Which version of the identity may be deleted.
        if_match: IfMatch,
    },
    /// Merges tags and desired properties into a twin.
    UpdateTwin {
        /// Whose twin.
        id: TwinId,
        /// What changes.
        patch: TwinPatch,
        /// Which version of the twin may be changed. Its tag is another one than that of the identity.
        if_match: IfMatch,
    },
}

impl BulkOperation {
    /// Adds a device.
    pub fn create_device(device: Device) -> Self {
        Self::create_device_with_twin(device, TwinContent::new())
    }

    /// Adds a device and writes its first twin.
    pub fn create_device_with_twin(device: Device, twin: TwinContent) -> Self {
        Self::CreateDevice {
            device: Box::new(device),
            twin,
        }
    }

    /// Replaces the identity of a device.
    pub fn update_device(device: Device, if_match: IfMatch) -> Self {
        Self::UpdateDevice {
            device: Box::new(device),
            if_match,
        }
    }

    /// Adds a module.
    pub fn create_module(module: Module) -> Self {
        Self::CreateModule {
            module: Box::new(module),
            twin: TwinContent::new(),
        }
    }

    /// Replaces the identity of a module.
    pub fn update_module(module: Module, if_match: IfMatch) -> Self {
        Self::UpdateModule {
            module: Box::new(module),
            if_match,
        }
    }

    /// The device that it is about, or whose module it is about.
    pub fn device_id(&self) -> &DeviceId {
        match self {
            Self::CreateDevice { device, .. } | Self::UpdateDevice { device, .. } => &device.device_id,
            Self::DeleteDevice { id, .. } => id,
            Self::CreateModule { module, .. } | Self::UpdateModule { module, .. } => module.id.device(),
            Self::DeleteModule { id, .. } => id.device(),
            Self::UpdateTwin { id, .. } => id.device(),
        }
    }

    /// The module that it is about, by its own name. `None` if it is about the device itself.
    pub fn module(&self) -> Option<&str> {
        match self {
            Self::CreateDevice { .. } | Self::UpdateDevice { .. } | Self::DeleteDevice { .. } => None,
            Self::CreateModule { module, .. } | Self::UpdateModule { module, .. } => Some(module.id.module()),
            Self::DeleteModule { id, .. } => Some(id.module()),
            Self::UpdateTwin { id, .. } => id.module(),
        }
    }
}

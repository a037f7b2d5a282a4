#![doc = include_str!("../README.md")]

mod client;
mod options;

/// What the calls of [`RegistryClient`] send and return.
pub mod models {
    pub use iothub_core::models::{
        Authentication, ConnectionState, Device, DeviceCapabilities, DeviceStatus, SymmetricKey, X509Thumbprints,
    };
}

pub use client::RegistryClient;
pub use iothub_core::IfMatch;
pub use options::{
    CreateDeviceOptions, DeleteDeviceOptions, GetDeviceOptions, RegistryClientOptions, UpdateDeviceOptions,
};

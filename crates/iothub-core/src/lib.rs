#![doc = include_str!("../README.md")]

pub mod amqp;
mod device_id;
mod hub_host;
mod module_id;

pub use azure_core::{Error, Result};
pub use device_id::DeviceId;
pub use hub_host::HubHost;
pub use module_id::ModuleId;

#![doc = include_str!("../README.md")]

pub mod amqp;
mod call_facts;
mod device_id;
mod error_chain;
mod generated;
mod hub_error;
mod hub_error_code;
mod hub_host;
pub mod models;
mod module_id;

pub use azure_core::{Error, Result};
pub use call_facts::CallFacts;
pub use device_id::DeviceId;
pub use hub_error::HubError;
pub use hub_error_code::{HubErrorCode, RetryAdvice};
pub use hub_host::HubHost;
pub use module_id::ModuleId;

#![doc = include_str!("../README.md")]

pub mod amqp;
mod call_facts;
mod call_limits;
mod configuration_id;
mod deadline;
mod device_id;
mod error_chain;
mod generated;
mod hub_error;
mod hub_error_code;
mod hub_host;
mod hub_pipeline;
mod hub_request;
mod if_match;
mod job_wait;
mod method_timeouts;
pub mod models;
mod module_id;
mod operation_class;
mod paged_query;
mod retry;
mod schedule;
#[cfg(feature = "testing")]
pub mod testing;

pub use azure_core::{Error, Result};
pub use call_facts::{CallFacts, CallReport};
pub use call_limits::CallLimits;
pub use configuration_id::ConfigurationId;
pub use device_id::DeviceId;
pub use hub_error::HubError;
pub use hub_error_code::{HubErrorCode, RetryAdvice};
pub use hub_host::HubHost;
pub use hub_pipeline::{HubPipeline, Product};
pub use hub_request::HubRequest;
pub use if_match::IfMatch;
pub use method_timeouts::MethodTimeouts;
pub use module_id::ModuleId;
pub use operation_class::OperationClass;
pub use paged_query::{PagedQuery, QueryPage, QueryToken};

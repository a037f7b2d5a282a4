#![doc = include_str!("../README.md")]

pub use iothub_auth as auth;
pub use iothub_auth::{ConnectionString, Credential, DefaultAzureCredential, SharedAccessKey, SharedAccessSignature};
pub use iothub_core::{
    CallFacts, CallLimits, DeviceId, Error, HubError, HubErrorCode, HubHost, IfMatch, ModuleId, Result, amqp, models,
};
#[cfg(feature = "digitaltwin")]
pub use iothub_digitaltwin as digitaltwin;
#[cfg(feature = "jobs")]
pub use iothub_jobs as jobs;
#[cfg(feature = "registry")]
pub use iothub_registry as registry;
#[cfg(feature = "service")]
pub use iothub_service as service;

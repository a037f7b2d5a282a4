#![doc = include_str!("../README.md")]

mod bulk_item;
mod bulk_operation;
mod bulk_result;
mod client;
mod job_failure;
mod key_renewal;
mod options;
#[cfg(test)]
mod scripted;
mod twin_id;

/// What the calls of [`RegistryClient`] send and return.
pub mod models {
    pub use iothub_core::models::{
        Authentication, ConnectionState, Device, DeviceCapabilities, DeviceStatus, SymmetricKey, X509Thumbprints,
    };
    pub use iothub_core::models::{
        Configuration, ConfigurationContent, ConfigurationMetrics, ConfigurationQueries, ConfigurationQueryErrors,
    };
    pub use iothub_core::models::{DeviceRegistryOperationError, DeviceRegistryOperationWarning};
    pub use iothub_core::models::{
        ExportDevices, ImportDevices, ImportExportJob, JobStatus, JobType, StorageAuthentication,
    };
    pub use iothub_core::models::{KeyOwner, KeyRotationError, KeyToRegenerate, RotatedKey};
    pub use iothub_core::models::{Module, TwinContent, TwinPatch};
    pub use iothub_core::models::{RegistryStatistics, ServiceStatistics};
    pub use iothub_core::models::{Twin, TwinFormat, TwinMetadata, TwinPage, TwinSection};
}

pub use bulk_operation::BulkOperation;
pub use bulk_result::{BulkItemResult, BulkOutcome, BulkResult};
pub use client::RegistryClient;
pub use iothub_core::{IfMatch, QueryPage, QueryToken};
pub use job_failure::JobFailure;
pub use key_renewal::KeyRenewal;
pub use options::{
    ApplyConfigurationContentOptions, CreateConfigurationOptions, DeleteConfigurationOptions, GetConfigurationOptions,
    ListConfigurationsOptions, TestConfigurationQueriesOptions, UpdateConfigurationOptions,
};
pub use options::{
    BeginExportDevicesOptions, BeginImportDevicesOptions, CancelJobOptions, GetJobOptions, ListJobsOptions,
    WaitForJobOptions,
};
pub use options::{
    BulkCallOptions, BulkOptions, CreateDeviceWithTwinOptions, CreateDevicesOptions, DeleteDevicesOptions,
    UpdateDevicesOptions, UpdateTwinsOptions,
};
pub use options::{
    CreateDeviceOptions, DeleteDeviceOptions, GetDeviceOptions, RegistryClientOptions, UpdateDeviceOptions,
};
pub use options::{
    CreateModuleOptions, DeleteModuleOptions, GetModuleOptions, ListModulesOptions, ModifyModuleOptions,
    UpdateModuleOptions,
};
pub use options::{GetServiceStatisticsOptions, GetStatisticsOptions};
pub use options::{
    GetTwinOptions, ListDevicesOptions, ModifyTwinOptions, QueryOptions, ReplaceTwinOptions, UpdateTwinOptions,
};
pub use options::{ModifyDeviceOptions, RegenerateKeysOptions};
pub use twin_id::TwinId;

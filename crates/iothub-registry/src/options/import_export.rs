use std::time::Duration;

use azure_core::{
    fmt::SafeDebug,
    http::{ClientMethodOptions, poller::PollerOptions},
};

/// Options for [`RegistryClient::begin_export_devices`](crate::RegistryClient::begin_export_devices).
#[derive(Clone, Default, SafeDebug)]
pub struct BeginExportDevicesOptions<'a> {
    /// How long to wait for another import or export to end, since a hub runs one at a time. `None` does not wait: then
    /// the hub's `JobQuotaExceeded` is returned.
    pub queue_for: Option<Duration>,
    /// Customizes this one call. While it queues, limits hold for each request.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::begin_import_devices`](crate::RegistryClient::begin_import_devices).
#[derive(Clone, Default, SafeDebug)]
pub struct BeginImportDevicesOptions<'a> {
    /// As in [`BeginExportDevicesOptions`].
    pub queue_for: Option<Duration>,
    /// Customizes this one call. While it queues, limits hold for each request.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::get_job`](crate::RegistryClient::get_job).
#[derive(Clone, Default, SafeDebug)]
pub struct GetJobOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::list_jobs`](crate::RegistryClient::list_jobs).
#[derive(Clone, Default, SafeDebug)]
pub struct ListJobsOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::cancel_job`](crate::RegistryClient::cancel_job).
#[derive(Clone, Default, SafeDebug)]
pub struct CancelJobOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::wait_for_job`](crate::RegistryClient::wait_for_job).
#[derive(Clone, Default, SafeDebug)]
pub struct WaitForJobOptions<'a> {
    /// How long the hub may be out of reach at a stretch before the wait ends with the last error. `None` is 10 minutes.
    pub outage: Option<Duration>,
    /// Customizes the calls, and says how far apart they are at most: `frequency` is 30 seconds by default and 1 second
    /// at least. The first ones follow each other sooner. Limits hold for each call, not for all together.
    pub method_options: PollerOptions<'a>,
}

use std::time::Duration;

use azure_core::{
    fmt::SafeDebug,
    http::{ClientMethodOptions, ClientOptions, pager::PagerOptions, poller::PollerOptions},
    time::OffsetDateTime,
};
use iothub_core::{
    CallLimits,
    models::{DeviceJobStatus, JobStatus, JobType},
};

/// Options for [`JobClient::new`](crate::JobClient::new).
#[derive(Clone, Debug, Default)]
pub struct JobClientOptions {
    /// Which version of the service's interface to speak, such as `2021-04-12`, which is what `None` means. The client
    /// is made for this one; another is for trying what a newer one adds, and the hub refuses one that it does not know.
    pub api_version: Option<String>,
    /// How long a call may take and how often it may be tried. One call is given its own in its context.
    pub limits: CallLimits,
    /// Transport, policies, application id. Without a transport, the one of the feature `hyper` is used, and its
    /// connections are shared with the other clients of the process. The retry options are not used: see
    /// [`HubPipeline`](iothub_core::HubPipeline) for when a call is repeated.
    pub client_options: ClientOptions,
}

/// Options for [`JobClient::schedule_method`](crate::JobClient::schedule_method).
#[derive(Clone, Default, SafeDebug)]
pub struct ScheduleMethodOptions<'a> {
    /// The id of the job: 1 to 64 of `A-Z a-z 0-9 - _ . '`, though some hubs refuse capital letters, `_` and `.`. It must
    /// not have been used for 30 days. `None` makes one up; choose one to be able to look for the job even if the answer
    /// of the hub is lost.
    pub job_id: Option<String>,
    /// When the job starts, up to 168 hours ahead. `None` is at once, and so is a time in the past.
    pub start_time: Option<OffsetDateTime>,
    /// How long it may run. `None` is an hour, as with Microsoft's SDKs. In whole seconds on the wire.
    pub max_execution_time: Option<Duration>,
    /// How long to wait for other jobs to end, if the hub runs as many as it may. `None` waits only as long as the call
    /// is repeated anyway, and then returns the refusal.
    pub queue_for: Option<Duration>,
    /// Customizes this one call. While it queues, limits hold for each request.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`JobClient::schedule_twin_update`](crate::JobClient::schedule_twin_update).
#[derive(Clone, Default, SafeDebug)]
pub struct ScheduleTwinUpdateOptions<'a> {
    /// As in [`ScheduleMethodOptions`].
    pub job_id: Option<String>,
    /// As in [`ScheduleMethodOptions`].
    pub start_time: Option<OffsetDateTime>,
    /// As in [`ScheduleMethodOptions`].
    pub max_execution_time: Option<Duration>,
    /// As in [`ScheduleMethodOptions`].
    pub queue_for: Option<Duration>,
    /// As in [`ScheduleMethodOptions`].
    pub method_options: ClientMethodOptions<'a>,
}

impl<'a> From<ScheduleTwinUpdateOptions<'a>> for ScheduleMethodOptions<'a> {
    fn from(options: ScheduleTwinUpdateOptions<'a>) -> Self {
        Self {
            job_id: options.job_id,
            start_time: options.start_time,
            max_execution_time: options.max_execution_time,
            queue_for: options.queue_for,
            method_options: options.method_options,
        }
    }
}

/// Options for [`JobClient::get_job`](crate::JobClient::get_job).
#[derive(Clone, Default, SafeDebug)]
pub struct GetJobOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`JobClient::cancel_job`](crate::JobClient::cancel_job).
#[derive(Clone, Default, SafeDebug)]
pub struct CancelJobOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`JobClient::list_jobs`](crate::JobClient::list_jobs).
#[derive(Clone, Default, SafeDebug)]
pub struct ListJobsOptions<'a> {
    /// Only jobs of this type. `None` is all types.
    pub job_type: Option<JobType>,
    /// Only jobs that are this far. `None` is all of them.
    pub status: Option<JobStatus>,
    /// How many jobs a page has at most. `None` leaves it to the hub, or to the token that the list is resumed with.
    pub page_size: Option<u32>,
    /// Asks for a page only when it is wanted. Without it, the next page is asked for while the application works on the
    /// one before.
    pub no_read_ahead: bool,
    /// Customizes the calls, and says where to resume: see [`QueryToken`](crate::QueryToken). Limits hold for each
    /// page, not for all together.
    pub method_options: PagerOptions<'a>,
}

/// Options for [`JobClient::list_device_jobs`](crate::JobClient::list_device_jobs).
#[derive(Clone, Default, SafeDebug)]
pub struct ListDeviceJobsOptions<'a> {
    /// Only devices with which the job is this far. `None` is all of them.
    pub status: Option<DeviceJobStatus>,
    /// How many devices a page has at most. `None` leaves it to the hub, or to the token that the list is resumed with.
    pub page_size: Option<u32>,
    /// As in [`ListJobsOptions`].
    pub no_read_ahead: bool,
    /// As in [`ListJobsOptions`].
    pub method_options: PagerOptions<'a>,
}

/// Options for [`JobClient::wait_for_job`](crate::JobClient::wait_for_job).
#[derive(Clone, Default, SafeDebug)]
pub struct WaitForJobOptions<'a> {
    /// How long the hub may be out of reach at a stretch before the wait ends with the last error. `None` is 10 minutes.
    pub outage: Option<Duration>,
    /// Customizes the calls, and says how far apart they are at most: `frequency` is 30 seconds by default and 1 second
    /// at least. The first ones follow each other sooner. Limits hold for each call, not for all together.
    pub method_options: PollerOptions<'a>,
}

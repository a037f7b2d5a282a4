#![doc = include_str!("../README.md")]

mod client;
mod job_condition;
mod job_failure;
mod job_id;
mod options;

/// What the calls of [`JobClient`] send and return.
pub mod models {
    pub use iothub_core::models::{
        DeviceJob, DeviceJobError, DeviceJobOutcome, DeviceJobStatistics, DeviceJobStatus, DirectMethodResponse,
    };
    pub use iothub_core::models::{DirectMethodRequest, JsonText, TwinPatch};
    pub use iothub_core::models::{JobStatus, JobType, ScheduledJob, ScheduledJobKind};
}

pub use client::JobClient;
pub use iothub_core::{QueryPage, QueryToken};
pub use job_condition::JobCondition;
pub use job_failure::JobFailure;
pub use options::{
    CancelJobOptions, GetJobOptions, JobClientOptions, ListDeviceJobsOptions, ListJobsOptions, ScheduleMethodOptions,
    ScheduleTwinUpdateOptions, WaitForJobOptions,
};

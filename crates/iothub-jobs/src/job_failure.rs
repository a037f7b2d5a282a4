use std::fmt;

use iothub_core::{Error, models::ScheduledJob};

/// A job that failed as a whole or was cancelled, inside the error of
/// [`wait_for_job`](crate::JobClient::wait_for_job).
///
/// A job with which single devices failed is none: it is completed.
///
/// # Examples
///
/// ```
/// use iothub_core::{Error, models::JobStatus};
/// use iothub_jobs::JobFailure;
///
/// fn was_cancelled(error: &Error) -> bool {
///     JobFailure::of(error).is_some_and(|failure| failure.job.status == JobStatus::Cancelled)
/// }
/// # let _ = was_cancelled;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobFailure {
    /// The job as the hub told it last.
    pub job: ScheduledJob,
}

impl JobFailure {
    /// The job that failed or was cancelled, if that is what `error` is about.
    pub fn of(error: &Error) -> Option<&Self> {
        error.downcast_ref()
    }
}

impl fmt::Display for JobFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let job = &self.job;
        write!(f, "the job `{}` is {}", job.job_id, job.status)?;
        match job.failure_reason.as_ref().or(job.status_message.as_ref()) {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for JobFailure {}

use std::fmt;

use iothub_core::{Error, models::ImportExportJob};

/// An import or export that did not come to its end, inside the error of
/// [`wait_for_job`](crate::RegistryClient::wait_for_job).
///
/// # Examples
///
/// ```
/// use iothub_core::{Error, models::JobStatus};
/// use iothub_registry::JobFailure;
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
    pub job: ImportExportJob,
}

impl JobFailure {
    /// The job that failed or was cancelled, if that is what `error` is about.
    pub fn of(error: &Error) -> Option<&Self> {
        error.downcast_ref()
    }
}

impl fmt::Display for JobFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ImportExportJob {
            job_id,
            job_type,
            status,
            failure_reason,
            ..
        } = &self.job;
        write!(f, "the {job_type} `{job_id}` is {status}")?;
        match failure_reason.as_deref() {
            // What stands behind is the signature of a container's address.
            Some(reason) => write!(f, ": {}", reason.split("sig=").next().unwrap_or_default()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for JobFailure {}

use std::time::Duration;

use azure_core::{
    error::ErrorKind,
    http::{JsonFormat, Method, Pager, Poller, RawResponse, Response},
};
use iothub_auth::{ConnectionString, Credential};
use iothub_core::{
    CallFacts, Error, HubError, HubErrorCode, HubHost, HubPipeline, HubRequest, OperationClass, PagedQuery, Product,
    QueryPage, Result,
    models::{
        DeviceJob, DirectMethodRequest, JobStatus, JobType, ScheduledJob, ScheduledJobKind, ScheduledJobRequest,
        TwinPatch,
    },
};
use serde::Deserialize;

use crate::{
    CancelJobOptions, GetJobOptions, JobClientOptions, JobCondition, JobFailure, ListDeviceJobsOptions,
    ListJobsOptions, ScheduleMethodOptions, ScheduleTwinUpdateOptions, WaitForJobOptions,
    job_id::{checked, new_id},
};

/// The scheduled jobs of a hub: a direct method or a change of twins, for many devices at once, now or later.
///
/// Cheap to clone; clones share connections and tokens. There is nothing to open or close. The credential needs the
/// permission *ServiceConnect*; with Microsoft Entra ID, the role *IoT Hub Data Contributor*. The hub carries jobs out by
/// itself, and remembers them for 30 days. Imports and exports are other jobs, of the registry.
///
/// # Examples
///
/// ```no_run
/// use iothub_jobs::{JobClient, JobCondition, models::DirectMethodRequest};
///
/// # async fn example(connection_string: &str) -> iothub_core::Result<()> {
/// let jobs = JobClient::from_connection_string(connection_string, None)?;
///
/// let reboot = DirectMethodRequest::new("reboot");
/// let job = jobs.schedule_method(&JobCondition::all(), &reboot, None).await?.into_model()?;
/// let done = jobs.wait_for_job(&job.job_id, None)?.await?.into_model()?;
/// println!("{:?}", done.device_job_statistics);
/// # Ok(()) }
/// ```
#[doc(alias = "IoTHubJobManager")]
#[doc(alias = "ScheduledJobsClient")]
#[derive(Clone, Debug)]
pub struct JobClient {
    hub: HubPipeline,
}

impl JobClient {
    /// A client for the jobs of `host`. It sends nothing yet.
    ///
    /// # Errors
    ///
    /// The options have no transport and the feature `hyper` is off, or the platform has no root certificates to check
    /// the hub's with; or the application id in the options is not one.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_auth::DefaultAzureCredential;
    /// use iothub_jobs::JobClient;
    ///
    /// # fn example() -> iothub_core::Result<()> {
    /// let credential = DefaultAzureCredential::new(None)?;
    /// let jobs = JobClient::new("my-hub.azure-devices.net".parse()?, credential, None)?;
    /// # Ok(()) }
    /// ```
    pub fn new(host: HubHost, credential: impl Into<Credential>, options: Option<JobClientOptions>) -> Result<Self> {
        let JobClientOptions {
            api_version,
            limits,
            client_options,
        } = options.unwrap_or_default();
        let hub = credential
            .into()
            .pipeline(PRODUCT, host, client_options)?
            .with_limits(limits);
        Ok(Self {
            hub: match api_version {
                Some(version) => hub.with_api_version(version),
                None => hub,
            },
        })
    }

    /// A client for the hub of a connection string, which names a shared access policy and holds its key.
    ///
    /// # Errors
    ///
    /// `text` is not the connection string of a hub, and as [`new`](Self::new).
    #[doc(alias = "CreateFromConnectionString")]
    #[doc(alias = "fromConnectionString")]
    pub fn from_connection_string(text: &str, options: Option<JobClientOptions>) -> Result<Self> {
        let ConnectionString { host, credential, .. } = text.parse()?;
        Self::new(host, credential, options)
    }

    /// Has the hub invoke a direct method on each device that the condition finds, and returns the job as it begins.
    ///
    /// [`wait_for_job`](Self::wait_for_job) waits for its end. A device that is not connected fails, unless the method
    /// has a connect time-out within which it comes; the job itself completes all the same.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::JobAlreadyExists`] if there is a job with this id. If
    /// [`CallFacts::maybe_applied`] is true besides, it may be the very job of this call, whose first answer was lost;
    /// of an id that the client made up it knows that it is, and returns it.
    /// [`HubErrorCode::ThrottlingMaxActiveJobCountExceeded`] if as many jobs wait or run as the hub may have, from 1 to
    /// 10 by its edition; `queue_for` in the options waits for that. [`HubErrorCode::ArgumentInvalid`] for what cannot
    /// be meant, such as a start more than 168 hours ahead. A condition that the hub does not understand is no error
    /// here: the job fails later.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use azure_core::time::OffsetDateTime;
    /// use iothub_jobs::{JobClient, JobCondition, ScheduleMethodOptions, models::DirectMethodRequest};
    ///
    /// # async fn example(jobs: JobClient, tonight: OffsetDateTime) -> iothub_core::Result<()> {
    /// let hall: JobCondition = "tags.hall = 7".parse()?;
    /// let update = DirectMethodRequest::new("update").with_connect_timeout(Duration::from_secs(60));
    /// let options = ScheduleMethodOptions {
    ///     job_id: Some("update-hall-7".to_owned()),
    ///     start_time: Some(tonight),
    ///     max_execution_time: Some(Duration::from_secs(6 * 3600)),
    ///     ..ScheduleMethodOptions::default()
    /// };
    /// jobs.schedule_method(&hall, &update, Some(options)).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "ScheduleDeviceMethodAsync")]
    #[doc(alias = "scheduleDeviceMethod")]
    #[doc(alias = "create_scheduled_job")]
    pub async fn schedule_method(
        &self,
        condition: &JobCondition,
        method: &DirectMethodRequest,
        options: Option<ScheduleMethodOptions<'_>>,
    ) -> Result<Response<ScheduledJob>> {
        self.schedule(condition, method.clone().into(), options.unwrap_or_default())
            .await
    }

    /// Has the hub merge a patch into the twin of each device that the condition finds, and returns the job as it begins.
    ///
    /// [`wait_for_job`](Self::wait_for_job) waits for its end. Devices need not be connected.
    ///
    /// # Errors
    ///
    /// As [`schedule_method`](Self::schedule_method).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_jobs::{JobClient, JobCondition, models::TwinPatch};
    ///
    /// # async fn example(jobs: JobClient) -> iothub_core::Result<()> {
    /// let slow = TwinPatch::new().set_desired("interval", 3600).remove_tag("checked");
    /// let job = jobs.schedule_twin_update(&JobCondition::all(), &slow, None).await?.into_model()?;
    /// println!("{} is {}", job.job_id, job.status);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "ScheduleTwinUpdateAsync")]
    #[doc(alias = "scheduleTwinUpdate")]
    #[doc(alias = "create_scheduled_job")]
    pub async fn schedule_twin_update(
        &self,
        condition: &JobCondition,
        patch: &TwinPatch,
        options: Option<ScheduleTwinUpdateOptions<'_>>,
    ) -> Result<Response<ScheduledJob>> {
        self.schedule(condition, patch.clone().into(), options.unwrap_or_default().into())
            .await
    }

    /// Reads how far a job is.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::JobNotFound`] if no scheduled job has this id. The hub itself answers with a success and a job of
    /// which nothing is known; this client makes an error of it, of status 404.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(jobs: iothub_jobs::JobClient) -> iothub_core::Result<()> {
    /// let job = jobs.get_job("update-hall-7", None).await?.into_model()?;
    /// if let Some(devices) = job.device_job_statistics {
    ///     println!("{} of {} are done", devices.succeeded_count, devices.device_count);
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetJobAsync")]
    #[doc(alias = "get_scheduled_job")]
    pub async fn get_job(&self, id: &str, options: Option<GetJobOptions<'_>>) -> Result<Response<ScheduledJob>> {
        let options = options.unwrap_or_default();
        let context = &options.method_options.context;
        Ok(self.hub.send(context, self.look(id)?).await?.into())
    }

    /// Takes back a job that has not begun, and returns it as it is then.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::OperationNotAllowedInCurrentState`] if it runs or has ended; if [`CallFacts::maybe_applied`] is
    /// true besides, this very call may have cancelled it, and its first answer was lost.
    /// [`HubErrorCode::JobNotFound`] if no scheduled job has this id.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(jobs: iothub_jobs::JobClient) -> iothub_core::Result<()> {
    /// jobs.cancel_job("update-hall-7", None).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "CancelJobAsync")]
    #[doc(alias = "cancelJob")]
    #[doc(alias = "cancel_scheduled_job")]
    pub async fn cancel_job(&self, id: &str, options: Option<CancelJobOptions<'_>>) -> Result<Response<ScheduledJob>> {
        let options = options.unwrap_or_default();
        let request = self
            .hub
            .request(Method::Post, &["jobs", "v2", checked(id)?, "cancel"])?
            .class(OperationClass::Idempotent)
            .refused_if(unknown);
        Ok(self.hub.send(&options.method_options.context, request).await?.into())
    }

    /// Lists the scheduled jobs that the hub remembers, of one type and status or all.
    ///
    /// The pager is a stream of jobs; [`into_pages`](azure_core::http::ItemIterator::into_pages) makes it one of pages.
    /// Nothing is sent before it is polled, and it can be resumed; see [`QueryToken`](crate::QueryToken).
    ///
    /// # Errors
    ///
    /// At once if the continuation in the options belongs to another list. From the stream:
    /// [`HubErrorCode::ArgumentInvalid`] if the hub no longer knows the token, or does not know the type or status.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    /// use iothub_jobs::{ListJobsOptions, models::JobStatus};
    ///
    /// # async fn example(jobs: iothub_jobs::JobClient) -> iothub_core::Result<()> {
    /// let running = ListJobsOptions { status: Some(JobStatus::Running), ..ListJobsOptions::default() };
    /// let mut running = jobs.list_jobs(Some(running))?;
    /// while let Some(job) = running.try_next().await? {
    ///     println!("{} since {:?}", job.job_id, job.start_time);
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "CreateQuery")]
    #[doc(alias = "GetNextAsJobResponseAsync")]
    #[doc(alias = "query_scheduled_jobs")]
    pub fn list_jobs(
        &self,
        options: Option<ListJobsOptions<'_>>,
    ) -> Result<Pager<QueryPage<ScheduledJob>, JsonFormat>> {
        let options = options.unwrap_or_default();
        let mut request = self.hub.request(Method::Get, &["jobs", "v2", "query"])?;
        let mut text = "scheduled jobs".to_owned();
        let filters = [
            ("jobType", options.job_type.as_ref().map(JobType::as_str)),
            ("jobStatus", options.status.as_ref().map(JobStatus::as_str)),
        ];
        for (name, word) in filters {
            if let Some(word) = word {
                request = request.query(name, word);
                text.push_str(&format!(", {name} = {word}"));
            }
        }
        PagedQuery::of_request(&self.hub, text, request)
            .with_item_type("JobResponse")
            .with_page_size(options.page_size)
            .with_reading_ahead(!options.no_read_ahead)
            .pager(options.method_options)
    }

    /// Lists what a job has done with each device: how far it is, what came of it, and when.
    ///
    /// The pager goes about as that of [`list_jobs`](Self::list_jobs). It is the query `SELECT * FROM devices.jobs`, which
    /// a hub answers from an index that may be behind; a job that does not exist has no devices.
    ///
    /// # Errors
    ///
    /// As [`list_jobs`](Self::list_jobs).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    ///
    /// # async fn example(jobs: iothub_jobs::JobClient) -> iothub_core::Result<()> {
    /// let mut devices = jobs.list_device_jobs("update-hall-7", None)?;
    /// while let Some(device) = devices.try_next().await? {
    ///     let answer = device.outcome.and_then(|outcome| outcome.device_method_response);
    ///     println!("{} is {}: {answer:?}", device.device_id, device.status);
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetNextAsDeviceJobAsync")]
    pub fn list_device_jobs(
        &self,
        job_id: &str,
        options: Option<ListDeviceJobsOptions<'_>>,
    ) -> Result<Pager<QueryPage<DeviceJob>, JsonFormat>> {
        let options = options.unwrap_or_default();
        // Of the characters that an id may hold, only the quote means something in a query.
        let id = checked(job_id)?.replace('\'', "\\'");
        let mut text = format!("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '{id}'");
        if let Some(status) = &options.status {
            text.push_str(&format!(" AND devices.jobs.status = '{status}'"));
        }
        PagedQuery::new(&self.hub, &text)?
            .with_item_type("DeviceJob")
            .with_page_size(options.page_size)
            .with_reading_ahead(!options.no_read_ahead)
            .pager(options.method_options)
    }

    /// Waits for the end of a job, whoever scheduled it.
    ///
    /// The poller is a future of the completed job, and a stream of its states with their statistics; it looks after 1, 2,
    /// 4 seconds and so on up to the `frequency` of its options. As a stream it gives a state when it is about to look
    /// again, and the last one at once, also if that is `Failed` or `Cancelled`. While the hub cannot be reached it goes
    /// on, for 10 minutes unless the options say otherwise. It has no end of its own as long as the hub says that the job
    /// waits or runs; bound it by a timeout, or drop it, which does not stop the job.
    ///
    /// A job that is completed may have failed with some devices, or all: its statistics tell.
    ///
    /// # Errors
    ///
    /// At once if `frequency` is below a second. From the future: [`JobFailure`] inside if the job failed as a whole,
    /// such as for a condition that the hub does not understand, or was cancelled. [`HubErrorCode::JobNotFound`] if the
    /// hub does not know the job, or no longer; the last error of an outage that took too long.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    /// use iothub_jobs::JobFailure;
    ///
    /// # async fn example(jobs: iothub_jobs::JobClient, id: &str) -> iothub_core::Result<()> {
    /// match jobs.wait_for_job(id, None)?.await {
    ///     Ok(done) => println!("{:?}", done.into_model()?.device_job_statistics),
    ///     Err(error) => match JobFailure::of(&error) {
    ///         Some(failure) => println!("{failure}"),
    ///         None => return Err(error),
    ///     },
    /// }
    ///
    /// // With its progress.
    /// let mut states = jobs.wait_for_job(id, None)?;
    /// while let Some(state) = states.try_next().await? {
    ///     let job = state.into_model()?;
    ///     println!("{}: {:?}", job.status, job.device_job_statistics);
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "IsFinished")]
    pub fn wait_for_job(&self, id: &str, options: Option<WaitForJobOptions<'_>>) -> Result<Poller<ScheduledJob>> {
        let options = options.unwrap_or_default();
        let failure = |job| Error::new(ErrorKind::Other, JobFailure { job });
        self.hub
            .wait_for_job(self.look(id)?, failure, options.outage, options.method_options)
    }

    async fn schedule(
        &self,
        condition: &JobCondition,
        kind: ScheduledJobKind,
        options: ScheduleMethodOptions<'_>,
    ) -> Result<Response<ScheduledJob>> {
        let context = &options.method_options.context;
        let is_made_up = options.job_id.is_none();
        let id = options.job_id.unwrap_or_else(new_id);
        let mut job = ScheduledJobRequest::new(checked(&id)?, kind, condition.as_str());
        job.start_time = options.start_time;
        job.max_execution_time = Some(options.max_execution_time.unwrap_or(MAX_EXECUTION_TIME));
        let request = self.hub.request(Method::Put, &["jobs", "v2", &id])?.json(&job)?;
        match self.hub.begin_job(context, request, is_full, options.queue_for).await {
            // Nobody else can have come upon this id.
            Err(error) if is_made_up && may_be_there(&error) => {
                Ok(self.hub.send(context, self.look(&id)?).await?.into())
            }
            outcome => Ok(outcome?.into()),
        }
    }

    fn look(&self, id: &str) -> Result<HubRequest> {
        let request = self.hub.request(Method::Get, &["jobs", "v2", checked(id)?])?;
        Ok(request.refused_if(unknown))
    }
}

/// The codes in which a hub says that it has as many jobs as it may have.
fn is_full(code: &HubErrorCode) -> bool {
    matches!(
        code,
        HubErrorCode::ThrottlingMaxActiveJobCountExceeded | HubErrorCode::JobQuotaExceeded
    )
}

/// Whether the job exists, and may be one of an earlier try of the same call.
fn may_be_there(error: &Error) -> bool {
    let exists = HubError::of(error).is_some_and(|hub| hub.code == HubErrorCode::JobAlreadyExists);
    exists && CallFacts::of(error).is_some_and(|facts| facts.maybe_applied)
}

/// Whether an answer is about a job that the hub does not know, which it says as if it were one.
fn unknown(response: &RawResponse) -> Option<HubError> {
    #[derive(Deserialize)]
    struct Known {
        #[serde(rename = "type", alias = "jobType", default)]
        kind: JobType,
        status: JobStatus,
    }

    let known: Known = serde_json::from_slice(response.body()).ok()?;
    let is_unknown = (known.kind, known.status) == (JobType::Unknown, JobStatus::Unknown);
    is_unknown.then(|| HubError::new(HubErrorCode::JobNotFound, "the hub knows no scheduled job of this id"))
}

const PRODUCT: Product = Product {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
};

/// What Microsoft's SDKs ask for unless told otherwise.
const MAX_EXECUTION_TIME: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;

use std::time::Duration;

use azure_core::{
    error::ErrorKind,
    http::{Context, Method, Poller, Response},
};
use iothub_core::{
    Error, HubErrorCode, Result,
    models::{ExportDevices, ImportDevices, ImportExportJob},
};
use serde::Serialize;

use super::RegistryClient;
use crate::{
    BeginExportDevicesOptions, BeginImportDevicesOptions, CancelJobOptions, GetJobOptions, JobFailure, ListJobsOptions,
    WaitForJobOptions,
};

/// Imports and exports: jobs of the hub that move identities, twins and configurations from and to blobs.
impl RegistryClient {
    /// Starts an export of all devices and modules to a blob, and returns the job as it begins.
    ///
    /// [`wait_for_job`](Self::wait_for_job) waits for its end. One import or export runs at a time; to wait for
    /// another's end, say so in the options.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::JobQuotaExceeded`] if another import or export runs.
    /// [`HubErrorCode::BlobContainerValidationError`] if the hub cannot write to the container: its address is wrong,
    /// its signature has too few rights or has run out, or the identity has no role there. Azure takes minutes to make
    /// a new role known. Starting is not repeated when an answer is lost: then
    /// [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied) is true, and
    /// [`list_jobs`](Self::list_jobs) shows whether the job runs.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_registry::models::ExportDevices;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient, container: String) -> iothub_core::Result<()> {
    /// let export = ExportDevices::new(container).with_exclude_keys(true);
    /// let job = registry.begin_export_devices(&export, None).await?.into_model()?;
    /// println!("export {} has begun", job.job_id);
    /// registry.wait_for_job(&job.job_id, None)?.await?;
    /// # Ok(()) }
    /// ```
    ///
    /// With an identity of the hub instead of a signature, and with configurations:
    ///
    /// ```no_run
    /// use iothub_registry::models::{ExportDevices, StorageAuthentication};
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let export = ExportDevices::new("https://account.blob.core.windows.net/backup")
    ///     .with_storage(StorageAuthentication::SystemAssignedIdentity)
    ///     .with_configurations(None);
    /// registry.begin_export_devices(&export, None).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "ExportDevicesAsync")]
    #[doc(alias = "exportDevicesToBlob")]
    pub async fn begin_export_devices(
        &self,
        export: &ExportDevices,
        options: Option<BeginExportDevicesOptions<'_>>,
    ) -> Result<Response<ImportExportJob>> {
        let BeginExportDevicesOptions {
            queue_for,
            method_options,
        } = options.unwrap_or_default();
        self.begin_job(export, queue_for, &method_options.context).await
    }

    /// Starts changes to the registry from a blob, and returns the job as it begins.
    ///
    /// Each line of the blob says what to do with one device or module. Lines that fail are listed in the blob
    /// `importErrors.log` of the output container; the job completes all the same.
    ///
    /// # Errors
    ///
    /// As [`begin_export_devices`](Self::begin_export_devices).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use iothub_registry::{BeginImportDevicesOptions, models::ImportDevices};
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient, container: String) -> iothub_core::Result<()> {
    /// let import = ImportDevices::new(container.clone(), container);
    /// let patient = BeginImportDevicesOptions {
    ///     queue_for: Some(Duration::from_secs(3600)),
    ///     ..BeginImportDevicesOptions::default()
    /// };
    /// let job = registry.begin_import_devices(&import, Some(patient)).await?.into_model()?;
    /// registry.wait_for_job(&job.job_id, None)?.await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "ImportDevicesAsync")]
    #[doc(alias = "importDevicesFromBlob")]
    pub async fn begin_import_devices(
        &self,
        import: &ImportDevices,
        options: Option<BeginImportDevicesOptions<'_>>,
    ) -> Result<Response<ImportExportJob>> {
        let BeginImportDevicesOptions {
            queue_for,
            method_options,
        } = options.unwrap_or_default();
        self.begin_job(import, queue_for, &method_options.context).await
    }

    /// Reads how far an import or export is.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::JobNotFound`] if no import or export has this id. Scheduled jobs are others.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient, id: &str) -> iothub_core::Result<()> {
    /// let job = registry.get_job(id, None).await?.into_model()?;
    /// println!("{} is {}, {} %", job.job_id, job.status, job.progress);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetJobAsync")]
    pub async fn get_job(&self, id: &str, options: Option<GetJobOptions<'_>>) -> Result<Response<ImportExportJob>> {
        let options = options.unwrap_or_default();
        let request = self.hub.request(Method::Get, &["jobs", id])?;
        Ok(self.hub.send(&options.method_options.context, request).await?.into())
    }

    /// Lists the imports and exports that the hub remembers, running and ended.
    ///
    /// # Errors
    ///
    /// What every call may fail with.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// for job in registry.list_jobs(None).await?.into_model()? {
    ///     println!("{} {} is {}", job.job_type, job.job_id, job.status);
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetJobsAsync")]
    #[doc(alias = "listJobs")]
    pub async fn list_jobs(&self, options: Option<ListJobsOptions<'_>>) -> Result<Response<Vec<ImportExportJob>>> {
        let options = options.unwrap_or_default();
        let request = self.hub.request(Method::Get, &["jobs"])?;
        Ok(self.hub.send(&options.method_options.context, request).await?.into())
    }

    /// Stops an import or export. What it has done stays done.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::ServerError`], which is how hubs have been seen to answer for a job that has ended or never was.
    /// The client takes it for a fault and tries for a while.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient, id: &str) -> iothub_core::Result<()> {
    /// registry.cancel_job(id, None).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "CancelJobAsync")]
    #[doc(alias = "cancelJob")]
    pub async fn cancel_job(&self, id: &str, options: Option<CancelJobOptions<'_>>) -> Result<()> {
        let options = options.unwrap_or_default();
        let request = self.hub.request(Method::Delete, &["jobs", id])?;
        self.hub.send(&options.method_options.context, request).await?;
        Ok(())
    }

    /// Waits for the end of an import or export, whoever started it.
    ///
    /// The poller is a future of the completed job, and a stream of its states; it looks after 1, 2, 4 seconds and so on
    /// up to the `frequency` of its options. As a stream it gives a state when it is about to look again, and the last
    /// one at once, also if that is `Failed` or `Cancelled`. While the hub cannot be reached it goes on, for 10 minutes
    /// unless the options say otherwise. It has no end of its own as long as the hub says that the job runs; bound it by
    /// a timeout, or drop it, which does not stop the job.
    ///
    /// # Errors
    ///
    /// At once if `frequency` is below a second. From the future: [`JobFailure`](crate::JobFailure) inside if the job
    /// failed or was cancelled. [`HubErrorCode::JobNotFound`] if the hub does not know the job, or no longer; the last
    /// error of an outage that took too long.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    /// use iothub_registry::JobFailure;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient, id: &str) -> iothub_core::Result<()> {
    /// match registry.wait_for_job(id, None)?.await {
    ///     Ok(_) => println!("done"),
    ///     Err(error) => match JobFailure::of(&error) {
    ///         Some(failure) => println!("{failure}"),
    ///         None => return Err(error),
    ///     },
    /// }
    ///
    /// // With its progress.
    /// let mut states = registry.wait_for_job(id, None)?;
    /// while let Some(state) = states.try_next().await? {
    ///     let job = state.into_model()?;
    ///     println!("{}: {} %", job.status, job.progress);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn wait_for_job(&self, id: &str, options: Option<WaitForJobOptions<'_>>) -> Result<Poller<ImportExportJob>> {
        let options = options.unwrap_or_default();
        let job = self.hub.request(Method::Get, &["jobs", id])?;
        let failure = |job| Error::new(ErrorKind::Other, JobFailure { job });
        self.hub
            .wait_for_job(job, failure, options.outage, options.method_options)
    }

    async fn begin_job(
        &self,
        job: &impl Serialize,
        queue_for: Option<Duration>,
        context: &Context<'_>,
    ) -> Result<Response<ImportExportJob>> {
        let request = self.hub.request(Method::Post, &["jobs", "create"])?.json(job)?;
        let is_taken = |code: &HubErrorCode| *code == HubErrorCode::JobQuotaExceeded;
        Ok(self.hub.begin_job(context, request, is_taken, queue_for).await?.into())
    }
}

#[cfg(test)]
mod tests {
    use azure_core::{
        http::{StatusCode, poller::PollerOptions},
        time,
    };
    use futures::TryStreamExt;
    use iothub_core::{
        CallFacts,
        models::{JobStatus, StorageAuthentication},
        testing::{HttpAnswer, ScriptedHttp},
    };
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::scripted::{body, code, refusal, registry};

    #[tokio::test]
    async fn an_export_and_an_import_begin_with_one_call_each() -> Result<()> {
        let http = ScriptedHttp::new([job("enqueued"), job("enqueued")]);
        let registry = registry(&http);
        let export = ExportDevices::new("https://a/c?sig=x").with_configurations(None);
        let begun = registry.begin_export_devices(&export, None).await?.into_model()?;
        assert_eq!((begun.job_id.as_str(), &begun.status), ("j1", &JobStatus::Enqueued));

        let identity = StorageAuthentication::UserAssignedIdentity("/subscriptions/s".to_owned());
        let import = ImportDevices::new("https://a/in", "https://a/out").with_storage(identity);
        registry.begin_import_devices(&import, None).await?;

        assert_eq!(http.seen(), ["POST /jobs/create?api-version=2021-04-12"; 2]);
        assert_eq!(
            body(&http, 0),
            json!({
                "type": "export",
                "outputBlobContainerUri": "https://a/c?sig=x",
                "excludeKeysInExport": false,
                "includeConfigurations": true,
                "storageAuthenticationType": "keyBased",
            })
        );
        assert_eq!(
            body(&http, 1)["identity"],
            json!({ "userAssignedIdentity": "/subscriptions/s" })
        );
        Ok(())
    }

    #[tokio::test]
    async fn a_start_whose_answer_is_lost_is_not_made_twice() {
        let http = ScriptedHttp::new([HttpAnswer::Lost]);
        let error = registry(&http).begin_export_devices(&export(), None).await.unwrap_err();
        assert!(CallFacts::of(&error).expect("it was tried").maybe_applied);
        assert_eq!(http.requests().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_job_waits_for_its_turn_if_asked_to() -> Result<()> {
        let http = ScriptedHttp::new([taken(), taken(), taken(), job("enqueued")]);
        let registry = registry(&http);
        let error = registry.begin_export_devices(&export(), None).await.unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::JobQuotaExceeded));

        let began = Instant::now();
        registry.begin_export_devices(&export(), Some(queueing(60))).await?;
        assert_eq!(began.elapsed().as_secs(), 3, "after 1 and 2 seconds");
        assert_eq!(http.requests().len(), 4);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_turn_has_an_end() {
        let http = ScriptedHttp::always(taken());
        let began = Instant::now();
        let queueing = queueing(100);
        let error = registry(&http)
            .begin_export_devices(&export(), Some(queueing))
            .await
            .unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::JobQuotaExceeded));
        assert_eq!(began.elapsed().as_secs(), 100);
        // At 0, 1, 3, 7, 15, 31, 61 and 91 seconds.
        assert_eq!(http.requests().len(), 8);
    }

    #[tokio::test]
    async fn what_is_no_matter_of_turns_is_not_waited_for() {
        let http = ScriptedHttp::new([refusal(StatusCode::BadRequest, "BlobContainerValidationError")]);
        let queueing = queueing(100);
        let error = registry(&http)
            .begin_export_devices(&export(), Some(queueing))
            .await
            .unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::BlobContainerValidationError));
    }

    #[tokio::test]
    async fn jobs_are_read_listed_and_cancelled_by_id() -> Result<()> {
        let list = HttpAnswer::new(
            StatusCode::Ok,
            json!([state("running"), state("completed")]).to_string(),
        );
        let http = ScriptedHttp::new([job("running"), list, HttpAnswer::new(StatusCode::NoContent, "")]);
        let registry = registry(&http);
        assert_eq!(registry.get_job("j/1", None).await?.into_model()?.progress, 50);
        assert_eq!(registry.list_jobs(None).await?.into_model()?.len(), 2);
        registry.cancel_job("j1", None).await?;
        let version = "?api-version=2021-04-12";
        assert_eq!(
            http.seen(),
            [
                format!("GET /jobs/j%2F1{version}"),
                format!("GET /jobs{version}"),
                format!("DELETE /jobs/j1{version}")
            ]
        );
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_the_job() -> Result<()> {
        // The fourth word is none that anybody knows.
        let states = ["enqueued", "running", "queued", "thinking", "running", "Completed"];
        let http = ScriptedHttp::new(states.map(job));
        let began = Instant::now();
        let done = registry(&http)
            .wait_for_job("j1", Some(every(6)))?
            .await?
            .into_model()?;
        assert_eq!(done.status, JobStatus::Completed);
        assert_eq!(http.requests().len(), 6);
        assert_eq!(began.elapsed().as_secs(), 1 + 2 + 4 + 6 + 6);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn the_states_of_a_job_are_a_stream() -> Result<()> {
        for last in ["completed", "failed", "cancelled"] {
            let http = ScriptedHttp::new(["enqueued", "running", last].map(job));
            let states = registry(&http)
                .wait_for_job("j1", None)?
                .map_ok(|state| state.into_model());
            let states: Vec<ImportExportJob> = states.and_then(async |job| job).try_collect().await?;
            let words: Vec<&str> = states.iter().map(|job| job.status.as_str()).collect();
            assert_eq!(words, ["enqueued", "running", last]);
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_fails_is_an_error_that_says_why() -> Result<()> {
        let failed = json!({
            "jobId": "j1", "type": "export", "status": "failed", "failureReason": "no blob https://a/c?sv=1&sig=AbC%3D",
        });
        let http = ScriptedHttp::new([job("running"), HttpAnswer::new(StatusCode::Ok, failed.to_string())]);
        let error = registry(&http).wait_for_job("j1", None)?.await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the export `j1` is failed: no blob https://a/c?sv=1&"
        );
        assert_eq!(
            JobFailure::of(&error).map(|failure| &failure.job.status),
            Some(&JobStatus::Failed)
        );
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_outlives_an_outage() -> Result<()> {
        // Each call tries nine times before it gives up, so that these are many minutes.
        let down = [
            HttpAnswer::Refused,
            HttpAnswer::Lost,
            HttpAnswer::new(StatusCode::BadGateway, ""),
        ];
        let outage = std::iter::repeat_n(down, 60).flatten();
        let answers = std::iter::once(job("running")).chain(outage).chain([job("completed")]);
        let http = ScriptedHttp::new(answers);
        let began = Instant::now();
        let patient = WaitForJobOptions {
            outage: Some(Duration::from_secs(3600)),
            ..every(30)
        };
        registry(&http).wait_for_job("j1", Some(patient))?.await?;
        assert!(began.elapsed() > Duration::from_secs(300), "{:?}", began.elapsed());
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_gives_up_an_outage_that_does_not_end() -> Result<()> {
        let http = ScriptedHttp::new([job("running")]).and_then_always(HttpAnswer::Refused);
        let began = Instant::now();
        let error = registry(&http).wait_for_job("j1", None)?.await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Connection);
        let waited = began.elapsed().as_secs();
        assert!((600..720).contains(&waited), "{waited}");
        Ok(())
    }

    #[tokio::test]
    async fn a_job_that_is_gone_is_not_waited_for() -> Result<()> {
        let http = ScriptedHttp::new([refusal(StatusCode::NotFound, "JobNotFound")]);
        let error = registry(&http).wait_for_job("j1", None)?.await.unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::JobNotFound));
        Ok(())
    }

    #[test]
    fn a_wait_that_would_look_too_often_is_refused() {
        let registry = registry(&ScriptedHttp::default());
        for frequency in [
            time::Duration::milliseconds(999),
            time::Duration::ZERO,
            time::Duration::seconds(-5),
        ] {
            let options = WaitForJobOptions {
                method_options: PollerOptions {
                    frequency,
                    ..PollerOptions::default()
                },
                ..WaitForJobOptions::default()
            };
            let error = registry.wait_for_job("j1", Some(options)).unwrap_err();
            assert!(error.to_string().contains("once a second at most"), "{error}");
        }
    }

    fn state(status: &str) -> serde_json::Value {
        json!({ "jobId": "j1", "type": "export", "status": status, "progress": 50 })
    }

    fn job(status: &str) -> HttpAnswer {
        HttpAnswer::new(StatusCode::Ok, state(status).to_string())
    }

    fn taken() -> HttpAnswer {
        refusal(StatusCode::Forbidden, "JobQuotaExceeded")
    }

    fn export() -> ExportDevices {
        ExportDevices::new("https://a/c?sig=x")
    }

    fn queueing(seconds: u64) -> BeginExportDevicesOptions<'static> {
        BeginExportDevicesOptions {
            queue_for: Some(Duration::from_secs(seconds)),
            ..BeginExportDevicesOptions::default()
        }
    }

    fn every(seconds: i64) -> WaitForJobOptions<'static> {
        WaitForJobOptions {
            method_options: PollerOptions {
                frequency: time::Duration::seconds(seconds),
                ..PollerOptions::default()
            },
            ..WaitForJobOptions::default()
        }
    }
}

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use azure_core::{
    async_runtime::{TaskFuture, get_async_runtime},
    error::ErrorKind,
    http::{
        Context, Method, RawResponse, Response, Url,
        poller::{PollerContinuation, PollerResult, PollerStatus, StatusMonitor},
    },
};
use futures::future::{Either, select};
use iothub_core::{Error, HubPipeline, HubRequest, Result, models::ImportExportJob};

use crate::{JobFailure, WaitForJobOptions};

/// Looks at an import or export job again and again, through outages, until it has ended.
#[derive(Debug)]
pub(crate) struct JobWait {
    hub: HubPipeline,
    job: HubRequest,
    url: Url,
    outage: Duration,
    frequency: Duration,
    looks: AtomicU32,
}

impl JobWait {
    pub(crate) fn new(hub: &HubPipeline, job_id: &str, options: &WaitForJobOptions<'_>) -> Result<Self> {
        let frequency = Duration::try_from(options.method_options.frequency).unwrap_or_default();
        // Faster than this, a poller panics.
        if frequency < FASTEST {
            return Err(Error::with_message_fn(ErrorKind::DataConversion, || {
                format!("a job is looked at once a second at most: {frequency:?} is too short for `frequency`")
            }));
        }
        Ok(Self {
            hub: hub.clone(),
            job: hub.request(Method::Get, &["jobs", job_id])?,
            url: hub.host().endpoint().clone(),
            outage: options.outage.unwrap_or(OUTAGE),
            frequency,
            looks: AtomicU32::new(0),
        })
    }

    pub(crate) async fn next(&self, context: &Context<'_>) -> Result<PollerResult<ImportExportJob>> {
        let raw = self.look(context).await?;
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        let response = Response::from(raw.clone());
        let job: ImportExportJob = Response::<ImportExportJob>::from(raw.clone()).into_model()?;
        let outcome = match job.status() {
            PollerStatus::Succeeded => Ok(raw.into()),
            PollerStatus::Failed | PollerStatus::Canceled => Err(Error::new(ErrorKind::Other, JobFailure { job })),
            // A word that nobody knows is not taken for an end.
            _ => {
                return Ok(PollerResult::InProgress {
                    response,
                    retry_after: self.pause(looks).try_into().unwrap_or_default(),
                    continuation: PollerContinuation::Links {
                        next_link: self.url.clone(),
                        final_link: None,
                    },
                });
            }
        };
        // Of a job that failed, the stream gives the last state and whoever awaits the result gets the error.
        Ok(PollerResult::Succeeded {
            response,
            target: Box::new(|| Box::pin(async { outcome })),
        })
    }

    /// One look, made again for as long as an outage may last.
    async fn look(&self, context: &Context<'_>) -> Result<RawResponse> {
        let mut end = None;
        loop {
            let error = match self.hub.send(context, self.job.clone()).await {
                Err(error) if self.is_outage(&error) => error,
                outcome => return outcome,
            };
            tracing::debug!(%error, "the state of a job cannot be read: waiting");
            let end = end.get_or_insert_with(|| sleep(self.outage));
            if let Either::Left(_) = select(end, sleep(self.frequency)).await {
                return Err(error);
            }
        }
    }

    fn is_outage(&self, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::Connection | ErrorKind::Io => true,
            ErrorKind::HttpResponse { status, .. } => matches!(u16::from(*status), 408 | 429 | 500..),
            // Credentials that were good before may be so again when their issuer can be reached.
            ErrorKind::Credential => self.looks.load(Ordering::Relaxed) > 0,
            _ => false,
        }
    }

    /// Small jobs end within seconds, so the first looks follow each other sooner.
    fn pause(&self, looks: u32) -> Duration {
        FASTEST.saturating_mul(2_u32.saturating_pow(looks)).min(self.frequency)
    }
}

pub(crate) fn sleep(time: Duration) -> TaskFuture {
    get_async_runtime().sleep(time.min(A_MONTH).try_into().unwrap_or_default())
}

const FASTEST: Duration = Duration::from_secs(1);
const OUTAGE: Duration = Duration::from_secs(10 * 60);
const A_MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

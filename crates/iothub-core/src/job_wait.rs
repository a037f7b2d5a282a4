//! Jobs of a hub take their time: waiting for their end, and for a turn to begin one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use azure_core::{
    Error, Result,
    async_runtime::{TaskFuture, get_async_runtime},
    error::ErrorKind,
    http::{
        Context, JsonFormat, Poller, RawResponse, Response, Url,
        poller::{PollerContinuation, PollerOptions, PollerResult, PollerStatus, StatusMonitor},
    },
};
use futures::future::{Either, select};
use serde::de::DeserializeOwned;

use crate::{HubError, HubErrorCode, HubPipeline, HubRequest};

/// Calls that jobs of a hub need, of whatever kind they are.
impl HubPipeline {
    /// Looks at a job again and again, through outages, until it has ended.
    ///
    /// It looks after 1, 2, 4 seconds and so on up to the `frequency` of the options. While the hub cannot be reached it
    /// goes on for `outage`, 10 minutes unless it is said. `failure` makes an error of a job that has not come to its
    /// end; as a stream, the poller gives such a job as its last state.
    ///
    /// # Errors
    ///
    /// At once if `frequency` is below a second.
    pub fn wait_for_job<J>(
        &self,
        job: HubRequest,
        failure: fn(J) -> Error,
        outage: Option<Duration>,
        options: PollerOptions<'_>,
    ) -> Result<Poller<J>>
    where
        J: StatusMonitor<Output = J, Format = JsonFormat> + DeserializeOwned + Send + 'static,
    {
        let frequency = Duration::try_from(options.frequency).unwrap_or_default();
        // Faster than this, a poller panics.
        if frequency < FASTEST {
            return Err(Error::with_message_fn(ErrorKind::DataConversion, || {
                format!("a job is looked at once a second at most: {frequency:?} is too short for `frequency`")
            }));
        }
        let wait = Arc::new(JobWait {
            hub: self.clone(),
            job,
            url: self.host().endpoint().clone(),
            failure,
            outage: outage.unwrap_or(OUTAGE),
            frequency,
            looks: AtomicU32::new(0),
        });
        Ok(Poller::new(
            move |_, options| {
                let wait = Arc::clone(&wait);
                Box::pin(async move { wait.next(&options.context).await })
            },
            Some(options.into_owned()),
        ))
    }

    /// Sends a request that begins a job, again for as long as the hub says that others have to end first, up to
    /// `queue_for`. `None` does not wait. `is_taken` knows the codes in which the hub says so.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn begin_job(
        &self,
        context: &Context<'_>,
        request: HubRequest,
        is_taken: fn(&HubErrorCode) -> bool,
        queue_for: Option<Duration>,
    ) -> Result<RawResponse> {
        let mut end = queue_for.map(sleep);
        let mut pause = FASTEST;
        loop {
            let error = match self.send(context, request.clone()).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let may_wait = HubError::of(&error).is_some_and(|hub| is_taken(&hub.code));
            let Some(end) = end.as_mut().filter(|_| may_wait) else {
                return Err(error);
            };
            tracing::debug!(?pause, "other jobs are under way: waiting for their end");
            if let Either::Left(_) = select(end, sleep(pause)).await {
                return Err(error);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

struct JobWait<J> {
    hub: HubPipeline,
    job: HubRequest,
    url: Url,
    failure: fn(J) -> Error,
    outage: Duration,
    frequency: Duration,
    looks: AtomicU32,
}

impl<J> JobWait<J>
where
    J: StatusMonitor<Output = J, Format = JsonFormat> + DeserializeOwned + Send + 'static,
{
    async fn next(&self, context: &Context<'_>) -> Result<PollerResult<J>> {
        let raw = self.look(context).await?;
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        let response = Response::from(raw.clone());
        let job: J = Response::<J>::from(raw.clone()).into_model()?;
        let outcome = match job.status() {
            PollerStatus::Succeeded => Ok(raw.into()),
            PollerStatus::Failed | PollerStatus::Canceled => Err((self.failure)(job)),
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

fn sleep(time: Duration) -> TaskFuture {
    get_async_runtime().sleep(time.min(A_MONTH).try_into().unwrap_or_default())
}

const FASTEST: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const OUTAGE: Duration = Duration::from_secs(10 * 60);
const A_MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

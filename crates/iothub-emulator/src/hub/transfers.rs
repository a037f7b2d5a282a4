//! Import and export jobs: which there are, and how far they are. What they do is not decided here.

use std::sync::{Mutex, MutexGuard, PoisonError};

use iothub_core::HubErrorCode;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    DataAction, Event, Failure, Grant, Hub, changes::Changes, identities::to_json, journal::Operation, key::Key,
    timestamp,
};

/// The import and export jobs of a hub, of which one at a time is under way.
#[derive(Debug)]
pub(crate) struct Transfers {
    state: Mutex<State>,
    changes: Changes,
}

#[derive(Debug, Default)]
struct State {
    jobs: Vec<Job>,
    /// Somebody is about to start a job.
    reserved: bool,
}

#[derive(Debug)]
struct Job {
    id: String,
    kind: TransferKind,
    progress: Progress,
    cancel: watch::Sender<bool>,
}

/// How far a job is.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) status: Status,
    pub(crate) percent: u8,
    pub(crate) started: Option<OffsetDateTime>,
    pub(crate) ended: Option<OffsetDateTime>,
    pub(crate) failure: Option<String>,
}

/// Which way a job carries devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum TransferKind {
    Import,
    #[serde(rename_all = "camelCase")]
    Export {
        exclude_keys: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Status {
    Enqueued,
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// The right to start the one job that there can be.
pub(crate) struct Slot<'a>(&'a Hub);

/// A job in the hands of the one who carries it out.
pub(crate) struct Transfer {
    hub: Hub,
    id: String,
    cancelled: watch::Receiver<bool>,
}

/// A job as clients see it. Where it reads and writes is not shown, because that may hold signatures.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobDocument<'a> {
    job_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time_utc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time_utc: Option<String>,
    r#type: &'static str,
    status: &'static str,
    progress: u8,
    exclude_keys_in_export: bool,
    failure_reason: Option<&'a str>,
}

impl Hub {
    /// Takes the only slot there is. It is free again when the job has ended, or when none was started after all.
    pub(crate) fn reserve_transfer(&self, grant: &Grant) -> Result<Slot<'_>, Failure> {
        self.allow(grant, DataAction::WriteTransfers)?;
        let mut state = self.transfers().lock();
        if state.reserved || state.jobs.iter().any(|job| job.progress.status.is_active()) {
            return Err(Failure::new(
                HubErrorCode::JobQuotaExceeded,
                "Job quota has been exceeded",
            ));
        }
        state.reserved = true;
        Ok(Slot(self))
    }

    pub(crate) fn list_transfers(&self, grant: &Grant) -> Result<Vec<u8>, Failure> {
        self.allow(grant, DataAction::ReadTransfers)?;
        let now = self.clock().now();
        let mut state = self.transfers().lock();
        self.transfers().forget_old(&mut state, now);
        to_json(&state.jobs.iter().map(JobDocument::new).collect::<Vec<_>>())
    }

    pub(crate) fn get_transfer(&self, grant: &Grant, id: &str) -> Result<Vec<u8>, Failure> {
        self.allow(grant, DataAction::ReadTransfers)?;
        let now = self.clock().now();
        let mut state = self.transfers().lock();
        self.transfers().forget_old(&mut state, now);
        match state.jobs.iter().find(|job| job.id == id) {
            Some(job) => to_json(&JobDocument::new(job)),
            None => Err(Failure::new(HubErrorCode::JobNotFound, format!("there is no job {id}"))),
        }
    }

    /// Ends a job that is under way. The service takes amiss when there is none.
    pub(crate) fn cancel_transfer(&self, grant: &Grant, id: &str) -> Result<(), Failure> {
        self.allow(grant, DataAction::DeleteTransfers)?;
        let now = self.clock().now();
        let mut state = self.transfers().lock();
        let job = state
            .jobs
            .iter_mut()
            .find(|job| job.id == id && job.progress.status.is_active());
        let Some(job) = job else {
            let text = format!("job {id} is not there to be cancelled");
            return Err(Failure::new(HubErrorCode::ServerError, text));
        };
        job.progress.end(Status::Cancelled, now);
        self.transfers().note(id);
        job.cancel.send_replace(true);
        Ok(())
    }
}

impl Slot<'_> {
    /// Starts the job: what the client is told, and what carries it out.
    pub(crate) fn start(self, kind: TransferKind) -> Result<(Vec<u8>, Transfer), Failure> {
        let (cancel, cancelled) = watch::channel(false);
        let job = Job {
            id: Uuid::new_v4().to_string(),
            kind,
            progress: Progress {
                status: Status::Enqueued,
                percent: 0,
                started: None,
                ended: None,
                failure: None,
            },
            cancel,
        };
        let json = to_json(&JobDocument::new(&job))?;
        let transfer = Transfer {
            hub: self.0.clone(),
            id: job.id.clone(),
            cancelled,
        };
        self.0.journal().record(Event::Executed {
            operation: match kind {
                TransferKind::Import => Operation::Import,
                TransferKind::Export { .. } => Operation::Export,
            },
            on: job.id.clone(),
        });
        let mut state = self.0.transfers().lock();
        self.0.transfers().note(&job.id);
        state.jobs.push(job);
        Ok((json, transfer))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.transfers().lock().reserved = false;
    }
}

impl Transfer {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Returns when somebody has cancelled the job.
    pub(crate) async fn cancelled(&self) {
        let mut cancelled = self.cancelled.clone();
        if cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
            // Forgotten jobs have ended long ago; nobody can cancel them any more.
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn run(&self) {
        let now = self.hub.clock().now();
        self.change(|job| {
            job.status = Status::Running;
            job.started = Some(now);
        });
    }

    /// Says how much is done, of 100.
    pub(crate) fn progress(&self, percent: u8) {
        self.change(|job| job.percent = percent);
    }

    pub(crate) fn complete(&self) {
        let now = self.hub.clock().now();
        self.change(|job| {
            job.percent = 100;
            job.end(Status::Completed, now);
        });
    }

    pub(crate) fn fail(&self, reason: String) {
        let now = self.hub.clock().now();
        self.change(|job| {
            job.failure = Some(reason);
            job.end(Status::Failed, now);
        });
    }

    /// What has ended is not changed any more.
    fn change(&self, change: impl FnOnce(&mut Progress)) {
        let mut state = self.hub.transfers().lock();
        if let Some(job) = state
            .jobs
            .iter_mut()
            .find(|job| job.id == self.id && job.progress.status.is_active())
        {
            change(&mut job.progress);
            self.hub.transfers().note(&self.id);
        }
    }
}

impl Transfers {
    pub(crate) fn new(changes: Changes) -> Self {
        Self {
            state: Mutex::default(),
            changes,
        }
    }

    /// The ids of all jobs that are remembered.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.lock().jobs.iter().map(|job| job.id.clone()).collect()
    }

    /// How far a job is, if there is one.
    pub(crate) fn progress(&self, id: &str) -> Option<(TransferKind, Progress)> {
        let state = self.lock();
        let job = state.jobs.iter().find(|job| job.id == id)?;
        Some((job.kind, job.progress.clone()))
    }

    /// Remembers a job that was stored. Nobody carries it out any more: one that was under way has failed.
    pub(crate) fn restore(&self, id: String, kind: TransferKind, mut progress: Progress, now: OffsetDateTime) {
        if progress.status.is_active() {
            progress.failure = Some("the hub ended while the job was under way".to_owned());
            progress.end(Status::Failed, now);
        }
        let mut state = self.lock();
        self.note(&id);
        state.jobs.retain(|job| job.id != id);
        state.jobs.push(Job {
            id,
            kind,
            progress,
            cancel: watch::Sender::new(false),
        });
    }

    pub(crate) fn forget(&self, id: &str) {
        self.lock().jobs.retain(|job| job.id != id);
    }

    fn note(&self, id: &str) {
        self.changes.note(|| Key::Transfer(id.into()));
    }

    fn forget_old(&self, state: &mut State, now: OffsetDateTime) {
        state.jobs.retain(|job| {
            let is_recent = job.progress.ended.is_none_or(|ended| now - ended < HISTORY);
            if !is_recent {
                self.note(&job.id);
            }
            is_recent
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn end(&mut self, status: Status, now: OffsetDateTime) {
        self.status = status;
        self.ended = Some(now);
    }
}

impl Status {
    fn is_active(self) -> bool {
        matches!(self, Self::Enqueued | Self::Running)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Enqueued => "enqueued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl<'a> JobDocument<'a> {
    fn new(job: &'a Job) -> Self {
        let time = |time: Option<OffsetDateTime>| time.map(timestamp::text);
        Self {
            job_id: &job.id,
            start_time_utc: time(job.progress.started),
            end_time_utc: time(job.progress.ended),
            r#type: match job.kind {
                TransferKind::Import => "import",
                TransferKind::Export { .. } => "export",
            },
            status: job.progress.status.as_str(),
            progress: job.progress.percent,
            exclude_keys_in_export: job.kind == TransferKind::Export { exclude_keys: true },
            failure_reason: job.progress.failure.as_deref(),
        }
    }
}

/// How long jobs are remembered after their end.
const HISTORY: Duration = Duration::days(30);

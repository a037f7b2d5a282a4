//! Scheduled jobs: which there are, and who may schedule, read and cancel them. What they do is in `work`.

mod document;
mod progress;
mod record;
mod request;
mod run;
mod view;
mod work;

use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use iothub_core::{
    HubErrorCode,
    models::{JobStatus, JobType},
};
use serde_json::json;
use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

use self::{
    document::JobDocument,
    progress::{Progress, Status},
    request::{JobKind, Work},
    view::DeviceJobView,
};
pub(crate) use self::{record::ScheduledJobRecord, request::JobRequest};
use super::{
    DataAction, Event, Failure, Grant, Hub,
    changes::Changes,
    continuation::Continuation,
    identities::to_json,
    journal::Operation,
    key::Key,
    queries::{MAX_PAGE, Page, Place, Row, Rows},
    throttle::Throttle,
};

/// The scheduled jobs of a hub, by id.
#[derive(Debug, Default)]
pub(crate) struct ScheduledJobs {
    all: Mutex<BTreeMap<Box<str>, Arc<Job>>>,
    /// Told when there is a job more.
    added: Notify,
    changes: Changes,
}

/// A scheduled job. What was asked for stays; how far it is changes.
#[derive(Debug)]
struct Job {
    id: Box<str>,
    work: Work,
    /// As the client wrote it, right or wrong.
    condition: Box<str>,
    created: OffsetDateTime,
    start: OffsetDateTime,
    most_time: Duration,
    progress: Mutex<Progress>,
}

/// Which jobs to list.
#[derive(Debug)]
pub(crate) struct JobFilter {
    kind: Option<JobType>,
    status: Option<JobStatus>,
}

impl Hub {
    pub(crate) fn schedule_job(&self, grant: &Grant, id: &str, request: JobRequest) -> Result<Vec<u8>, Failure> {
        self.allow(grant, DataAction::WriteJobs)?;
        let now = self.clock().now();
        let start = request.start.unwrap_or(now);
        if start - now > FURTHEST_START {
            let hours = FURTHEST_START.whole_hours();
            let text = format!("startTime is more than {hours} hours ahead");
            return Err(Failure::argument(text));
        }
        let job = Job {
            id: id.into(),
            work: request.work,
            condition: request.condition,
            created: now,
            start,
            most_time: request.most_time,
            progress: Mutex::default(),
        };
        let json = to_json(&JobDocument::new(&job, &job.progress())?)?;
        {
            let mut jobs = self.scheduled_jobs().remembered(now);
            if jobs.contains_key(id) {
                let text = format!("there is a job {id} already");
                return Err(Failure::new(HubErrorCode::JobAlreadyExists, text));
            }
            let active = jobs.values().filter(|job| job.progress().status.is_active());
            let most = self.throttle().map_or(MOST_ACTIVE, Throttle::active_jobs);
            if active.count() >= most {
                let text = format!("{most} jobs wait or run, which is the most");
                return Err(Failure::new(HubErrorCode::ThrottlingMaxActiveJobCountExceeded, text));
            }
            jobs.insert(id.into(), Arc::new(job));
            self.scheduled_jobs().note(id);
        }
        self.journal().record(Event::Executed {
            operation: Operation::ScheduleJob,
            on: id.to_owned(),
        });
        self.scheduled_jobs().added.notify_waiters();
        Ok(json)
    }

    /// A job that does not exist is not an error to the service, it is a job of which nothing is known.
    pub(crate) fn get_job(&self, grant: &Grant, id: &str) -> Result<Vec<u8>, Failure> {
        self.allow(grant, DataAction::ReadJobs)?;
        let job = self.scheduled_jobs().remembered(self.clock().now()).get(id).cloned();
        match job {
            Some(job) => to_json(&JobDocument::new(&job, &job.progress())?),
            None => to_json(&json!({ "jobId": id, "type": "unknown", "status": "unknown" })),
        }
    }

    /// Takes a job back that has not begun.
    pub(crate) fn cancel_job(&self, grant: &Grant, id: &str) -> Result<Vec<u8>, Failure> {
        self.allow(grant, DataAction::DeleteJobs)?;
        let now = self.clock().now();
        let job = self.scheduled_jobs().remembered(now).get(id).cloned();
        let job = job.ok_or_else(|| Failure::new(HubErrorCode::JobNotFound, format!("there is no job {id}")))?;
        let json = {
            let mut progress = job.progress();
            if !progress.status.is_waiting() {
                let text = format!(
                    "job {id} is {}, and only one that waits can be cancelled",
                    progress.status.as_str()
                );
                return Err(Failure::new(HubErrorCode::OperationNotAllowedInCurrentState, text));
            }
            progress.end(Status::Cancelled, now);
            self.scheduled_jobs().note(id);
            to_json(&JobDocument::new(&job, &progress)?)?
        };
        self.journal().record(Event::Executed {
            operation: Operation::CancelJob,
            on: id.to_owned(),
        });
        Ok(json)
    }

    /// Cancels what waits. What runs goes on, and finds no devices.
    pub(super) fn cancel_waiting_jobs(&self) {
        let now = self.clock().now();
        for job in self.scheduled_jobs().remembered(now).values() {
            let mut progress = job.progress();
            if progress.status.is_waiting() {
                progress.end(Status::Cancelled, now);
                self.scheduled_jobs().note(&job.id);
            }
        }
    }

    /// Jobs in the order of their ids, at most `most`, from where `continuation` says.
    pub(crate) fn list_jobs(
        &self,
        grant: &Grant,
        filter: &JobFilter,
        most: u64,
        continuation: Option<&str>,
    ) -> Result<Page, Failure> {
        self.allow(grant, DataAction::ReadJobs)?;
        let asked = filter.to_string();
        let start = match continuation {
            Some(token) => Continuation::parse(token, &asked)?.place,
            None => None,
        };
        let from = start.map(|(id, _)| id).unwrap_or_default();
        let mut rows = Rows::new(most.clamp(1, MAX_PAGE));
        let mut next = None;
        for job in self.scheduled_jobs().from(&from, self.clock().now()) {
            let progress = job.progress();
            if !filter.lets_through(job.work.kind(), progress.status) {
                continue;
            }
            if rows.is_full() {
                next = Some(Continuation::at((job.id.clone(), None)).token(&asked));
                break;
            }
            rows.push(&to_json(&JobDocument::new(&job, &progress)?)?);
        }
        Ok(Page {
            json: rows.finish(),
            item_type: "JobResponse",
            continuation: next,
        })
    }

    /// Shows what jobs have done with single devices until `visitor` has seen enough, and says where it stopped: in
    /// which job, and the how manieth device of it.
    pub(super) fn visit_device_jobs(
        &self,
        start: Option<Place>,
        mut visitor: impl FnMut(&dyn Row) -> bool,
    ) -> Option<Place> {
        let (from, within) = start.unwrap_or_default();
        let within: usize = within.and_then(|number| number.parse().ok()).unwrap_or(0);
        for job in self.scheduled_jobs().from(&from, self.clock().now()) {
            let skip = if job.id == from { within } else { 0 };
            let progress = job.progress();
            for (number, run) in progress.runs().iter().enumerate().skip(skip) {
                let view = DeviceJobView::new(&job, &progress, run);
                if !visitor(&view) {
                    return Some((job.id.clone(), Some(number.to_string().into())));
                }
            }
        }
        None
    }
}

impl ScheduledJobs {
    pub(super) fn new(changes: Changes) -> Self {
        Self {
            changes,
            ..Self::default()
        }
    }

    /// The ids of all jobs.
    pub(super) fn ids(&self) -> Vec<Box<str>> {
        self.lock().keys().cloned().collect()
    }

    /// Remembers a job that was stored.
    fn restore(&self, job: Job) {
        let mut all = self.lock();
        self.note(&job.id);
        all.insert(job.id.clone(), Arc::new(job));
        self.added.notify_waiters();
    }

    pub(crate) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    fn note(&self, id: &str) {
        self.changes.note(|| Key::ScheduledJob(id.into()));
    }

    /// All jobs but those that ended so long ago that the hub has forgotten them.
    fn remembered(&self, now: OffsetDateTime) -> MutexGuard<'_, BTreeMap<Box<str>, Arc<Job>>> {
        let mut all = self.lock();
        all.retain(|id, job| {
            let is_recent = job.progress().ended.is_none_or(|ended| now - ended < HISTORY);
            if !is_recent {
                self.note(id);
            }
            is_recent
        });
        all
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Arc<Job>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn from(&self, id: &str, now: OffsetDateTime) -> Vec<Arc<Job>> {
        self.remembered(now)
            .range::<str, _>((Bound::Included(id), Bound::Unbounded))
            .map(|(_, job)| Arc::clone(job))
            .collect()
    }
}

impl Job {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JobFilter {
    /// From words as clients have them: in any case, and .NET calls some types by names of its own.
    pub(crate) fn parse(kind: Option<&str>, status: Option<&str>) -> Result<Self, Failure> {
        let (kind, status) = (kind.map(JobType::from), status.map(JobStatus::from));
        match (&kind, &status) {
            (Some(JobType::Other(word)), _) => Err(Failure::argument(format!("there is no jobType {word:?}"))),
            (_, Some(JobStatus::Other(word))) => Err(Failure::argument(format!("there is no jobStatus {word:?}"))),
            _ => Ok(Self { kind, status }),
        }
    }

    fn lets_through(&self, kind: JobKind, status: Status) -> bool {
        let is_kind = self.kind.as_ref().is_none_or(|wanted| wanted.as_str() == kind.as_str());
        is_kind
            && self
                .status
                .as_ref()
                .is_none_or(|wanted| wanted.as_str() == status.as_str())
    }
}

/// What a continuation belongs to.
impl fmt::Display for JobFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_ref().map_or("any", JobType::as_str);
        let status = self.status.as_ref().map_or("any", JobStatus::as_str);
        write!(f, "jobs of type {kind} and status {status}")
    }
}

/// As many jobs wait or run in the largest edition of a hub, and in one that does not throttle.
const MOST_ACTIVE: usize = 10;
/// How far ahead a job may be scheduled.
const FURTHEST_START: Duration = Duration::hours(168);
/// How long jobs are remembered after their end.
const HISTORY: Duration = Duration::days(30);

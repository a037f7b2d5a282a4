use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::run::{Run, RunState};
use crate::hub::Failure;

/// How far a job is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) status: Status,
    pub(super) began: Option<OffsetDateTime>,
    pub(super) ended: Option<OffsetDateTime>,
    pub(super) failure: Option<Box<str>>,
    /// A part for each device that the condition has found. They stay in their places.
    runs: Box<[Run]>,
    /// `None` until they are known.
    counts: Option<Counts>,
    /// Why the device that failed last has done so. Most fail for the same reason.
    last_failure: Option<Arc<Failure>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Status {
    #[default]
    Queued,
    /// Waits for its start.
    Scheduled,
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// How the devices of a job stand.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Counts {
    #[serde(rename = "deviceCount")]
    all: u32,
    #[serde(rename = "failedCount")]
    failed: u32,
    #[serde(rename = "succeededCount")]
    succeeded: u32,
    #[serde(rename = "runningCount")]
    running: u32,
    #[serde(rename = "pendingCount")]
    pending: u32,
}

impl Progress {
    /// That of a job which began once, or never, and has done this with each device.
    pub(super) fn restored(began: Option<OffsetDateTime>, runs: Vec<Run>) -> Self {
        let mut counts = Counts {
            all: u32::try_from(runs.len()).unwrap_or(u32::MAX),
            ..Counts::default()
        };
        for run in &runs {
            *counts.of(&run.state) += 1;
        }
        Self {
            began,
            runs: runs.into(),
            counts: began.map(|_| counts),
            ..Self::default()
        }
    }

    pub(super) fn begin(&mut self, now: OffsetDateTime) {
        self.status = Status::Running;
        self.began = Some(now);
    }

    /// Says which devices the job is about.
    pub(super) fn found(&mut self, runs: Vec<Run>) {
        let count = u32::try_from(runs.len()).unwrap_or(u32::MAX);
        self.counts = Some(Counts {
            all: count,
            pending: count,
            ..Counts::default()
        });
        self.runs = runs.into();
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    pub(super) fn counts(&self) -> Option<Counts> {
        self.counts
    }

    pub(super) fn run_begins(&mut self, number: usize, now: OffsetDateTime) {
        self.set(number, RunState::Running, now);
    }

    pub(super) fn run_ends(&mut self, number: usize, outcome: Result<RunState, Failure>, now: OffsetDateTime) {
        let state = match outcome {
            Ok(state) => state,
            Err(failure) => {
                let shared = self.last_failure.take().filter(|last| **last == failure);
                let failure = shared.unwrap_or_else(|| Arc::new(failure));
                self.last_failure = Some(Arc::clone(&failure));
                RunState::Failed(failure)
            }
        };
        self.set(number, state, now);
    }

    pub(super) fn has_failed_with(&self, failure: &Failure) -> bool {
        let fits = |run: &Run| matches!(&run.state, RunState::Failed(why) if **why == *failure);
        self.counts.is_some_and(|counts| counts.failed > 0) && self.runs.iter().any(fits)
    }

    fn set(&mut self, number: usize, state: RunState, now: OffsetDateTime) {
        let since = self.began.map_or(Duration::ZERO, |began| now - began);
        let (Some(run), Some(counts)) = (self.runs.get_mut(number), &mut self.counts) else {
            return;
        };
        *counts.of(&run.state) -= 1;
        *counts.of(&state) += 1;
        run.set(state, since);
    }

    pub(super) fn end(&mut self, status: Status, now: OffsetDateTime) {
        self.status = status;
        self.ended = Some(now);
        self.last_failure = None;
    }

    pub(super) fn fail(&mut self, why: impl Into<Box<str>>, now: OffsetDateTime) {
        self.failure = Some(why.into());
        self.end(Status::Failed, now);
    }
}

impl Counts {
    fn of(&mut self, state: &RunState) -> &mut u32 {
        match state {
            RunState::Pending => &mut self.pending,
            RunState::Running => &mut self.running,
            RunState::Updated | RunState::Answered(_) => &mut self.succeeded,
            RunState::Failed(_) => &mut self.failed,
        }
    }
}

impl Status {
    /// Has not begun.
    pub(super) fn is_waiting(self) -> bool {
        matches!(self, Self::Queued | Self::Scheduled)
    }

    /// Has not ended.
    pub(super) fn is_active(self) -> bool {
        self.is_waiting() || self == Self::Running
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

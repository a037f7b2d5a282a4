use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use crate::hub::{Failure, Target, methods::MethodAnswer};

/// The part of a job that is about one device or module.
///
/// A job has one for each, and there may be hundreds of thousands, so it is no more than it has to be: times are
/// milliseconds from the begin of the job, and devices that failed for the same reason share it.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) device: Box<str>,
    pub(super) module: Option<Box<str>>,
    pub(super) state: RunState,
    pub(super) began: u32,
    pub(super) ended: u32,
}

#[derive(Debug)]
pub(super) enum RunState {
    Pending,
    Running,
    Updated,
    Answered(Box<Answer>),
    Failed(Arc<Failure>),
}

/// What a device answered to a method.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: i32,
    /// JSON as the device wrote it. A copy: what came over a connection may be a part of a much larger buffer.
    pub(super) payload: Box<[u8]>,
}

impl Run {
    pub(super) fn new(device: Box<str>, module: Option<Box<str>>) -> Self {
        Self {
            device,
            module,
            state: RunState::Pending,
            began: 0,
            ended: 0,
        }
    }

    pub(super) fn target(&self) -> Result<Target, Failure> {
        Target::parse(&self.device, self.module.as_deref())
    }

    /// `since` is how long the job has run.
    pub(super) fn set(&mut self, state: RunState, since: Duration) {
        let since = since.whole_milliseconds().try_into().unwrap_or(u32::MAX);
        match state {
            RunState::Pending => {}
            RunState::Running => self.began = since,
            // What fails before its turn begins and ends in one.
            _ if matches!(self.state, RunState::Pending) => (self.began, self.ended) = (since, since),
            _ => self.ended = since,
        }
        self.state = state;
    }

    pub(super) fn began(&self, job: OffsetDateTime) -> Option<OffsetDateTime> {
        let after = Duration::milliseconds(self.began.into());
        (!matches!(self.state, RunState::Pending)).then(|| job.saturating_add(after))
    }

    pub(super) fn ended(&self, job: OffsetDateTime) -> Option<OffsetDateTime> {
        let after = Duration::milliseconds(self.ended.into());
        let is_over = !matches!(self.state, RunState::Pending | RunState::Running);
        is_over.then(|| job.saturating_add(after))
    }
}

impl RunState {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Updated | Self::Answered(_) => "completed",
            Self::Failed(_) => "failed",
        }
    }
}

impl From<MethodAnswer> for RunState {
    fn from(answer: MethodAnswer) -> Self {
        Self::Answered(Box::new(Answer {
            status: answer.status,
            payload: answer.payload.as_ref().into(),
        }))
    }
}

use azure_core::http::{
    JsonFormat,
    poller::{PollerStatus, StatusMonitor},
};

use super::{ImportExportJob, JobStatus, ScheduledJob};

impl StatusMonitor for ImportExportJob {
    type Output = Self;
    type Format = JsonFormat;

    fn status(&self) -> PollerStatus {
        self.status.for_pollers()
    }
}

impl StatusMonitor for ScheduledJob {
    type Output = Self;
    type Format = JsonFormat;

    fn status(&self) -> PollerStatus {
        self.status.for_pollers()
    }
}

impl JobStatus {
    /// The hub has words of its own for how far a job is. One that nobody knows is not taken for an end.
    fn for_pollers(&self) -> PollerStatus {
        match self {
            Self::Completed => PollerStatus::Succeeded,
            Self::Failed => PollerStatus::Failed,
            Self::Cancelled => PollerStatus::Canceled,
            Self::Other(word) => PollerStatus::UnknownValue(word.clone()),
            _ => PollerStatus::InProgress,
        }
    }
}

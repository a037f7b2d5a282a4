use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Moment;
use crate::hub::{
    Hub,
    transfers::{Progress, Status, TransferKind},
};

/// An import or export job. Where it reads and writes is not kept, because that may hold signatures.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TransferRecord {
    job_id: String,
    kind: TransferKind,
    status: Status,
    progress: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_time: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_time: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure_reason: Option<String>,
}

impl TransferRecord {
    pub(super) fn of(hub: &Hub, id: &str) -> Option<Self> {
        let (kind, progress) = hub.transfers().progress(id)?;
        Some(Self {
            job_id: id.to_owned(),
            kind,
            status: progress.status,
            progress: progress.percent,
            start_time: progress.started.map(Moment),
            end_time: progress.ended.map(Moment),
            failure_reason: progress.failure,
        })
    }

    pub(super) fn restore(self, hub: &Hub, now: OffsetDateTime) {
        let progress = Progress {
            status: self.status,
            percent: self.progress,
            started: self.start_time.map(|Moment(time)| time),
            ended: self.end_time.map(|Moment(time)| time),
            failure: self.failure_reason,
        };
        hub.transfers().restore(self.job_id, self.kind, progress, now);
    }
}

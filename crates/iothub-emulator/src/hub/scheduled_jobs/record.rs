use std::sync::{Arc, Mutex};

use iothub_core::HubErrorCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::{
    Job,
    document::JobDocument,
    progress::{Progress, Status},
    request::JobRequest,
    run::{Answer, Run, RunState},
};
use crate::{
    hub::{Failure, Hub, identities::to_json},
    state::Moment,
};

/// A scheduled job as it is stored. What it has done with single devices is stored when it has ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ScheduledJobRecord {
    /// As clients see it.
    job: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began: Option<Moment>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    devices: Vec<RunRecord>,
}

/// What a job shows besides what was asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    job_id: Box<str>,
    created_time: Option<Moment>,
    end_time: Option<Moment>,
    #[serde(default)]
    status: Status,
    failure_reason: Option<Box<str>>,
}

/// Times are milliseconds from the begin of the job.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RunRecord {
    device_id: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    module_id: Option<Box<str>>,
    began: u32,
    ended: u32,
    outcome: Outcome,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Outcome {
    Updated,
    /// With the payload as text, because devices break lines as they like.
    Answered {
        status: i32,
        payload: String,
    },
    Failed {
        code: HubErrorCode,
        message: String,
    },
}

impl ScheduledJobRecord {
    pub(crate) fn of(hub: &Hub, id: &str) -> Option<Self> {
        let job = hub.scheduled_jobs().lock().get(id).cloned()?;
        let progress = job.progress();
        let json = to_json(&JobDocument::new(&job, &progress).ok()?).ok()?;
        let devices = match progress.ended {
            Some(_) => progress.runs().iter().filter_map(RunRecord::of).collect(),
            None => Vec::new(),
        };
        Some(Self {
            job: RawValue::from_string(String::from_utf8(json).ok()?).ok()?,
            began: progress.began.map(Moment),
            devices,
        })
    }

    /// Nobody goes on with what was under way: such a job has failed. One that waits still does.
    pub(crate) fn restore(self, hub: &Hub, now: OffsetDateTime) -> Result<(), Failure> {
        let json = self.job.get();
        let shown: Shown = serde_json::from_str(json).map_err(|error| Failure::argument(error.to_string()))?;
        let request = JobRequest::parse(&shown.job_id, json.as_bytes())?;
        let time = |moment: Option<Moment>| moment.map(|Moment(time)| time);
        let runs = self.devices.into_iter().map(RunRecord::restored).collect();
        let mut progress = Progress::restored(time(self.began), runs);
        progress.failure = shown.failure_reason;
        match shown.status {
            Status::Running => progress.fail("the hub ended while the job was under way", now),
            status if status.is_waiting() => progress.status = status,
            status => progress.end(status, time(shown.end_time).unwrap_or(now)),
        }
        let created = time(shown.created_time).unwrap_or(now);
        hub.scheduled_jobs().restore(Job {
            id: shown.job_id,
            work: request.work,
            condition: request.condition,
            created,
            start: request.start.unwrap_or(created),
            most_time: request.most_time,
            progress: Mutex::new(progress),
        });
        Ok(())
    }
}

impl RunRecord {
    fn of(run: &Run) -> Option<Self> {
        let outcome = match &run.state {
            RunState::Pending | RunState::Running => return None,
            RunState::Updated => Outcome::Updated,
            RunState::Answered(answer) => Outcome::Answered {
                status: answer.status,
                payload: String::from_utf8_lossy(&answer.payload).into_owned(),
            },
            RunState::Failed(failure) => Outcome::Failed {
                code: failure.code.clone(),
                message: failure.message.clone(),
            },
        };
        Some(Self {
            device_id: run.device.clone(),
            module_id: run.module.clone(),
            began: run.began,
            ended: run.ended,
            outcome,
        })
    }

    fn restored(self) -> Run {
        let state = match self.outcome {
            Outcome::Updated => RunState::Updated,
            Outcome::Answered { status, payload } => RunState::Answered(Box::new(Answer {
                status,
                payload: payload.into_bytes().into(),
            })),
            Outcome::Failed { code, message } => RunState::Failed(Arc::new(Failure::new(code, message))),
        };
        Run {
            device: self.device_id,
            module: self.module_id,
            state,
            began: self.began,
            ended: self.ended,
        }
    }
}

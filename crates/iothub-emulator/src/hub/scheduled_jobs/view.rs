use time::OffsetDateTime;

use super::{
    Job,
    progress::Progress,
    run::{Run, RunState},
};
use crate::hub::{
    Failure,
    json_text::quoted,
    queries::Row,
    query::{Document, Found},
    timestamp,
};

/// What a job has done with one device: a row of `devices.jobs`, written out only when somebody wants it whole.
pub(super) struct DeviceJobView<'a> {
    job: &'a Job,
    began: OffsetDateTime,
    run: &'a Run,
}

impl<'a> DeviceJobView<'a> {
    pub(super) fn new(job: &'a Job, progress: &Progress, run: &'a Run) -> Self {
        Self {
            job,
            began: progress.began.unwrap_or(job.created),
            run,
        }
    }

    fn text(&self, name: &str) -> Option<Found<'_>> {
        let Self { job, began, run } = self;
        let time = |time: OffsetDateTime| Found::from(timestamp::text(time));
        match name {
            "deviceId" => Some((&*run.device).into()),
            "moduleId" => run.module.as_deref().map(Found::from),
            "jobId" => Some((&*job.id).into()),
            "jobType" => Some(job.work.kind().as_str().into()),
            "status" => Some(run.state.as_str().into()),
            "startTimeUtc" => run.began(*began).map(time),
            "endTimeUtc" => run.ended(*began).map(time),
            "createdDateTimeUtc" => Some(time(job.created)),
            "lastUpdatedDateTimeUtc" => {
                let last = run.ended(*began).or_else(|| run.began(*began));
                Some(time(last.unwrap_or(job.created)))
            }
            _ => None,
        }
    }

    /// Members that are objects, as JSON.
    fn object(&self, name: &str) -> Option<String> {
        match (name, &self.run.state) {
            ("outcome", RunState::Updated) => Some(r#"{"deviceMethodResponse":null}"#.to_owned()),
            ("outcome", RunState::Answered(answer)) => Some(format!(
                r#"{{"deviceMethodResponse":{{"status":{},"payload":{}}}}}"#,
                answer.status,
                String::from_utf8_lossy(&answer.payload)
            )),
            // That the code is a name, not a number, is a guess: the documentation shows neither.
            ("error", RunState::Failed(failure)) => Some(format!(
                r#"{{"code":{},"description":{}}}"#,
                quoted(failure.code.as_str()),
                quoted(&failure.message)
            )),
            _ => None,
        }
    }
}

impl Document for DeviceJobView<'_> {
    fn find<'a>(&'a self, names: &[Box<str>]) -> Option<Found<'a>> {
        let (first, rest) = names.split_first()?;
        if let (Some(found), []) = (self.text(first), rest) {
            return Some(found);
        }
        let json = self.object(first)?;
        match Found::within(&json, rest)? {
            Found::Json(json) => Some(Found::Json(json.into_owned().into())),
            _ => None,
        }
    }
}

impl Row for DeviceJobView<'_> {
    fn write(&self) -> Result<Vec<u8>, Failure> {
        let mut members = Vec::with_capacity(TEXTS.len() + 1);
        for name in TEXTS {
            if let Some(Found::Text(text)) = self.text(name) {
                members.push(format!("\"{name}\":{}", quoted(&text)));
            }
        }
        for name in ["outcome", "error"] {
            members.extend(self.object(name).map(|json| format!("\"{name}\":{json}")));
        }
        Ok(format!("{{{}}}", members.join(",")).into_bytes())
    }
}

const TEXTS: [&str; 9] = [
    "deviceId",
    "moduleId",
    "jobId",
    "jobType",
    "status",
    "startTimeUtc",
    "endTimeUtc",
    "createdDateTimeUtc",
    "lastUpdatedDateTimeUtc",
];

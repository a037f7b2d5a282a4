use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Job,
    progress::{Counts, Progress},
    request::Work,
};
use crate::hub::{Failure, json_text::broken, timestamp};

/// A job as clients see it. What is not known yet is left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobDocument<'a> {
    job_id: &'a str,
    query_condition: &'a str,
    created_time: String,
    start_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<String>,
    max_execution_time_in_seconds: i64,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_to_device_method: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_twin: Option<Box<RawValue>>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_job_statistics: Option<Counts>,
}

impl<'a> JobDocument<'a> {
    pub(super) fn new(job: &'a Job, progress: &'a Progress) -> Result<Self, Failure> {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).map_err(broken);
        let (method, twin) = match &job.work {
            Work::InvokeMethod { json, .. } => (Some(raw(json)?), None),
            Work::UpdateTwin { json, .. } => (None, Some(raw(json)?)),
        };
        Ok(Self {
            job_id: &job.id,
            query_condition: &job.condition,
            created_time: timestamp::text(job.created),
            start_time: timestamp::text(job.start),
            end_time: progress.ended.map(timestamp::text),
            max_execution_time_in_seconds: job.most_time.whole_seconds(),
            r#type: job.work.kind().as_str(),
            cloud_to_device_method: method,
            update_twin: twin,
            status: progress.status.as_str(),
            failure_reason: progress.failure.as_deref(),
            device_job_statistics: progress.counts(),
        })
    }
}

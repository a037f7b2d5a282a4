use super::{answer::Answer, call::Call, queries};
use crate::hub::{
    Failure, Hub,
    scheduled_jobs::{JobFilter, JobRequest},
};

pub(crate) fn put(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let id = call.segment(2);
    let request = JobRequest::parse(id, &call.body)?;
    hub.schedule_job(&call.grant, id, request).map(Answer::json)
}

pub(crate) fn get(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    hub.get_job(&call.grant, call.segment(2)).map(Answer::json)
}

pub(crate) fn cancel(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    hub.cancel_job(&call.grant, call.segment(2)).map(Answer::json)
}

pub(crate) fn list(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let word = |name: &str| call.parameter(name).filter(|word| !word.is_empty());
    let filter = JobFilter::parse(word("jobType"), word("jobStatus"))?;
    let (most, continuation) = queries::paging(call)?;
    hub.list_jobs(&call.grant, &filter, most, continuation)
        .map(queries::answer)
}

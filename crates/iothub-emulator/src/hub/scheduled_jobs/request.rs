use iothub_core::HubErrorCode;
use time::{
    Duration, OffsetDateTime, PrimitiveDateTime,
    format_description::well_known::{Iso8601, Rfc3339},
};

use crate::hub::{
    Failure,
    identity_request::{Members, object},
    if_match::IfMatch,
    json_text::{RawMembers, compact},
    method_call::MethodCall,
    twin_request::TwinRequest,
};

/// What a client wants a job to be.
#[derive(Debug)]
pub(crate) struct JobRequest {
    pub(super) work: Work,
    pub(super) condition: Box<str>,
    /// `None` for at once.
    pub(super) start: Option<OffsetDateTime>,
    pub(super) most_time: Duration,
}

/// What a job does with each device. `json` is that as the client wrote it, to be shown again.
#[derive(Debug)]
pub(super) enum Work {
    InvokeMethod {
        call: MethodCall,
        json: Box<str>,
    },
    UpdateTwin {
        request: TwinRequest,
        condition: IfMatch,
        json: Box<str>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobKind {
    InvokeMethod,
    UpdateTwin,
}

impl JobRequest {
    pub(crate) fn parse(id: &str, body: &[u8]) -> Result<Self, Failure> {
        check_id(id)?;
        let all = object(body)?;
        let members = Members(&all);
        if let Some(other) = members.text("jobId")?.filter(|other| *other != id) {
            let text = format!("jobId is {other:?} in the body and {id:?} in the path");
            return Err(Failure::argument(text));
        }
        let condition = members.text("queryCondition")?.filter(|text| !text.trim().is_empty());
        let condition = condition.ok_or_else(|| {
            Failure::argument("queryCondition is missing: * is all devices, deviceId IN ['a', 'b'] some of them")
        })?;
        if condition.chars().count() > MAX_CONDITION {
            let text = format!("queryCondition has at most {MAX_CONDITION} characters");
            return Err(Failure::argument(text));
        }
        let most_time = match members.value("maxExecutionTimeInSeconds") {
            None => DEFAULT_TIME,
            Some(seconds) => match seconds.as_i64() {
                Some(0) => DEFAULT_TIME,
                Some(seconds @ 1..) => Duration::seconds(seconds.min(MOST_SECONDS)),
                _ => {
                    return Err(Failure::argument(
                        "maxExecutionTimeInSeconds has to be a whole number that is not negative",
                    ));
                }
            },
        };
        Ok(Self {
            work: Work::parse(members, body)?,
            condition: condition.into(),
            start: members.text("startTime")?.map(time).transpose()?,
            most_time,
        })
    }
}

impl Work {
    fn parse(members: Members<'_>, body: &[u8]) -> Result<Self, Failure> {
        match members.text("type")? {
            Some(kind) if kind.eq_ignore_ascii_case(JobKind::InvokeMethod.as_str()) => {
                let json = member(body, "cloudToDeviceMethod")?;
                Ok(Self::InvokeMethod {
                    call: MethodCall::parse(json.as_bytes())?,
                    json,
                })
            }
            Some(kind) if kind.eq_ignore_ascii_case(JobKind::UpdateTwin.as_str()) => {
                let json = member(body, "updateTwin")?;
                let etag = members
                    .object("updateTwin")?
                    .map(|twin| twin.text("etag"))
                    .transpose()?;
                Ok(Self::UpdateTwin {
                    request: TwinRequest::parse(json.as_bytes())?,
                    condition: IfMatch::parse(etag.flatten()),
                    json,
                })
            }
            other => Err(Failure::argument(format!(
                "the type of a scheduled job is scheduleDeviceMethod or scheduleUpdateTwin, not {}",
                other.unwrap_or("nothing")
            ))),
        }
    }

    pub(super) fn kind(&self) -> JobKind {
        match self {
            Self::InvokeMethod { .. } => JobKind::InvokeMethod,
            Self::UpdateTwin { .. } => JobKind::UpdateTwin,
        }
    }
}

impl JobKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::InvokeMethod => "scheduleDeviceMethod",
            Self::UpdateTwin => "scheduleUpdateTwin",
        }
    }
}

fn check_id(id: &str) -> Result<(), Failure> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.'".contains(c);
    if id.is_empty() || id.len() > MAX_ID || !id.chars().all(allowed) {
        let text = format!("{id:?} is not the id of a job: 1 to {MAX_ID} of A-Z a-z 0-9 - _ . '");
        return Err(Failure::argument(text));
    }
    Ok(())
}

/// The text of a member, in which numbers stay as the client wrote them.
fn member(body: &[u8], name: &str) -> Result<Box<str>, Failure> {
    let format = |text: String| Failure::new(HubErrorCode::IotHubFormatError, text);
    let text = std::str::from_utf8(body).map_err(|_| format("the body is not UTF-8".to_owned()))?;
    let text = compact(text)?;
    let RawMembers(members) = serde_json::from_str(&text).map_err(|error| format(error.to_string()))?;
    let found = members.into_iter().rfind(|(known, _)| known == name);
    let found = found
        .map(|(_, value)| value.get())
        .filter(|value| value.starts_with('{'));
    let found = found.ok_or_else(|| Failure::argument(format!("{name} has to be an object")))?;
    Ok(found.into())
}

/// ISO 8601. What has no zone is in UTC.
fn time(text: &str) -> Result<OffsetDateTime, Failure> {
    OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(text, &Iso8601::DEFAULT))
        .or_else(|_| PrimitiveDateTime::parse(text, &Iso8601::DEFAULT).map(PrimitiveDateTime::assume_utc))
        .map_err(|_| Failure::argument(format!("startTime {text:?} is no time of ISO 8601")))
}

const MAX_ID: usize = 64;
/// The published limit of a query.
const MAX_CONDITION: usize = 8192;
/// What Microsoft's SDKs ask for unless told otherwise.
const DEFAULT_TIME: Duration = Duration::hours(1);
/// More than a century is without end.
const MOST_SECONDS: i64 = 100 * 366 * 24 * 3600;

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_are_read_as_the_sdks_write_them() {
        for text in [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.000Z",
            "2026-01-02T03:04:05.0000000Z",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05.000000",
            "2026-01-02T04:04:05+01:00",
        ] {
            assert_eq!(time(text).unwrap(), datetime!(2026-01-02 03:04:05 UTC), "{text}");
        }
        assert!(time("tomorrow").is_err());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let good = json!({
            "jobId": "j1", "type": "ScheduleUpdateTwin", "updateTwin": { "etag": "*", "tags": { "a": 1.0 } },
            "queryCondition": "*",
        });
        let request = JobRequest::parse("j1", good.to_string().as_bytes()).unwrap();
        assert_eq!((request.start, request.most_time), (None, Duration::HOUR));
        let Work::UpdateTwin { json, condition, .. } = &request.work else {
            panic!("it updates twins")
        };
        assert_eq!(
            (&**json, condition),
            (r#"{"etag":"*","tags":{"a":1.0}}"#, &IfMatch::Any)
        );

        for (name, value, why) in [
            ("jobId", json!("j2"), "in the path"),
            (
                "type",
                json!("export"),
                "scheduleDeviceMethod or scheduleUpdateTwin, not export",
            ),
            (
                "type",
                json!("scheduleDeviceMethod"),
                "cloudToDeviceMethod has to be an object",
            ),
            ("updateTwin", json!(null), "updateTwin has to be an object"),
            ("updateTwin", json!({ "tags": { "a.b": 1 } }), "names hold no dot"),
            ("queryCondition", json!(" "), "queryCondition is missing"),
            ("queryCondition", json!("x".repeat(8193)), "at most 8192"),
            ("startTime", json!("tomorrow"), "ISO 8601"),
            ("maxExecutionTimeInSeconds", json!(-1), "not negative"),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            let failure = JobRequest::parse("j1", bad.to_string().as_bytes()).unwrap_err();
            assert!(failure.message.contains(why), "{bad}: {}", failure.message);
        }
        assert!(JobRequest::parse("a b", good.to_string().as_bytes()).is_err());
    }
}

//! Messages of devices that speak HTTPS.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::header::{CONTENT_TYPE, ETAG, HeaderName};
use iothub_core::HubErrorCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{answer::Answer, call::Call};
use crate::hub::{D2cMessage, Failure, Hub, Outcome, timestamp};

/// Takes one message, or a batch of them.
pub(crate) fn send(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let device = hub.admit(&call.grant, call.device_id()?)?;
    device.calls_over(call.line().breaker());
    let is_batch = call.header(CONTENT_TYPE.as_str()).is_some_and(is_batch);
    if !is_batch {
        let mut message = D2cMessage::from(call.body.clone());
        for (name, value) in call.headers() {
            // What is no text cannot be a property, and is no header that means anything here.
            if let Ok(value) = value.to_str() {
                put(&mut message, name.as_str(), value)?;
            }
        }
        device.send_all(vec![message])?;
        return Ok(Answer::nothing());
    }
    let items: Vec<BatchItem> = serde_json::from_slice(&call.body).map_err(|error| {
        let text = format!("the body is not a batch of messages: {error}");
        Failure::new(HubErrorCode::IotHubFormatError, text)
    })?;
    let messages = items.into_iter().map(BatchItem::into_message);
    device.send_all(messages.collect::<Result<_, _>>()?)?;
    Ok(Answer::nothing())
}

/// Hands out the next cloud-to-device message, if there is one.
pub(crate) fn receive(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let device = hub.admit(&call.grant, call.device_id()?)?;
    let lock = call.parameter(LOCK_TIMEOUT).or_else(|| call.header(LOCK_TIMEOUT));
    let lock = lock.map_or(Ok(60), |lock| {
        let seconds = lock.parse::<i64>().ok();
        seconds.filter(|seconds| LOCKS.contains(seconds)).ok_or_else(|| {
            let (least, most) = LOCKS.into_inner();
            Failure::argument(format!(
                "{LOCK_TIMEOUT} is {lock:?}, and has to be from {least} to {most} seconds"
            ))
        })
    })?;
    let Some(locked) = device.take_message(Duration::seconds(lock))? else {
        return Ok(Answer::nothing());
    };
    let message = &locked.message;
    let user_id = message.user_id.as_deref().map(String::from_utf8_lossy);
    let expiry = message.expiry.map(timestamp::text);
    let optional = [
        ("iothub-messageid", message.message_id.as_deref()),
        ("iothub-correlationid", message.correlation_id.as_deref()),
        ("iothub-userid", user_id.as_deref()),
        ("iothub-to", message.to.as_deref()),
        ("iothub-expiry", expiry.as_deref()),
        ("iothub-contenttype", message.content_type.as_deref()),
        ("contenttype", message.content_type.as_deref()),
        ("iothub-contentencoding", message.content_encoding.as_deref()),
        ("contentencoding", message.content_encoding.as_deref()),
        ("iothub-messageschema", message.message_schema.as_deref()),
        ("iothub-creationtimeutc", message.creation_time.as_deref()),
    ];
    let always = [
        ("iothub-ack", message.ack.name().to_owned()),
        ("iothub-sequencenumber", locked.sequence.to_string()),
        ("iothub-enqueuedtime", timestamp::text(locked.enqueued)),
        ("iothub-deliverycount", locked.deliveries.to_string()),
    ];
    let mut answer = Answer::bytes(message.body.clone()).with(ETAG, &format!("\"{}\"", locked.token));
    for (name, value) in optional.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        answer = answer.with(HeaderName::from_static(name), value);
    }
    for (name, value) in &always {
        answer = answer.with(HeaderName::from_static(name), value);
    }
    for (name, value) in &message.properties {
        // A name that no header can have is left out, as HTTP leaves no choice.
        if let Ok(name) = HeaderName::try_from(format!("{PROPERTY}{name}")) {
            answer = answer.with(name, value);
        }
    }
    Ok(answer)
}

/// Completes a message, or rejects it if the query says so.
pub(crate) fn complete(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    match call.parameter("reject") {
        Some(_) => settle(hub, call, Outcome::Rejected),
        None => settle(hub, call, Outcome::Completed),
    }
}

pub(crate) fn abandon(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    settle(hub, call, Outcome::Abandoned)
}

fn settle(hub: &Hub, call: &Call, outcome: Outcome) -> Result<Answer, Failure> {
    let device = hub.admit(&call.grant, call.device_id()?)?;
    device.settle_message(call.segment(4).trim_matches('"'), outcome)?;
    Ok(Answer::nothing())
}

/// One message of a batch.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchItem {
    body: String,
    #[serde(default)]
    base64_encoded: Option<bool>,
    #[serde(default)]
    properties: Option<Map<String, Value>>,
}

impl BatchItem {
    fn into_message(self) -> Result<D2cMessage, Failure> {
        let mut message = if self.base64_encoded.unwrap_or(true) {
            let body = BASE64_STANDARD.decode(&self.body);
            let body = body.map_err(|_| Failure::argument("the body of a message in the batch is not base64"))?;
            D2cMessage::from(body)
        } else {
            D2cMessage::from(self.body)
        };
        for (name, value) in self.properties.into_iter().flatten() {
            let text = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            put(&mut message, &name, &text)?;
        }
        Ok(message)
    }
}

/// Puts a header where it belongs in a message, or passes over it.
fn put(message: &mut D2cMessage, name: &str, value: &str) -> Result<(), Failure> {
    let lower = name.to_ascii_lowercase();
    if lower.starts_with(PROPERTY) {
        message
            .properties
            .push((name[PROPERTY.len()..].to_owned(), value.to_owned()));
        return Ok(());
    }
    let slot = match lower.as_str() {
        "iothub-messageid" => &mut message.message_id,
        "iothub-correlationid" => &mut message.correlation_id,
        "iothub-to" => &mut message.to,
        "iothub-contenttype" => &mut message.content_type,
        "iothub-contentencoding" => &mut message.content_encoding,
        "iothub-creationtimeutc" => &mut message.creation_time,
        "iothub-messageschema" => &mut message.message_schema,
        "iothub-interface-id" => &mut message.interface_id,
        "dt-subject" => &mut message.component,
        "iothub-userid" => {
            message.user_id = Some(value.to_owned().into());
            return Ok(());
        }
        "iothub-expiry" => {
            let expiry = OffsetDateTime::parse(value, &Rfc3339);
            let wrong = |_| {
                Failure::argument(format!(
                    "iothub-expiry is {value:?}, and should be as 2026-01-01T00:00:00Z"
                ))
            };
            message.expiry = Some(expiry.map_err(wrong)?);
            return Ok(());
        }
        _ => return Ok(()),
    };
    *slot = Some(value.to_owned());
    Ok(())
}

fn is_batch(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/vnd.microsoft.iothub.json")
}

const PROPERTY: &str = "iothub-app-";
const LOCK_TIMEOUT: &str = "iothub-messagelocktimeout";

/// In seconds, as the service has it for its own queues.
const LOCKS: std::ops::RangeInclusive<i64> = 5..=300;

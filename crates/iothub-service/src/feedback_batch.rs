use azure_core::{Error, error::ErrorKind, fmt::SafeDebug};
use iothub_core::{
    Result,
    amqp::{AmqpBody, AmqpMessage, AmqpValue},
    models::{FeedbackRecord, FileNotification},
};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::intake::Content;

/// What became of some messages, of whoever sent them to whichever device.
#[derive(Clone, PartialEq, SafeDebug)]
#[safe(true)]
#[non_exhaustive]
pub struct FeedbackBatch {
    /// When the hub made the batch, if it says so.
    pub enqueued_time: Option<OffsetDateTime>,
    /// A record for each message.
    pub records: Vec<FeedbackRecord>,
}

impl FeedbackBatch {
    /// Out of the JSON that both AMQP and HTTPS bring.
    pub(crate) fn read(json: &[u8]) -> Result<Self> {
        Ok(Self {
            enqueued_time: None,
            records: parse(json, "feedback: a JSON array of records")?,
        })
    }
}

impl Content for FeedbackBatch {
    const ADDRESS: &'static str = "/messages/serviceBound/feedback";

    fn read(message: &AmqpMessage) -> Result<Self> {
        Ok(Self {
            enqueued_time: match message.message_annotation("iothub-enqueuedtime") {
                Some(AmqpValue::Timestamp(time)) => Some(*time),
                _ => None,
            },
            ..Self::read(json(&message.body)?)?
        })
    }

    fn records(&self) -> &[FeedbackRecord] {
        &self.records
    }
}

impl Content for FileNotification {
    const ADDRESS: &'static str = "/messages/serviceBound/filenotifications";

    fn read(message: &AmqpMessage) -> Result<Self> {
        parse(json(&message.body)?, "a file notification: a JSON object")
    }
}

fn json(body: &AmqpBody) -> Result<&[u8]> {
    match body {
        AmqpBody::Data(data) | AmqpBody::Value(AmqpValue::Binary(data)) => Ok(data),
        AmqpBody::Value(AmqpValue::String(text)) => Ok(text.as_bytes()),
        other => Err(Error::with_message(
            ErrorKind::DataConversion,
            format!("the hub sent a message with the body {other:?}, where one section of data was expected"),
        )),
    }
}

fn parse<T: DeserializeOwned>(json: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| {
        let message = format!("the hub sent a message of {} bytes that is not {what}", json.len());
        Error::with_error(ErrorKind::DataConversion, error, message)
    })
}

#[cfg(test)]
mod tests {
    use iothub_core::models::FeedbackStatus;

    use super::*;

    /// The first record has the members that Microsoft documents; the second has what hubs have left out, and what they
    /// may one day send.
    #[test]
    fn records_are_read_whatever_is_missing_or_new() {
        let json = br#"[
            {"originalMessageId":"m-1","deviceId":"lamp","deviceGenerationId":"635","enqueuedTimeUtc":"2030-01-02T03:04:05.678Z",
             "statusCode":"Rejected","description":"Rejected"},
            {"originalMessageId":"m-2","deviceId":"lamp"},
            {"originalMessageId":"m-3","deviceId":"lamp","statusCode":"Melted","temperature":1}
        ]"#;
        let records = FeedbackBatch::read(json).unwrap().records;
        let found: Vec<_> = records
            .iter()
            .map(|record| (record.original_message_id.as_str(), &record.status))
            .collect();
        let melted = FeedbackStatus::Other("Melted".to_owned());
        assert_eq!(
            found,
            [
                ("m-1", &FeedbackStatus::Rejected),
                ("m-2", &FeedbackStatus::Success),
                ("m-3", &melted)
            ]
        );
        assert_eq!(records[2].other["temperature"], 1);
    }

    #[test]
    fn what_is_something_else_is_refused_and_not_shown() {
        for body in [
            AmqpBody::Empty,
            AmqpBody::Data("secret".into()),
            AmqpBody::Data(r#"{"secret":1}"#.into()),
            AmqpBody::Value(AmqpValue::Boolean(true)),
        ] {
            let message = AmqpMessage {
                body,
                ..AmqpMessage::default()
            };
            let error = <FeedbackBatch as Content>::read(&message).unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::DataConversion);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}

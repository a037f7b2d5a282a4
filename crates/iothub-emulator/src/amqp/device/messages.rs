//! `messages/devicebound`: what services send to a device.

use std::sync::Arc;

use futures::future::BoxFuture;
use uuid::Uuid;

use super::Line;
use crate::{
    amqp::{
        error::AmqpError,
        message::{Body, Message, Properties},
        node::{LinkRequest, LinkSource, OutgoingMessage},
        outcome::Outcome,
        value::Value,
    },
    hub::{self, queue::LockedMessage},
};

pub(super) fn source(_: &LinkRequest<'_>, line: &Arc<Line>) -> Arc<dyn LinkSource> {
    Arc::new(Messages(Arc::clone(line)))
}

struct Messages(Arc<Line>);

impl LinkSource for Messages {
    fn next(&self) -> BoxFuture<'_, Result<OutgoingMessage, AmqpError>> {
        Box::pin(async {
            let locked = self.0.session.next_message().await;
            Ok(OutgoingMessage {
                tag: locked.token,
                payload: encode(&locked).into_bytes(),
            })
        })
    }

    fn settle(&self, tag: Uuid, outcome: Outcome) -> Result<(), AmqpError> {
        let outcome = match outcome {
            Outcome::Accepted => hub::Outcome::Completed,
            Outcome::Rejected(_) => hub::Outcome::Rejected,
            Outcome::Released | Outcome::Modified { .. } => hub::Outcome::Abandoned,
        };
        let settled = self.0.session.settle_message(tag, outcome);
        settled.map_err(|failure| self.0.refusal(failure))
    }
}

fn encode(locked: &LockedMessage) -> Message {
    let message = &*locked.message;
    let system = [
        ("iothub-ack", Some(message.ack.name())),
        ("iothub-message-schema", message.message_schema.as_deref()),
        ("iothub-creation-time-utc", message.creation_time.as_deref()),
    ];
    let system = system
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    let properties = system.chain(message.properties.iter().cloned());
    let optional = |text: &Option<String>| text.clone().map_or(Value::Null, Value::String);
    Message {
        annotations: vec![
            ("iothub-enqueuedtime".to_owned(), locked.enqueued.into()),
            ("iothub-deliverycount".to_owned(), Value::Ubyte(locked.deliveries)),
            ("x-opt-sequence-number".to_owned(), Value::Ulong(locked.sequence)),
            ("x-opt-lock-token".to_owned(), Value::String(locked.token.to_string())),
        ],
        properties: Properties {
            message_id: optional(&message.message_id),
            user_id: message.user_id.clone(),
            to: message.to.clone(),
            correlation_id: optional(&message.correlation_id),
            content_type: message.content_type.clone(),
            content_encoding: message.content_encoding.clone(),
            absolute_expiry_time: message.expiry.and_then(milliseconds),
            ..Properties::default()
        },
        application_properties: properties.map(|(name, value)| (name, Value::String(value))).collect(),
        body: Body::Data(vec![message.body.clone()]),
        ..Message::default()
    }
}

fn milliseconds(time: time::OffsetDateTime) -> Option<i64> {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

//! `…/ConsumerGroups/{group}/Partitions/{id}`: what devices have sent, and send from now on.

use std::sync::Arc;

use futures::future::BoxFuture;
use uuid::Uuid;

use super::{Node, filter, last_enqueued, long};
use crate::{
    amqp::{
        error::{AmqpError, condition},
        message::{Body, Message, Properties},
        node::{LinkRequest, LinkSource, OutgoingMessage, Source, Terminus},
        outcome::Outcome,
        peer::Peer,
        value::Value,
    },
    hub::{
        event_readers::{EventReader, NoReader},
        telemetry::TelemetryEvent,
    },
};

pub(super) fn source(
    request: &LinkRequest<'_>,
    group: &str,
    partition: &str,
    peer: &Arc<Peer>,
) -> Result<Source, AmqpError> {
    let access = Node::Partition { group, partition }.access(peer);
    // Before anything happens: a stranger must not drive other receivers away.
    peer.check(&access)?;
    let epoch = request.property("com.microsoft:epoch").and_then(Value::as_integer);
    let start = filter::start(request.source)?;
    let reader = peer.hub.read_events(group, partition, start, epoch)?;
    let outranked = reader.outranked();
    let events = Events {
        reader,
        tells_last: request.desires("com.microsoft:enable-receiver-runtime-metric"),
    };
    let name = request
        .property("com.microsoft.com:receiver-name")
        .and_then(Value::as_text);
    let name = name.map(|name| format!(" {name:?}")).unwrap_or_default();
    Ok(
        Terminus::new(Arc::new(events) as Arc<dyn LinkSource>, access).until(async move {
            outranked.await;
            let text = format!("the receiver{name} makes way for one with a higher epoch, or the same");
            AmqpError::new(condition::STOLEN, text)
        }),
    )
}

struct Events {
    reader: EventReader,
    /// Whether each message goes with what the last one of the partition is.
    tells_last: bool,
}

impl LinkSource for Events {
    fn next(&self) -> BoxFuture<'_, Result<OutgoingMessage, AmqpError>> {
        Box::pin(async {
            let event = self.reader.next().await;
            let mut message = encode(&event);
            if self.tells_last {
                let (last, now) = self.reader.last();
                let last = last.as_deref().unwrap_or(&event);
                let said = last_enqueued(last.sequence_number + 1, Some(last)).into_iter();
                let all = said.chain([("runtime_info_retrieval_time_utc", now.into())]);
                message.delivery_annotations = all.map(|(name, value)| (name.to_owned(), value)).collect();
            }
            let tag = Uuid::new_v4();
            let payload = message.into_bytes();
            Ok(OutgoingMessage { tag, payload })
        })
    }

    /// Reading takes nothing away: whoever wants a message again, attaches again where it was.
    fn settle(&self, _: Uuid, _: Outcome) -> Result<(), AmqpError> {
        Ok(())
    }
}

fn encode(event: &TelemetryEvent) -> Message {
    let message = &event.message;
    let text = |text: &str| Value::String(text.to_owned());
    let device = event.source.device();
    let always = [
        ("x-opt-sequence-number", Value::Long(long(event.sequence_number))),
        ("x-opt-offset", Value::String(event.offset.to_string())),
        ("x-opt-enqueued-time", event.enqueued_time.into()),
        ("x-opt-partition-key", text(device)),
        ("iothub-connection-device-id", text(device)),
        ("iothub-connection-auth-generation-id", text(&event.generation_id)),
        ("iothub-connection-auth-method", text(&auth_method(event))),
        ("iothub-enqueuedtime", event.enqueued_time.into()),
        ("iothub-message-source", text("Telemetry")),
    ];
    let optional = [
        ("iothub-connection-module-id", event.source.module()),
        ("iothub-interface-id", message.interface_id.as_deref()),
        ("dt-subject", message.component.as_deref()),
    ];
    let optional = optional
        .into_iter()
        .filter_map(|(name, value)| Some((name, text(value?))));
    let system = [
        ("iothub-creation-time-utc", &message.creation_time),
        ("iothub-message-schema", &message.message_schema),
    ];
    let system = system
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    let properties = message.properties.iter().cloned().chain(system);
    let id = |id: &Option<String>| id.clone().map_or(Value::Null, Value::String);
    Message {
        annotations: always
            .into_iter()
            .chain(optional)
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        properties: Properties {
            message_id: id(&message.message_id),
            user_id: message.user_id.clone(),
            to: message.to.clone(),
            correlation_id: id(&message.correlation_id),
            content_type: message.content_type.clone(),
            content_encoding: message.content_encoding.clone(),
            ..Properties::default()
        },
        application_properties: properties.map(|(name, value)| (name, Value::String(value))).collect(),
        body: Body::Data(vec![message.body.clone()]),
        ..Message::default()
    }
}

/// How the sender has shown who it is, as JSON.
fn auth_method(event: &TelemetryEvent) -> String {
    let scope = if event.source.module().is_some() {
        "module"
    } else {
        "device"
    };
    let (kind, issuer) = match event.authentication {
        "sas" => ("sas", "iothub"),
        _ => ("x509", "external"),
    };
    format!(r#"{{"scope":"{scope}","type":"{kind}","issuer":"{issuer}","acceptingIpFilterRule":null}}"#)
}

impl From<NoReader> for AmqpError {
    fn from(refusal: NoReader) -> Self {
        match refusal {
            NoReader::Outranked(text) => Self::new(condition::STOLEN, text),
            NoReader::TooMany(text) => Self::new(condition::RESOURCE_LIMIT_EXCEEDED, text),
            NoReader::Failure(failure) => failure.into(),
        }
    }
}

//! `messages/events`: what a device tells the services.

use std::sync::Arc;

use futures::future::{BoxFuture, pending};
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::Line;
use crate::{
    amqp::{
        device_message,
        error::AmqpError,
        message::{Body, Message},
        node::{IncomingMessage, LinkRequest, LinkSource, LinkTarget, OutgoingMessage, Settlement},
        outcome::Outcome,
        peer::Peer,
        value::time,
    },
    hub::{AmqpEvent, D2cMessage, Failure},
};

pub(super) fn target(request: &LinkRequest<'_>, line: &Arc<Line>, peer: &Arc<Peer>) -> Box<dyn LinkTarget> {
    Box::new(Events {
        line: Arc::clone(line),
        peer: Arc::clone(peer),
        address: request.address.to_owned(),
    })
}

/// Where a module receives what routes of an edge device bring it. A hub has no such routes, so nothing ever comes.
pub(super) fn inputs(_: &LinkRequest<'_>, line: &Arc<Line>) -> Arc<dyn LinkSource> {
    Arc::new(Inputs(Arc::clone(line)))
}

struct Events {
    line: Arc<Line>,
    peer: Arc<Peer>,
    address: String,
}

impl LinkTarget for Events {
    fn deliver(&mut self, message: IncomingMessage) -> Settlement {
        let sent = read(message).and_then(|messages| self.line.session.send_all(messages));
        let outcome = match sent {
            Ok(()) => Outcome::Accepted,
            Err(failure) => self.line.refusal(failure).into(),
        };
        self.peer.record(AmqpEvent::Received {
            address: self.address.clone(),
            outcome: outcome.name(),
        });
        Settlement::Now(outcome)
    }
}

/// One message; or a batch, in which every data section is an encoded message.
fn read(message: IncomingMessage) -> Result<Vec<D2cMessage>, Failure> {
    let decode = |bytes| Message::read(bytes).map_err(|error| Failure::argument(error.to_string()));
    let whole = decode(message.payload)?;
    match message.format {
        0 => Ok(vec![d2c_message(whole)?]),
        BATCH => match whole.body {
            Body::Data(parts) => parts.into_iter().map(|part| d2c_message(decode(part)?)).collect(),
            _ => Err(Failure::argument("a batch holds its messages in data sections")),
        },
        other => Err(Failure::argument(format!(
            "a message from a device has format 0 or, if it is a batch, {BATCH:#x}, not {other:#x}"
        ))),
    }
}

fn d2c_message(message: Message) -> Result<D2cMessage, Failure> {
    let properties = message.properties;
    let created = properties.creation_time.and_then(time);
    let mut d2c = D2cMessage {
        body: device_message::payload(message.body)?,
        message_id: device_message::id(properties.message_id, "message-id")?,
        correlation_id: device_message::id(properties.correlation_id, "correlation-id")?,
        user_id: properties.user_id,
        to: properties.to,
        expiry: device_message::expiry(properties.absolute_expiry_time)?,
        content_type: properties.content_type,
        content_encoding: properties.content_encoding,
        creation_time: created.and_then(|time| time.format(&Rfc3339).ok()),
        ..D2cMessage::default()
    };
    // The hub's own names stand among the annotations in some clients, and among the properties in others.
    for (name, value) in message.annotations {
        if let (Some(slot), Some(text)) = (slot(&mut d2c, &name), value.to_text()) {
            *slot = Some(text);
        }
    }
    for (name, value) in message.application_properties {
        let value = device_message::property(&name, &value)?;
        match slot(&mut d2c, &name) {
            Some(slot) => *slot = Some(value),
            None => d2c.properties.push((name, value)),
        }
    }
    Ok(d2c)
}

fn slot<'a>(message: &'a mut D2cMessage, name: &str) -> Option<&'a mut Option<String>> {
    match name {
        "iothub-creation-time-utc" => Some(&mut message.creation_time),
        "iothub-message-schema" => Some(&mut message.message_schema),
        "iothub-interface-id" => Some(&mut message.interface_id),
        "dt-subject" => Some(&mut message.component),
        _ => None,
    }
}

/// Keeps the module connected, and gives nothing.
struct Inputs(#[expect(dead_code, reason = "the module is connected as long as this is there")] Arc<Line>);

impl LinkSource for Inputs {
    fn next(&self) -> BoxFuture<'_, Result<OutgoingMessage, AmqpError>> {
        Box::pin(pending())
    }

    fn settle(&self, _: Uuid, _: Outcome) -> Result<(), AmqpError> {
        Ok(())
    }
}

/// Microsoft's number for a batch.
const BATCH: u32 = 0x8001_3700;

//! `/messages/devicebound`: where messages to devices are sent, over one link for all devices.

use std::sync::Arc;

use time::OffsetDateTime;

use super::{
    address::Address,
    error::AmqpError,
    message::{Body, Message},
    node::{self, Access, IncomingMessage, LinkTarget, Settlement, Terminus},
    outcome::Outcome,
    peer::Peer,
    value::Value,
};
use crate::hub::{Ack, AmqpEvent, C2dMessage, DataAction, Event, Failure, Fault, Target};

pub(crate) fn target(peer: &Arc<Peer>) -> node::Target {
    Terminus {
        node: Box::new(DeviceBound(Arc::clone(peer))),
        access: Access::Needs {
            action: DataAction::SendMessages,
            resource: "messages/devicebound".to_owned(),
        },
    }
}

struct DeviceBound(Arc<Peer>);

impl LinkTarget for DeviceBound {
    fn deliver(&mut self, message: IncomingMessage) -> Settlement {
        let hub = &self.0.hub;
        let fault = hub.faults().take();
        if let Some(fault) = &fault {
            hub.journal().record(Event::Fault { name: fault.name() });
        }
        match fault {
            Some(Fault::Refuse(code)) => {
                let failure = Failure::new(code, "a fault that a test asked for");
                return Settlement::Now(self.outcome(Err(failure)));
            }
            Some(Fault::LoseRequest) => return Settlement::Never,
            Some(Fault::LoseAnswer) => {
                let sent = self.send(message);
                self.outcome(sent);
                return Settlement::Never;
            }
            None => {}
        }
        let sent = self.send(message);
        let outcome = self.outcome(sent);
        match hub.faults().amqp().settlements_released() {
            Some(released) => Settlement::Later(Box::pin(async move {
                released.await;
                outcome
            })),
            None => Settlement::Now(outcome),
        }
    }
}

impl DeviceBound {
    fn send(&self, message: IncomingMessage) -> Result<(), Failure> {
        if message.format != 0 {
            let text = format!("a message to a device has format 0, not {:#x}", message.format);
            return Err(Failure::argument(text));
        }
        let message = Message::read(message.payload).map_err(|error| Failure::argument(error.to_string()))?;
        let to = message.properties.to.as_deref().unwrap_or_default();
        let target = recipient(to)?;
        self.0.hub.send_to_device(&target, c2d_message(message)?)
    }

    fn outcome(&self, sent: Result<(), Failure>) -> Outcome {
        let outcome = match sent {
            Ok(()) => Outcome::Accepted,
            Err(failure) => AmqpError::from(failure).into(),
        };
        self.0.record(AmqpEvent::Received {
            address: "/messages/devicebound".to_owned(),
            outcome: outcome.name(),
        });
        outcome
    }
}

/// Reads `/devices/{id}[/modules/{id}]/messages/devicebound`.
fn recipient(to: &str) -> Result<Target, Failure> {
    let address = Address::parse(to);
    let is = |text: &str, expected| text.eq_ignore_ascii_case(expected);
    let (device, module) = match address.segments()[..] {
        [devices, device, messages, bound]
            if is(devices, "devices") && is(messages, "messages") && is(bound, "devicebound") =>
        {
            (device, None)
        }
        [devices, device, modules, module, messages, bound]
            if is(devices, "devices")
                && is(modules, "modules")
                && is(messages, "messages")
                && is(bound, "devicebound") =>
        {
            (device, Some(module))
        }
        _ => {
            let shown: String = to.chars().take(256).collect();
            return Err(Failure::argument(format!(
                "`to` is {shown:?}, and should be /devices/{{id}}/messages/devicebound"
            )));
        }
    };
    Target::parse(device, module)
}

fn c2d_message(message: Message) -> Result<C2dMessage, Failure> {
    let properties = message.properties;
    let mut c2d = C2dMessage {
        body: match message.body {
            Body::Empty | Body::Value(Value::Null) => bytes::Bytes::new(),
            Body::Data(mut parts) if parts.len() == 1 => parts.remove(0),
            Body::Data(parts) => parts.concat().into(),
            Body::Value(Value::Binary(bytes)) => bytes,
            Body::Value(Value::String(text)) => text.into(),
            Body::Value(_) | Body::Sequence(_) => {
                return Err(Failure::argument(
                    "the body of a message to a device has to be a data section",
                ));
            }
        },
        message_id: id(properties.message_id, "message-id")?,
        correlation_id: id(properties.correlation_id, "correlation-id")?,
        user_id: properties.user_id,
        to: properties.to,
        expiry: properties.absolute_expiry_time.map(time).transpose()?,
        content_type: properties.content_type,
        content_encoding: properties.content_encoding,
        ..C2dMessage::default()
    };
    for (name, value) in message.application_properties {
        let value = text(&value).ok_or_else(|| {
            Failure::argument(format!(
                "the property {name:?} is neither a string nor anything that reads as one"
            ))
        })?;
        match name.as_str() {
            "iothub-ack" => c2d.ack = ack(&value)?,
            "iothub-message-schema" => c2d.message_schema = Some(value),
            "iothub-creation-time-utc" => c2d.creation_time = Some(value),
            _ => c2d.properties.push((name, value)),
        }
    }
    Ok(c2d)
}

fn ack(text: &str) -> Result<Ack, Failure> {
    match text.to_ascii_lowercase().as_str() {
        "none" => Ok(Ack::None),
        "positive" => Ok(Ack::Positive),
        "negative" => Ok(Ack::Negative),
        "full" => Ok(Ack::Full),
        _ => Err(Failure::argument(format!(
            "`iothub-ack` is {text:?}, and should be none, positive, negative or full"
        ))),
    }
}

fn id(value: Value, name: &str) -> Result<Option<String>, Failure> {
    let text = match &value {
        Value::Null => return Ok(None),
        Value::String(_) | Value::Ulong(_) | Value::Uuid(_) => text(&value),
        // The standard allows a binary, which only then is an id of a hub if it is text.
        Value::Binary(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
        _ => None,
    };
    let text = text.ok_or_else(|| Failure::argument(format!("`{name}` has to be a string, a ulong or a uuid")))?;
    if text.len() > MAX_ID {
        return Err(Failure::argument(format!(
            "`{name}` has at most {MAX_ID} characters, this one {}",
            text.len()
        )));
    }
    Ok(Some(text))
}

/// The value as text, if it is a scalar. Clients send strings; other scalars are taken at their word.
fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => String::new(),
        Value::String(text) | Value::Symbol(text) => text.clone(),
        Value::Boolean(value) => value.to_string(),
        Value::Ubyte(value) => value.to_string(),
        Value::Ushort(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Ulong(value) => value.to_string(),
        Value::Byte(value) => value.to_string(),
        Value::Short(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Long(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Char(value) => value.to_string(),
        Value::Uuid(value) => value.to_string(),
        Value::Timestamp(value) => {
            let time = time(*value).ok()?;
            time.format(&time::format_description::well_known::Rfc3339).ok()?
        }
        Value::Decimal(_)
        | Value::Binary(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Array(_)
        | Value::Described(_) => return None,
    })
}

fn time(milliseconds: i64) -> Result<OffsetDateTime, Failure> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000)
        .map_err(|_| Failure::argument("a timestamp lies beyond the year 9999"))
}

/// The published limit of a message id.
const MAX_ID: usize = 128;

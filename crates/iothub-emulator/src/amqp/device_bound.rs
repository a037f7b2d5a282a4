//! `/messages/devicebound`: where messages to devices are sent, over one link for all devices.

use std::sync::Arc;

use super::{
    address::Address,
    device_message,
    error::AmqpError,
    message::Message,
    node::{self, Access, IncomingMessage, LinkTarget, Settlement, Terminus},
    outcome::Outcome,
    peer::Peer,
};
use crate::hub::{Ack, AmqpEvent, C2dMessage, DataAction, Event, Failure, Fault, Target};

pub(crate) fn target(peer: &Arc<Peer>) -> node::Target {
    let access = Access::Needs {
        action: DataAction::SendMessages,
        resource: "messages/devicebound".to_owned(),
    };
    Terminus::new(Box::new(DeviceBound(Arc::clone(peer))), access)
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
    match address.below_device() {
        Some((device, module, rest)) if rest.is("messages/devicebound") => Target::parse(device, module),
        _ => {
            let shown: String = to.chars().take(256).collect();
            Err(Failure::argument(format!(
                "`to` is {shown:?}, and should be /devices/{{id}}/messages/devicebound"
            )))
        }
    }
}

fn c2d_message(message: Message) -> Result<C2dMessage, Failure> {
    let properties = message.properties;
    let mut c2d = C2dMessage {
        body: device_message::payload(message.body)?,
        message_id: device_message::id(properties.message_id, "message-id")?,
        correlation_id: device_message::id(properties.correlation_id, "correlation-id")?,
        user_id: properties.user_id,
        to: properties.to,
        expiry: device_message::expiry(properties.absolute_expiry_time)?,
        content_type: properties.content_type,
        content_encoding: properties.content_encoding,
        ..C2dMessage::default()
    };
    for (name, value) in message.application_properties {
        let value = device_message::property(&name, &value)?;
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

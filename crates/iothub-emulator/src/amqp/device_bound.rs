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
use crate::hub::{Ack, AmqpEvent, C2dMessage, DataAction, Failure, Fault, Target, Victim, fault::ReturnedAs};

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
        match hub.fault_for(Victim::Message) {
            Some(Fault::Refuse { code, .. }) => {
                let failure = Failure::new(code, "a fault that a test asked for");
                return Settlement::Now(self.outcome(Err(failure)));
            }
            Some(Fault::ReturnMessage { outcome }) => return Settlement::Now(self.record(outcome.into())),
            Some(Fault::GarbleSettlement { kind }) => {
                let sent = self.send(message);
                return Settlement::Garbled(self.outcome(sent), kind);
            }
            Some(Fault::LoseRequest) => return Settlement::Never,
            Some(Fault::LoseAnswer) => {
                let sent = self.send(message);
                self.outcome(sent);
                return Settlement::Never;
            }
            // The others do not happen to messages.
            _ => {}
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
        self.record(match sent {
            Ok(()) => Outcome::Accepted,
            Err(failure) => AmqpError::from(failure).into(),
        })
    }

    fn record(&self, outcome: Outcome) -> Outcome {
        self.0.record(AmqpEvent::Received {
            address: "/messages/devicebound".to_owned(),
            outcome: outcome.name(),
        });
        outcome
    }
}

impl From<ReturnedAs> for Outcome {
    fn from(returned: ReturnedAs) -> Self {
        match returned {
            ReturnedAs::Released => Self::Released,
            ReturnedAs::Modified => Self::Modified {
                undeliverable_here: false,
            },
            ReturnedAs::Undeliverable => Self::Modified {
                undeliverable_here: true,
            },
            ReturnedAs::Rejected => Self::Rejected(None),
        }
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

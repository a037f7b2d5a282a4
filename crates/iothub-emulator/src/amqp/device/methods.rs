//! `methods/devicebound`: requests to run a method go out on one link, and its answers come in on another.
//!
//! They need not know each other: the id of a request is enough to find the service that waits for the answer.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::Line;
use crate::{
    amqp::{
        device_message,
        error::{AmqpError, condition},
        message::{Body, Message, Properties},
        node::{IncomingMessage, LinkRequest, LinkSource, LinkTarget, OutgoingMessage, Settlement},
        outcome::Outcome,
        peer::Peer,
        value::Value,
    },
    hub::{
        Failure,
        methods::{MethodRequest, MethodRequests},
    },
};

/// Where requests come from. Attaching it is how a device says that it answers methods.
pub(super) fn source(_: &LinkRequest<'_>, line: &Arc<Line>) -> Arc<dyn LinkSource> {
    Arc::new(Requests {
        requests: Mutex::new(line.session.listen_for_methods()),
        line: Arc::clone(line),
    })
}

/// Where answers go.
pub(super) fn target(_: &LinkRequest<'_>, line: &Arc<Line>, _: &Arc<Peer>) -> Box<dyn LinkTarget> {
    Box::new(Answers(Arc::clone(line)))
}

struct Requests {
    requests: Mutex<MethodRequests>,
    line: Arc<Line>,
}

struct Answers(Arc<Line>);

impl LinkSource for Requests {
    fn next(&self) -> BoxFuture<'_, Result<OutgoingMessage, AmqpError>> {
        Box::pin(async {
            let request = self.requests.lock().await.recv().await;
            let request = request.ok_or_else(|| {
                let text = "another link of the device listens for methods";
                let end = self.line.session.end();
                end.map_or_else(|| AmqpError::new(condition::STOLEN, text), super::ended)
            })?;
            Ok(OutgoingMessage {
                tag: Uuid::new_v4(),
                payload: encode(request).into_bytes(),
            })
        })
    }

    /// A request is not given again: the service waits for the answer of the device, or gives up.
    fn settle(&self, _: Uuid, _: Outcome) -> Result<(), AmqpError> {
        Ok(())
    }
}

fn encode(request: MethodRequest) -> Message {
    Message {
        properties: Properties {
            correlation_id: Value::Uuid(request.id),
            ..Properties::default()
        },
        application_properties: vec![("IoThub-methodname".to_owned(), Value::String(request.name))],
        body: Body::Data(vec![request.payload]),
        ..Message::default()
    }
}

impl LinkTarget for Answers {
    fn deliver(&mut self, message: IncomingMessage) -> Settlement {
        let answered = Message::read(message.payload)
            .map_err(|error| Failure::argument(error.to_string()))
            .and_then(|message| self.answer(message));
        Settlement::Now(match answered {
            Ok(()) => Outcome::Accepted,
            Err(failure) => self.0.refusal(failure).into(),
        })
    }
}

impl Answers {
    fn answer(&self, message: Message) -> Result<(), Failure> {
        let id = match &message.properties.correlation_id {
            Value::Uuid(id) => Some(*id),
            other => other.as_text().and_then(|text| text.parse().ok()),
        };
        let id =
            id.ok_or_else(|| Failure::argument("the correlation-id of an answer is that of its request, a uuid"))?;
        let status = message
            .application_property("IoThub-status")
            .and_then(Value::as_integer);
        let status = status
            .and_then(|status| i32::try_from(status).ok())
            .ok_or_else(|| Failure::argument("`IoThub-status` has to be an int"))?;
        let payload = device_message::payload(message.body)?;
        self.0.session.answer_method(id, status, payload)
    }
}

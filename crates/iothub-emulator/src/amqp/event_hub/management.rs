//! `$management`: what partitions the event hub has, and what they hold.

use std::sync::Arc;

use bytes::Bytes;
use iothub_core::HubErrorCode;

use super::{Node, last_enqueued, long};
use crate::{
    amqp::{
        error::{AmqpError, condition},
        message::{Body, Message, Properties},
        node::{IncomingMessage, LinkRequest, LinkTarget, Settlement, Source, Target, Terminus},
        outcome::Outcome,
        peer::Peer,
        replies::Replies,
        value::Value,
    },
    hub::{Failure, Hub},
};

/// Where questions go.
pub(super) fn target(request: &LinkRequest<'_>, peer: &Arc<Peer>) -> Result<Target, AmqpError> {
    let access = Node::Management.access(peer);
    let node = Questions {
        session: request.session,
        peer: Arc::clone(peer),
    };
    Ok(Terminus::new(Box::new(node), access))
}

/// Where answers come from.
pub(super) fn source(request: &LinkRequest<'_>, peer: &Arc<Peer>) -> Result<Source, AmqpError> {
    let access = Node::Management.access(peer);
    let link = Arc::new(Replies::default());
    peer.management_replies
        .join(request.session, request.peer_address, &link);
    Ok(Terminus::new(link, access))
}

struct Questions {
    session: u16,
    peer: Arc<Peer>,
}

impl LinkTarget for Questions {
    fn deliver(&mut self, message: IncomingMessage) -> Settlement {
        let question = match Message::read(message.payload) {
            Ok(question) => question,
            Err(error) => return Settlement::Now(AmqpError::from(error).into()),
        };
        let reply_to = question.properties.reply_to.as_deref();
        let Some(replies) = self.peer.management_replies.find(self.session, reply_to) else {
            let text = "no link is attached that receives answers from $management";
            return Settlement::Now(AmqpError::new(condition::NOT_ALLOWED, text).into());
        };
        let answer = answer(&question, &self.peer.hub);
        replies.push(encode(answer, question.properties.message_id));
        Settlement::Now(Outcome::Accepted)
    }
}

fn answer(question: &Message, hub: &Hub) -> Result<Vec<(&'static str, Value)>, Failure> {
    let property = |name| question.application_property(name).and_then(Value::as_text);
    let operation = property("operation").unwrap_or_default();
    if !operation.eq_ignore_ascii_case("READ") {
        return Err(Failure::argument("the one operation there is here is READ"));
    }
    let name = property("name").unwrap_or_default();
    if !name.eq_ignore_ascii_case(&hub.event_hub()) {
        let shown: String = name.chars().take(64).collect();
        let text = format!("there is no event hub {shown:?}: the only one is {}", hub.event_hub());
        return Err(Failure::new(HubErrorCode::GenericNotFound, text));
    }
    match property("type").unwrap_or_default() {
        "com.microsoft:eventhub" => Ok(event_hub(hub)),
        "com.microsoft:partition" => partition(hub, property("partition").unwrap_or_default()),
        _ => Err(Failure::argument(
            "the types there are here are com.microsoft:eventhub and com.microsoft:partition",
        )),
    }
}

fn event_hub(hub: &Hub) -> Vec<(&'static str, Value)> {
    let partitions = hub.telemetry().len();
    let ids = (0..partitions).map(|id| Value::String(id.to_string())).collect();
    vec![
        ("name", Value::String(hub.event_hub())),
        ("type", Value::string("com.microsoft:eventhub")),
        ("created_at", hub.created().into()),
        (
            "partition_count",
            Value::Int(i32::try_from(partitions).unwrap_or(i32::MAX)),
        ),
        ("partition_ids", Value::Array(ids)),
    ]
}

fn partition(hub: &Hub, id: &str) -> Result<Vec<(&'static str, Value)>, Failure> {
    let state = hub.telemetry().state(hub.partition(id)?);
    let last = state.last.as_deref();
    let first = [
        ("name", Value::String(hub.event_hub())),
        ("type", Value::string("com.microsoft:partition")),
        ("partition", Value::string(id)),
        ("begin_sequence_number", Value::Long(long(state.first_sequence))),
    ];
    let is_empty = ("is_partition_empty", Value::Boolean(last.is_none()));
    let last = last_enqueued(state.next_sequence, last);
    Ok(first.into_iter().chain(last).chain([is_empty]).collect())
}

fn encode(answer: Result<Vec<(&'static str, Value)>, Failure>, correlation_id: Value) -> Bytes {
    let (status, description, error, body) = match answer {
        Ok(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (Value::string(name), value));
            (200, "OK".to_owned(), None, Value::Map(fields.collect()))
        }
        Err(failure) => {
            let status = failure.code.status().map_or(500, |status| i32::from(u16::from(status)));
            let error = AmqpError::from(failure);
            (status, error.description, Some(error.condition), Value::Null)
        }
    };
    let mut properties = vec![
        ("status-code".to_owned(), Value::Int(status)),
        ("status-description".to_owned(), Value::String(description)),
    ];
    properties.extend(error.map(|condition| ("error-condition".to_owned(), Value::symbol(condition))));
    let message = Message {
        properties: Properties {
            correlation_id,
            ..Properties::default()
        },
        application_properties: properties,
        body: Body::Value(body),
        ..Message::default()
    };
    message.into_bytes()
}

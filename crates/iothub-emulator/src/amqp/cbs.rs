//! `$cbs`: where a connection says who it is, by a request with a token and an answer with a status.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    error::{AmqpError, condition},
    message::{Body, Message, Properties},
    node::{Access, IncomingMessage, LinkRequest, LinkTarget, Settlement, Source, Target, Terminus},
    outcome::Outcome,
    peer::Peer,
    replies::Replies,
    value::Value,
};
use crate::hub::{AmqpEvent, Failure};

/// Where requests go.
pub(crate) fn target(request: &LinkRequest<'_>, peer: &Arc<Peer>) -> Target {
    let node = Requests {
        session: request.session,
        peer: Arc::clone(peer),
    };
    Terminus::new(Box::new(node), Access::Open)
}

/// Where answers come from.
pub(crate) fn source(request: &LinkRequest<'_>, peer: &Arc<Peer>) -> Source {
    let link = Arc::new(Replies::default());
    peer.token_replies.join(request.session, request.peer_address, &link);
    Terminus::new(link, Access::Open)
}

/// Takes the requests of one link.
struct Requests {
    session: u16,
    peer: Arc<Peer>,
}

/// How a request is answered.
struct Status {
    code: i32,
    description: String,
}

impl LinkTarget for Requests {
    fn deliver(&mut self, message: IncomingMessage) -> Settlement {
        let request = match Message::read(message.payload) {
            Ok(request) => request,
            Err(error) => return Settlement::Now(AmqpError::from(error).into()),
        };
        let status = match self.peer.hub.faults().amqp().take_token_refusal() {
            Some(code) => Status::new(code, "a fault that a test asked for"),
            None => put_token(&request, &self.peer),
        };
        self.peer.record(AmqpEvent::TokenPut { status: status.code });
        let reply_to = request.properties.reply_to.as_deref();
        match self.peer.token_replies.find(self.session, reply_to) {
            // The request is settled before the answer can leave, because the engine asks sources only afterwards.
            Some(link) => link.push(status.into_reply(request.properties.message_id)),
            None => {
                let text = "no link is attached that receives answers from $cbs";
                return Settlement::Now(AmqpError::new(condition::NOT_ALLOWED, text).into());
            }
        }
        Settlement::Now(Outcome::Accepted)
    }
}

fn put_token(request: &Message, peer: &Peer) -> Status {
    let property = |name| request.application_property(name).and_then(Value::as_text);
    let operation = property("operation").unwrap_or_default();
    if !operation.eq_ignore_ascii_case("put-token") {
        return Status::new(
            400,
            format!("expected the operation put-token, not {:?}", short(operation)),
        );
    }
    let kind = property("type").unwrap_or_default();
    if !TOKEN_TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
        return Status::new(
            400,
            format!("there is no token type {:?}: {}", short(kind), TOKEN_TYPES.join(", ")),
        );
    }
    if property("name").is_none_or(str::is_empty) {
        return Status::new(400, "the property name is missing");
    }
    // What the token is shows in its text, because clients send JWTs under the type of shared access signatures.
    let Body::Value(Value::String(token)) = &request.body else {
        return Status::new(400, "the token has to be a string in an amqp-value section");
    };
    match peer.hub.authorize(token).and_then(|grant| peer.add(grant)) {
        Ok(()) => Status::new(200, "OK"),
        Err(failure) => Status::from(failure),
    }
}

/// What of a peer's text is repeated to it.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

impl Status {
    fn new(code: i32, description: impl Into<String>) -> Self {
        Self {
            code,
            description: description.into(),
        }
    }

    fn into_reply(self, correlation_id: Value) -> Bytes {
        let message = Message {
            properties: Properties {
                correlation_id,
                ..Properties::default()
            },
            application_properties: vec![
                ("status-code".to_owned(), Value::Int(self.code)),
                ("status-description".to_owned(), Value::String(self.description)),
            ],
            body: Body::Value(Value::Null),
            ..Message::default()
        };
        message.into_bytes()
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let status = failure.code.status().map_or(401, |status| i32::from(u16::from(status)));
        Self::new(status, failure.message)
    }
}

const TOKEN_TYPES: [&str; 3] = ["servicebus.windows.net:sastoken", "Bearer", "jwt"];

//! `twin`: requests about the twin come in on one link; answers and changes of desired properties go out on another.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures::future::BoxFuture;
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
    hub::{DesiredChanges, Failure},
};

/// Where requests go.
pub(super) fn target(request: &LinkRequest<'_>, line: &Arc<Line>, _: &Arc<Peer>) -> Box<dyn LinkTarget> {
    Box::new(Requests {
        line: Arc::clone(line),
        session: request.session,
        pair: request.pair().map(str::to_owned),
    })
}

/// Where answers come from.
pub(super) fn source(request: &LinkRequest<'_>, line: &Arc<Line>) -> Arc<dyn LinkSource> {
    let link = Arc::new(TwinReplies {
        state: Mutex::default(),
        _line: Arc::clone(line),
    });
    line.twin_replies.join(request.session, request.pair(), &link);
    link
}

struct Requests {
    line: Arc<Line>,
    session: u16,
    /// What the links of a pair have in common.
    pair: Option<String>,
}

/// What goes out on one link.
pub(super) struct TwinReplies {
    state: Mutex<State>,
    /// The device is connected as long as this is there.
    _line: Arc<Line>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Bytes>,
    desired: Option<DesiredChanges>,
    waker: Option<Waker>,
}

/// How a request is answered.
struct Reply {
    status: i32,
    version: Option<u64>,
    body: Body,
}

impl LinkTarget for Requests {
    fn deliver(&mut self, message: IncomingMessage) -> Settlement {
        let request = match Message::read(message.payload) {
            Ok(request) => request,
            Err(error) => return Settlement::Now(AmqpError::from(error).into()),
        };
        let Some(replies) = self.line.twin_replies.find(self.session, self.pair.as_deref()) else {
            let text = "no link is attached that receives answers about the twin";
            return Settlement::Now(AmqpError::new(condition::NOT_ALLOWED, text).into());
        };
        let correlation_id = request.properties.correlation_id.clone();
        let reply = self.answer(request, &replies).unwrap_or_else(Reply::from);
        let persisted = self.line.session.hub().persisted();
        Settlement::Later(Box::pin(async move {
            let reply = persisted.await.map_or_else(Reply::from, |()| reply);
            replies.push(reply.encode(correlation_id));
            Outcome::Accepted
        }))
    }
}

impl Requests {
    fn answer(&self, request: Message, replies: &TwinReplies) -> Result<Reply, Failure> {
        let operation = request
            .annotation("operation")
            .and_then(Value::as_text)
            .unwrap_or_default();
        let resource = request
            .annotation("resource")
            .and_then(Value::as_text)
            .unwrap_or_default();
        let is = |path: &str| resource.trim_end_matches('/').eq_ignore_ascii_case(path);
        match operation.to_ascii_uppercase().as_str() {
            "GET" if is("") => {
                let twin = self.line.session.twin()?;
                Ok(Reply::new(200, Body::Data(vec![twin.into()])))
            }
            "PATCH" if is(REPORTED) => {
                let patch = device_message::payload(request.body)?;
                let patch = std::str::from_utf8(&patch).map_err(|_| Failure::argument("a patch is JSON, in UTF-8"))?;
                let version = self.line.session.report(patch)?;
                Ok(Reply {
                    version: Some(version),
                    ..Reply::new(204, Body::Empty)
                })
            }
            "PUT" if is(NOTIFICATIONS) => {
                // A new watch would lose what the one that stands has not told yet.
                if !replies.is_watching() {
                    replies.watch(Some(self.line.session.watch_desired()));
                }
                Ok(Reply::new(200, Body::Empty))
            }
            "DELETE" if is(NOTIFICATIONS) => {
                replies.watch(None);
                Ok(Reply::new(200, Body::Empty))
            }
            _ => {
                let shown = |text: &str| text.chars().take(64).collect::<String>();
                let text = format!("there is no {:?} of {:?} in a twin", shown(operation), shown(resource));
                Err(Failure::argument(text))
            }
        }
    }
}

impl Reply {
    fn new(status: i32, body: Body) -> Self {
        Self {
            status,
            version: None,
            body,
        }
    }

    fn encode(self, correlation_id: Value) -> Bytes {
        let mut annotations = vec![("status".to_owned(), Value::Int(self.status))];
        if let Some(version) = self.version.and_then(|version| i64::try_from(version).ok()) {
            annotations.push(("version".to_owned(), Value::Long(version)));
        }
        let message = Message {
            annotations,
            properties: Properties {
                correlation_id,
                ..Properties::default()
            },
            body: self.body,
            ..Message::default()
        };
        message.into_bytes()
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        let status = failure.code.status().map_or(500, |status| i32::from(u16::from(status)));
        let body = serde_json::json!({ "errorCode": failure.code.number(), "message": failure.message });
        Self::new(status, Body::Data(vec![body.to_string().into()]))
    }
}

impl TwinReplies {
    fn push(&self, reply: Bytes) {
        let mut state = self.lock();
        // A device that never takes its answers loses the oldest.
        if state.waiting.len() == MAX_WAITING {
            state.waiting.pop_front();
        }
        state.waiting.push_back(reply);
        state.wake();
    }

    /// Sends changes of desired properties from now on, or no more.
    fn watch(&self, desired: Option<DesiredChanges>) {
        let mut state = self.lock();
        state.desired = desired;
        state.wake();
    }

    fn is_watching(&self) -> bool {
        self.lock().desired.as_ref().is_some_and(|desired| !desired.has_ended())
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Bytes> {
        let mut state = self.lock();
        if let Some(reply) = state.waiting.pop_front() {
            return Poll::Ready(reply);
        }
        match state.desired.as_mut().map(|desired| desired.poll_recv(context)) {
            Some(Poll::Ready(Some(change))) => return Poll::Ready(notification(change.patch)),
            // A newer link watches, or the session has ended.
            Some(Poll::Ready(None)) => state.desired = None,
            Some(Poll::Pending) | None => {}
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl LinkSource for TwinReplies {
    fn next(&self) -> BoxFuture<'_, Result<OutgoingMessage, AmqpError>> {
        Box::pin(async {
            let payload = poll_fn(|context| self.poll_next(context)).await;
            let tag = Uuid::new_v4();
            Ok(OutgoingMessage { tag, payload })
        })
    }

    /// Nothing is given again: requests have long been settled, and a device that missed a change reads its twin.
    fn settle(&self, _: Uuid, _: Outcome) -> Result<(), AmqpError> {
        Ok(())
    }
}

/// A change of desired properties. Some clients know it by the resource, others by there being no correlation-id.
fn notification(patch: String) -> Bytes {
    let message = Message {
        annotations: vec![("resource".to_owned(), Value::String(DESIRED.to_owned()))],
        body: Body::Data(vec![patch.into()]),
        ..Message::default()
    };
    message.into_bytes()
}

const REPORTED: &str = "/properties/reported";
const DESIRED: &str = "/properties/desired";
const NOTIFICATIONS: &str = "/notifications/twin/properties/desired";

const MAX_WAITING: usize = 100;

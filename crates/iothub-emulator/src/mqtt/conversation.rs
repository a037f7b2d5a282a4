use std::{
    collections::VecDeque,
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;
use tracing::{debug, info};
use uuid::Uuid;

use super::{
    packet::{ConnAck, ConnectCode, Delivery, Packet, Publish, Qos, SubAck, Subscribe, Unsubscribe, Will},
    property_bag,
    topic::{self, Feed, Inbound},
};
use crate::hub::{
    D2cMessage, DesiredChanges, Failure, Hub, Outcome, Session, Target,
    desired::DesiredChange,
    methods::{MethodRequest, MethodRequests},
    queue::LockedMessage,
    stored_sessions::{Confirmation, StoredSession},
    timestamp,
};

/// What a device and the hub say to each other over one connection, from CONNECT to its end.
pub(super) struct Conversation {
    hub: Hub,
    session: Arc<Session>,
    stored: StoredSession,
    /// Whether the hub remembered what the device had subscribed to.
    is_resumed: bool,
    messages: Option<Pin<Box<dyn Future<Output = LockedMessage> + Send>>>,
    methods: Option<MethodRequests>,
    desired: Option<DesiredChanges>,
    /// The messages that the device has not confirmed: place in the queue, and lock.
    held: Vec<(u64, Uuid)>,
    /// The method requests that the device may still answer, the oldest first.
    requests: VecDeque<Uuid>,
}

/// What the hub has for a device.
pub(super) enum Outbound {
    Message(LockedMessage),
    Method(MethodRequest),
    Desired(DesiredChange),
}

impl Conversation {
    pub(super) fn begin(hub: Hub, session: Arc<Session>, clean_session: bool) -> Result<Self, Failure> {
        let (stored, is_resumed) = session.stored(clean_session)?;
        Ok(Self {
            hub,
            session,
            stored,
            is_resumed,
            messages: None,
            methods: None,
            desired: None,
            held: Vec::new(),
            requests: VecDeque::new(),
        })
    }

    /// Lets the device know that it is in, and goes on with what it had subscribed to.
    pub(super) fn answer_connect(&mut self, out: &mut BytesMut) {
        Packet::ConnAck(ConnAck {
            session_present: self.is_resumed,
            code: ConnectCode::Accepted,
        })
        .write(out);
        self.follow_subscriptions();
    }

    /// Takes a packet of the device. Nothing goes on after an error.
    pub(super) fn take(&mut self, packet: Packet, out: &mut BytesMut) -> Result<(), Failure> {
        match packet {
            Packet::Publish(publish) => self.publish(publish, out),
            Packet::PubAck(id) => self.confirm(id),
            Packet::Subscribe(subscribe) => self.subscribe(&subscribe, out),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe, out),
            Packet::PingReq => {
                Packet::PingResp.write(out);
                Ok(())
            }
            Packet::Connect(_) => Err(Failure::argument("a connection has one CONNECT")),
            Packet::Disconnect | Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                Err(Failure::argument("a packet that only servers send, or the last one"))
            }
        }
    }

    /// Waits for something that the device has subscribed to. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Outbound {
        loop {
            tokio::select! {
                locked = next_message(&mut self.messages) => {
                    self.messages = Some(messages_of(&self.session));
                    return Outbound::Message(locked);
                }
                request = next_request(&mut self.methods) => match request {
                    Some(request) => return Outbound::Method(request),
                    None => self.methods = None,
                },
                change = next_change(&mut self.desired) => match change {
                    Some(change) => return Outbound::Desired(change),
                    None => self.desired = None,
                },
            }
        }
    }

    /// Sends something that the device has subscribed to.
    pub(super) fn give(&mut self, outbound: Outbound, out: &mut BytesMut) {
        match outbound {
            Outbound::Message(locked) => self.give_message(locked, out),
            Outbound::Method(request) => self.give_request(request, out),
            Outbound::Desired(change) => {
                let topic = topic::desired_change(change.version);
                write(topic, change.patch.into(), Delivery::AtMostOnce, out);
            }
        }
    }

    /// Sends the last message of a device that went without a word.
    pub(super) fn carry_out(&self, will: Will) {
        let Ok(Inbound::Telemetry { properties }) = Inbound::parse(&will.topic, self.target()) else {
            return;
        };
        let outcome = telemetry(properties, will.message, will.retain).and_then(|mut message| {
            let kind = ("iothub-MessageType".to_owned(), "Will".to_owned());
            message.properties.push(kind);
            // Not over the session, because that may have ended.
            self.hub.receive_telemetry(self.target(), message)
        });
        if let Err(failure) = outcome {
            debug!(target = %self.target(), failure.message, "the will of a device is lost");
        }
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub(super) fn target(&self) -> &Target {
        self.session.target()
    }

    fn publish(&mut self, publish: Publish, out: &mut BytesMut) -> Result<(), Failure> {
        let id = match publish.delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce { id, .. } => Some(id),
            Delivery::ExactlyOnce => return Err(Failure::argument("a hub has no quality of service 2")),
        };
        let started = Instant::now();
        let inbound = Inbound::parse(&publish.topic, self.session.target())?;
        let operation = inbound.name();
        match inbound {
            Inbound::Telemetry { properties } => {
                let message = telemetry(properties, publish.payload, publish.retain)?;
                self.session.send(message)?;
            }
            Inbound::MethodAnswer { status, request } => self.answer_method(request, status, publish.payload),
            Inbound::GetTwin { request } => {
                let twin = self.session.twin();
                self.answer_twin(request, twin.map(|twin| (200, None, twin.into())), out);
            }
            Inbound::Report { request } => {
                let version = std::str::from_utf8(&publish.payload)
                    .map_err(|_| Failure::argument("reported properties are not UTF-8"))
                    .and_then(|patch| self.session.report(patch));
                self.answer_twin(request, version.map(|version| (204, Some(version), Bytes::new())), out);
            }
        }
        if let Some(id) = id {
            Packet::PubAck(id).write(out);
        }
        info!(target = %self.target(), operation, micros = started.elapsed().as_micros(), "packet");
        Ok(())
    }

    fn answer_method(&mut self, request: &str, status: i32, payload: Bytes) {
        let at = self.requests.iter().position(|id| request_name(*id) == request);
        let outcome = match at.and_then(|at| self.requests.remove(at)) {
            Some(id) => self.session.answer_method(id, status, payload),
            None => Err(Failure::argument(format!("there was no method request {request:?}"))),
        };
        if let Err(failure) = outcome {
            // Mostly it comes too late, and there is no way to tell the device.
            debug!(target = %self.target(), failure.message, "the answer to a method is lost");
        }
    }

    fn answer_twin(&self, request: &str, answer: Result<(u16, Option<u64>, Bytes), Failure>, out: &mut BytesMut) {
        if !self.stored.lock().twin_answers {
            return;
        }
        let (status, version, body) = answer.unwrap_or_else(|failure| {
            let status = failure.code.status().map_or(500, u16::from);
            (status, None, self.twin_error(&failure).into())
        });
        let topic = topic::twin_answer(status, request, version);
        write(topic, body, Delivery::AtMostOnce, out);
    }

    /// One client looks for the first two members, whatever the status is.
    fn twin_error(&self, failure: &Failure) -> String {
        json!({
            "errorCode": failure.code.number(),
            "message": failure.message,
            "trackingId": Uuid::new_v4().simple().to_string(),
            "timestampUtc": timestamp::text(self.hub.clock().now()),
        })
        .to_string()
    }

    fn subscribe(&mut self, subscribe: &Subscribe, out: &mut BytesMut) -> Result<(), Failure> {
        let mut granted = Vec::with_capacity(subscribe.filters.len());
        for (filter, qos) in &subscribe.filters {
            let feeds = Feed::parse(filter, self.session.target())?;
            let qos = (*qos).min(Qos::AtLeastOnce);
            let confirmation = match qos {
                Qos::AtMostOnce => Confirmation::Never,
                Qos::AtLeastOnce | Qos::ExactlyOnce => Confirmation::Always,
            };
            self.set(feeds, Some(confirmation));
            granted.push(Some(qos));
        }
        self.follow_subscriptions();
        let id = subscribe.id;
        Packet::SubAck(SubAck { id, granted }).write(out);
        Ok(())
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe, out: &mut BytesMut) -> Result<(), Failure> {
        for filter in &unsubscribe.filters {
            self.set(Feed::parse(filter, self.session.target())?, None);
        }
        self.follow_subscriptions();
        Packet::UnsubAck(unsubscribe.id).write(out);
        Ok(())
    }

    /// `None` ends a subscription.
    fn set(&self, feeds: &[Feed], wanted: Option<Confirmation>) {
        let mut stored = self.stored.lock();
        for feed in feeds {
            match feed {
                Feed::Messages => stored.messages = wanted,
                Feed::Methods => stored.methods = wanted.is_some(),
                Feed::TwinAnswers => stored.twin_answers = wanted.is_some(),
                Feed::Desired => stored.desired = wanted.is_some(),
                // Nothing ever comes of it.
                Feed::Inputs => {}
            }
        }
    }

    /// Listens to what the device has subscribed to, and to nothing else.
    fn follow_subscriptions(&mut self) {
        let stored = self.stored.lock();
        match stored.messages {
            None => self.messages = None,
            Some(_) if self.messages.is_none() => self.messages = Some(messages_of(&self.session)),
            Some(_) => {}
        }
        match stored.methods {
            false => self.methods = None,
            true if self.methods.is_none() => self.methods = Some(self.session.listen_for_methods()),
            true => {}
        }
        match stored.desired {
            false => self.desired = None,
            true if self.desired.is_none() => self.desired = Some(self.session.watch_desired()),
            true => {}
        }
    }

    fn give_message(&mut self, locked: LockedMessage, out: &mut BytesMut) {
        if self.session.end().is_some() {
            // It is for the connection that took over.
            self.hub.release_messages(self.session.target(), [locked.token]);
            return;
        }
        let Some(topic) = property_bag::device_bound(self.session.target(), &locked.message) else {
            // It would come again and again, and no packet could ever hold it.
            self.settle(locked.token, Outcome::Rejected);
            return;
        };
        let body = locked.message.body.clone();
        let delivery = {
            let mut stored = self.stored.lock();
            match stored.messages {
                Some(Confirmation::Always) => {
                    let (id, again) = stored.number(locked.sequence);
                    Some(Delivery::AtLeastOnce { id, again })
                }
                Some(Confirmation::Never) => Some(Delivery::AtMostOnce),
                None => None,
            }
        };
        match delivery {
            Some(delivery @ Delivery::AtLeastOnce { .. }) => {
                self.held.retain(|(sequence, _)| *sequence != locked.sequence);
                self.held.push((locked.sequence, locked.token));
                write(topic, body, delivery, out);
            }
            Some(delivery) => {
                write(topic, body, delivery, out);
                self.settle(locked.token, Outcome::Completed);
            }
            // The subscription ended in this moment.
            None => self.hub.release_messages(self.session.target(), [locked.token]),
        }
    }

    fn confirm(&mut self, id: u16) -> Result<(), Failure> {
        let sequence = self.stored.lock().confirm(id);
        let at = self.held.iter().position(|(held, _)| Some(*held) == sequence);
        if let Some(at) = at {
            let (_, token) = self.held.swap_remove(at);
            self.settle(token, Outcome::Completed);
        }
        Ok(())
    }

    fn settle(&self, token: Uuid, outcome: Outcome) {
        if let Err(failure) = self.session.settle_message(token, outcome) {
            // The lock has run out, and the message comes again.
            debug!(target = %self.target(), failure.message, "a message is not settled");
        }
    }

    fn give_request(&mut self, request: MethodRequest, out: &mut BytesMut) {
        if self.requests.len() == MOST_REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(request.id);
        let name = utf8_percent_encode(&request.name, UNFIT).to_string();
        let topic = topic::method_request(&name, &request_name(request.id));
        write(topic, request.payload, Delivery::AtMostOnce, out);
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let tokens = self.held.drain(..).map(|(_, token)| token);
        self.hub.release_messages(self.session.target(), tokens);
    }
}

fn telemetry(properties: &str, body: Bytes, retain: bool) -> Result<D2cMessage, Failure> {
    let mut message = D2cMessage::from(body);
    property_bag::read(properties, &mut message)?;
    if retain {
        // A hub keeps no message for those who subscribe later, and lets the readers know that somebody asked for it.
        message.properties.push(("mqtt-retain".to_owned(), "true".to_owned()));
    }
    Ok(message)
}

fn write(topic: String, payload: Bytes, delivery: Delivery, out: &mut BytesMut) {
    Packet::Publish(Publish {
        topic,
        payload,
        delivery,
        retain: false,
    })
    .write(out);
}

fn messages_of(session: &Arc<Session>) -> Pin<Box<dyn Future<Output = LockedMessage> + Send>> {
    let session = Arc::clone(session);
    Box::pin(async move { session.next_message().await })
}

async fn next_message(messages: &mut Option<Pin<Box<dyn Future<Output = LockedMessage> + Send>>>) -> LockedMessage {
    match messages {
        Some(messages) => messages.await,
        None => pending().await,
    }
}

async fn next_request(methods: &mut Option<MethodRequests>) -> Option<MethodRequest> {
    match methods {
        Some(methods) => methods.recv().await,
        None => pending().await,
    }
}

async fn next_change(desired: &mut Option<DesiredChanges>) -> Option<DesiredChange> {
    match desired {
        Some(desired) => desired.recv().await,
        None => pending().await,
    }
}

/// Short, because small devices have little room for it; and of no other connection, because an answer may be late.
fn request_name(id: Uuid) -> String {
    let (name, ..) = id.as_fields();
    format!("{name:x}")
}

/// What cannot stand in the name of a method in a topic, where it is one level.
const UNFIT: &AsciiSet = &CONTROLS.add(b'/').add(b'+').add(b'#').add(b'?').add(b'%');

/// As many as wait in a session, and some more that the services have given up.
const MOST_REQUESTS: usize = 256;

//! The engine that the clients are built on, as a peer over a stream in memory.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use fe2o3_amqp::{
    Connection, Receiver, Sender, Session,
    connection::ConnectionHandle,
    link::{DetachError, SenderAttachError},
    session::SessionHandle,
};
use fe2o3_amqp_types::{
    messaging::{ApplicationProperties, Body, Data, Message, MessageId, Outcome, Properties},
    primitives::SimpleValue,
};
use iothub_core::HubErrorCode;
use serde_amqp::Value;

use super::{TOKEN, device, hub};
use crate::{
    amqp,
    hub::{AmqpEvent, CertificateChain, Door, Event, Hub, queue::LOCK},
    stop::Stopper,
};

/// A connection with one session.
pub(super) struct Client {
    pub(super) connection: ConnectionHandle<()>,
    pub(super) session: SessionHandle<()>,
    /// Other sessions, which live as long as the connection does.
    pub(super) others: Vec<SessionHandle<()>>,
    stopper: Stopper,
}

impl Client {
    pub(super) async fn connect(hub: &Hub) -> Self {
        Self::connect_with(hub, 65_536).await
    }

    pub(super) async fn connect_with(hub: &Hub, max_frame_size: u32) -> Self {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let stopper = Stopper::new();
        tokio::spawn(amqp::serve(
            theirs,
            CertificateChain::default(),
            hub.clone(),
            Door::Amqp,
            stopper.listener(),
        ));
        let mut connection = Connection::builder()
            .container_id("client")
            .hostname("localhost")
            .scheme("amqp")
            .max_frame_size(max_frame_size)
            .open_with_stream(ours)
            .await
            .unwrap();
        let session = Session::begin(&mut connection).await.unwrap();
        Self {
            connection,
            session,
            others: Vec::new(),
            stopper,
        }
    }

    /// Connects and puts a token.
    pub(super) async fn authorized(hub: &Hub) -> Self {
        let mut client = Self::connect(hub).await;
        assert_eq!(client.put_token(TOKEN).await, 200);
        client
    }

    /// Puts a token on a new pair of links, and gives the status of the answer.
    pub(super) async fn put_token(&mut self, token: &str) -> i32 {
        let mut requests = Sender::attach(&mut self.session, "cbs-requests", "$cbs").await.unwrap();
        let mut answers = Receiver::attach(&mut self.session, "cbs-answers", "$cbs")
            .await
            .unwrap();
        let request = Message::builder()
            .properties(Properties::builder().message_id(7_u64).build())
            .application_properties(
                ApplicationProperties::builder()
                    .insert("operation", "PUT-Token")
                    .insert("type", "servicebus.windows.net:sastoken")
                    .insert("name", "localhost")
                    .build(),
            )
            .value(token.to_owned())
            .build();
        requests.send(request).await.unwrap().accepted_or("refused").unwrap();
        let answer = answers.recv::<Body<Value>>().await.unwrap();
        answers.accept(&answer).await.unwrap();
        let message = answer.into_message();
        assert_eq!(message.properties.unwrap().correlation_id, Some(MessageId::Ulong(7)));
        let properties = message.application_properties.unwrap().0;
        assert!(matches!(
            properties.get("status-description"),
            Some(SimpleValue::String(_))
        ));
        let status = match properties.get("status-code") {
            Some(SimpleValue::Int(status)) => *status,
            other => panic!("{other:?}"),
        };
        requests.close().await.unwrap();
        answers.close().await.unwrap();
        status
    }

    /// Goes through all three ways to part, each of which the hub has to answer.
    async fn close(mut self, sender: Sender) {
        sender.close().await.unwrap();
        self.session.end().await.unwrap();
        self.connection.close().await.unwrap();
    }

    async fn sender(&mut self) -> Sender {
        let address = "amqps://localhost:5671/messages/deviceBound";
        Sender::attach(&mut self.session, "sender", address).await.unwrap()
    }

    /// The condition with which an attach is refused.
    ///
    /// On a session of its own: this engine detaches a refused link twice, and its session is of no use after that.
    pub(super) async fn refusal(&mut self, address: &str) -> String {
        let mut session = Session::begin(&mut self.connection).await.unwrap();
        match Sender::attach(&mut session, "refused", address).await {
            Err(SenderAttachError::RemoteClosedWithError(error)) => symbol(&error.condition),
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn to(address: &str) -> Properties {
    Properties::builder().to(address).build()
}

fn message_to(id: &str) -> Message<Data> {
    let properties = to(&format!("/devices/{id}/messages/devicebound"));
    Message::builder().properties(properties).data(&b"on"[..]).build()
}

pub(super) fn symbol(condition: &impl serde::Serialize) -> String {
    match serde_amqp::to_value(condition).unwrap() {
        Value::Symbol(symbol) => symbol.into_inner(),
        other => panic!("{other:?}"),
    }
}

/// `accepted`, or the condition of a rejection.
pub(super) fn verdict(outcome: Outcome) -> String {
    match outcome {
        Outcome::Accepted(_) => "accepted".to_owned(),
        Outcome::Rejected(rejected) => symbol(&rejected.error.unwrap().condition),
        other => panic!("{other:?}"),
    }
}

/// Waits for the detach of a link, and gives its condition.
pub(super) async fn detached(sender: &mut Sender) -> String {
    match sender.on_detach().await {
        DetachError::ClosedByRemote => String::new(),
        DetachError::RemoteClosedWithError(error) => symbol(&error.condition),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn messages_reach_devices_and_modules_however_they_are_addressed() {
    let hub = hub();
    let mut client = Client::authorized(&hub).await;
    let mut sender = client.sender().await;
    for address in [
        "/devices/hall#2/messages/devicebound",
        "/devices/hall%232/messages/deviceBound",
        "/Devices/hall%232/Messages/DEVICEBOUND/",
        "amqps://localhost:5671/devices/hall%232/messages/devicebound",
    ] {
        let message = Message::builder()
            .properties(to(address))
            .data(address.as_bytes())
            .build();
        assert_eq!(verdict(sender.send(message).await.unwrap()), "accepted", "{address}");
        let received = hub.take_message(&device("hall#2"), LOCK).unwrap().unwrap().message;
        assert_eq!(received.body, address);
    }
    let module = Message::builder()
        .properties(to("/devices/lamp/modules/nobody/messages/devicebound"))
        .data(&b""[..])
        .build();
    assert_eq!(verdict(sender.send(module).await.unwrap()), "amqp:not-found");
    client.close(sender).await;
}

#[tokio::test]
async fn every_form_of_a_body_is_read_or_refused() {
    let hub = hub();
    let mut client = Client::authorized(&hub).await;
    let mut sender = client.sender().await;
    let message = || Message::builder().properties(to("/devices/lamp/messages/devicebound"));
    let outcomes = [
        sender.send(message().data(&b"data"[..]).build()).await,
        sender
            .send(message().data_batch([&b"two "[..], &b"parts"[..]]).build())
            .await,
        sender.send(message().value("text".to_owned()).build()).await,
        sender.send(message().value(()).build()).await,
        sender.send(message().value(7_u32).build()).await,
        sender.send(message().sequence(vec![1_u32, 2]).build()).await,
    ];
    let verdicts: Vec<_> = outcomes.into_iter().map(|outcome| verdict(outcome.unwrap())).collect();
    let refused = "com.microsoft:argument-error";
    assert_eq!(
        verdicts,
        ["accepted", "accepted", "accepted", "accepted", refused, refused]
    );
    for body in ["data", "two parts", "text", ""] {
        assert_eq!(
            hub.take_message(&device("lamp"), LOCK).unwrap().unwrap().message.body,
            body
        );
    }
    client.close(sender).await;
}

#[tokio::test]
async fn a_refused_message_says_why_and_leaves_the_link_open() {
    let hub = hub();
    let mut client = Client::authorized(&hub).await;
    let mut sender = client.sender().await;
    let cases = [
        (to("/devices/nobody/messages/devicebound"), 2, "amqp:not-found"),
        (
            to("/devices/a b/messages/devicebound"),
            2,
            "com.microsoft:argument-error",
        ),
        (to("/devices/lamp"), 2, "com.microsoft:argument-error"),
        (Properties::default(), 2, "com.microsoft:argument-error"),
        (
            to("/devices/lamp/messages/devicebound"),
            66_000,
            "amqp:link:message-size-exceeded",
        ),
        (
            Properties::builder()
                .to("/devices/lamp/messages/devicebound")
                .message_id("x".repeat(129))
                .build(),
            2,
            "com.microsoft:argument-error",
        ),
    ];
    for (properties, size, condition) in cases {
        let message = Message::builder().properties(properties).data(vec![b'x'; size]).build();
        assert_eq!(verdict(sender.send(message).await.unwrap()), condition);
    }
    for _ in 0..50 {
        assert_eq!(verdict(sender.send(message_to("lamp")).await.unwrap()), "accepted");
    }
    let full = verdict(sender.send(message_to("lamp")).await.unwrap());
    assert_eq!(full, "amqp:resource-limit-exceeded");
    client.close(sender).await;
}

#[tokio::test]
async fn a_message_in_many_frames_arrives_whole() {
    let hub = hub();
    let mut client = Client::connect_with(&hub, 512).await;
    assert_eq!(client.put_token(TOKEN).await, 200);
    let mut sender = client.sender().await;
    let body: Vec<u8> = (0..60_000).map(|n: u32| n.to_be_bytes()[3]).collect();
    // The emulator's frames are larger than this client's, so that only the client's own messages are cut.
    let message = Message::builder()
        .properties(to("/devices/lamp/messages/devicebound"))
        .data(body.clone())
        .build();
    assert_eq!(verdict(sender.send(message).await.unwrap()), "accepted");
    assert_eq!(
        hub.take_message(&device("lamp"), LOCK).unwrap().unwrap().message.body,
        body
    );
    client.close(sender).await;
}

#[tokio::test]
async fn without_a_token_that_allows_it_a_link_is_refused() {
    let hub = hub();
    let mut client = Client::connect(&hub).await;
    assert_eq!(
        client.refusal("/messages/devicebound").await,
        "amqp:unauthorized-access"
    );
    for token in [
        TOKEN.replace("mEjV", "mEjW"),
        "Bearer x.y.z".to_owned(),
        "nothing of the kind".to_owned(),
    ] {
        assert_eq!(client.put_token(&token).await, 401, "{token}");
    }
    assert_eq!(client.put_token(TOKEN).await, 200);
    assert_eq!(client.refusal("/messages/nowhere").await, "amqp:not-found");
    let sender = client.sender().await;
    client.close(sender).await;
}

#[tokio::test]
async fn a_token_that_expires_takes_its_links_with_it_and_a_new_one_does_not() {
    let hub = hub();
    let mut client = Client::connect(&hub).await;
    let soon = hub.clock().now() + Duration::from_secs(3600);
    assert_eq!(client.put_token(&sign(soon.unix_timestamp())).await, 200);
    let mut sender = client.sender().await;
    hub.clock().advance(Duration::from_secs(3000));
    assert_eq!(client.put_token(&sign(soon.unix_timestamp() + 3600)).await, 200);
    hub.clock().advance(Duration::from_secs(3000));
    assert_eq!(verdict(sender.send(message_to("lamp")).await.unwrap()), "accepted");
    hub.clock().advance(Duration::from_secs(3000));
    assert_eq!(detached(&mut sender).await, "amqp:unauthorized-access");
    assert_eq!(client.put_token(TOKEN).await, 200);
    let sender = client.sender().await;
    client.close(sender).await;
}

#[tokio::test]
async fn faults_happen_as_asked_for() {
    let hub = hub();
    let faults = hub.faults().amqp();
    let mut client = Client::connect(&hub).await;
    faults.refuse_next_tokens(503, 1);
    assert_eq!(client.put_token(TOKEN).await, 503);
    assert_eq!(client.put_token(TOKEN).await, 200);

    let mut sender = client.sender().await;
    hub.faults().refuse_next(HubErrorCode::ThrottlingException, 1);
    let throttled = verdict(sender.send(message_to("lamp")).await.unwrap());
    assert_eq!(throttled, "com.microsoft:device-container-throttled");
    assert_eq!(verdict(sender.send(message_to("lamp")).await.unwrap()), "accepted");

    faults.detach_links("/feedback", Some("amqp:link:stolen"));
    faults.detach_links("/DEVICEBOUND", Some("amqp:link:detach-forced"));
    assert_eq!(detached(&mut sender).await, "amqp:link:detach-forced");
    let mut sender = client.sender().await;
    faults.detach_links("", None);
    assert_eq!(detached(&mut sender).await, "");

    faults.end_sessions(Some("amqp:session:errant-link"));
    let ended = format!("{:?}", client.session.on_end().await);
    assert!(ended.contains("ErrantLink"), "{ended}");
    faults.close_connections(Some("amqp:connection:forced"));
    let closed = format!("{:?}", client.connection.on_close().await);
    assert!(closed.contains("ConnectionForced"), "{closed}");
}

#[tokio::test]
async fn settlements_can_be_held_and_credit_bounds_what_is() {
    let hub = hub();
    hub.faults().amqp().hold_settlements();
    let mut client = Client::authorized(&hub).await;
    let mut sender = client.sender().await;
    let mut receipts = Vec::new();
    for n in 0..100 {
        receipts.push(
            sender
                .send_batchable(message_to(if n < 50 { "lamp" } else { "hall#2" }))
                .await
                .unwrap(),
        );
    }
    let queued = || hub.journal().count(|event| matches!(event, Event::Queued { .. }));
    let mut seen = 0;
    while queued() < 100 {
        seen += 1;
        hub.journal().newer_than(seen).await;
    }
    // There is no credit for another; all that were sent have been carried out, and none is settled.
    let another = tokio::time::timeout(Duration::from_millis(50), sender.send_batchable(message_to("lamp"))).await;
    assert!(another.is_err());
    assert_eq!(queued(), 100);
    hub.faults().amqp().settle_again();
    for receipt in receipts {
        assert_eq!(verdict(receipt.await.unwrap()), "accepted");
    }
    assert_eq!(
        verdict(sender.send(message_to("lamp")).await.unwrap()),
        "amqp:resource-limit-exceeded"
    );
    client.close(sender).await;
}

#[tokio::test]
async fn an_answer_can_be_lost_after_the_message_was_taken() {
    let hub = hub();
    let mut client = Client::authorized(&hub).await;
    let mut sender = client.sender().await;
    hub.faults().lose_next_answers(1);
    // The engine of this client never resolves the receipt, so the connection is what is asked.
    let _receipt = sender.send_batchable(message_to("lamp")).await.unwrap();
    let lost = format!("{:?}", client.connection.on_close().await);
    assert!(lost.contains("Io"), "{lost}");
    assert!(hub.take_message(&device("lamp"), LOCK).unwrap().is_some());
    let gone = |event: &Event| {
        matches!(
            event,
            Event::Amqp {
                event: AmqpEvent::Gone,
                ..
            }
        )
    };
    hub.journal().wait_for(gone).await;
}

#[tokio::test]
async fn a_hub_that_stops_closes_its_connections_in_order() {
    let hub = hub();
    let mut client = Client::authorized(&hub).await;
    client.stopper.stop();
    let closed = format!("{:?}", client.connection.on_close().await);
    assert!(closed.contains("ConnectionForced"), "{closed}");
    assert!(closed.contains("shutting down"), "{closed}");
}

/// Signs a token for the policy as the recorded clients did.
fn sign(expiry: i64) -> String {
    format!("{}&skn=service", sign_for("localhost", expiry))
}

/// Signs for a resource, with the key that the policy and the devices of these tests have.
pub(super) fn sign_for(resource: &str, expiry: i64) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &(0..16).collect::<Vec<u8>>());
    let signature = BASE64_STANDARD.encode(ring::hmac::sign(&key, format!("{resource}\n{expiry}").as_bytes()));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}")
}

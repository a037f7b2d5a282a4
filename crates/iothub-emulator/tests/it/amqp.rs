use fe2o3_amqp::{Connection, Sender, Session, connection::OpenError, sasl_profile::SaslProfile};
use fe2o3_amqp_types::{
    messaging::{ApplicationProperties, Message, Outcome, Properties},
    sasl::SaslCode,
};
use iothub_emulator::{AmqpEvent, Door, Emulator, EmulatorOptions, Event, Fault, When};

use crate::client::{self, Client};

const EXPIRY: u64 = 4_102_444_800;

pub(crate) fn plain(user: &str, token: String) -> SaslProfile {
    SaslProfile::Plain {
        username: user.to_owned(),
        password: token,
    }
}

/// Opens a connection over TLS and says by SASL who it is.
pub(crate) async fn connect(
    emulator: &Emulator,
    profile: SaslProfile,
) -> Result<fe2o3_amqp::connection::ConnectionHandle<()>, OpenError> {
    let stream = client::tls_at(emulator, emulator.host().amqps_port(), b"").await;
    Connection::builder()
        .container_id("client")
        .hostname("localhost")
        .scheme("amqp")
        .sasl_profile(profile)
        .open_with_stream(stream)
        .await
}

/// A connection as the policy `service`, with one session.
pub(crate) struct Service {
    connection: fe2o3_amqp::connection::ConnectionHandle<()>,
    pub(crate) session: fe2o3_amqp::session::SessionHandle<()>,
    sender: Sender,
}

impl Service {
    pub(crate) async fn connect(emulator: &Emulator) -> Self {
        let token = client::token(emulator, "service", EXPIRY);
        let profile = plain("service@sas.root.localhost", token);
        let mut connection = connect(emulator, profile).await.unwrap();
        let mut session = Session::begin(&mut connection).await.unwrap();
        let sender = Sender::attach(&mut session, "sender", "/messages/devicebound")
            .await
            .unwrap();
        Self {
            connection,
            session,
            sender,
        }
    }

    /// Sends a message to a device or, as `device/modules/module`, to a module.
    pub(crate) async fn send(&mut self, to: &str, id: &str, ack: Option<&str>, properties: Properties, body: &str) {
        let properties = Properties {
            to: Some(format!("/devices/{to}/messages/devicebound")),
            message_id: Some(id.to_owned().into()),
            ..properties
        };
        let application = ApplicationProperties::builder().insert("colour", "red");
        let application = match ack {
            Some(ack) => application.insert("iothub-ack", ack),
            None => application,
        };
        let message = Message::builder()
            .properties(properties)
            .application_properties(application.build())
            .data(body.as_bytes().to_vec())
            .build();
        assert!(matches!(self.sender.send(message).await.unwrap(), Outcome::Accepted(_)));
    }

    pub(crate) async fn close(mut self) {
        self.sender.close().await.unwrap();
        self.session.end().await.unwrap();
        self.connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_policy_signs_in_by_name_and_token() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let mut registry = Client::new(&emulator, "iothubowner").await;
    let created = registry.put("/devices/lamp", None, r#"{"deviceId":"lamp"}"#).await;
    assert_eq!(created.status, 200);
    let token = client::token(&emulator, "service", EXPIRY);
    let mut connection = connect(&emulator, plain("service@sas.root.localhost", token))
        .await
        .unwrap();
    let mut session = Session::begin(&mut connection).await.unwrap();
    let mut sender = Sender::attach(&mut session, "sender", "/messages/devicebound")
        .await
        .unwrap();
    let properties = Properties::builder()
        .to("/devices/lamp/messages/devicebound")
        .message_id("m1".to_owned())
        .build();
    let message = Message::builder().properties(properties).data(&b"on"[..]).build();
    assert!(matches!(sender.send(message).await.unwrap(), Outcome::Accepted(_)));
    let received = emulator.device("lamp").unwrap().recv().await.complete().unwrap();
    assert_eq!(received.message_id.as_deref(), Some("m1"));
    sender.close().await.unwrap();
    session.end().await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_token_is_good_for_its_own_name_only() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let token = client::token(&emulator, "service", EXPIRY);
    for (user, token) in [
        ("iothubowner@sas.root.localhost", token.clone()),
        ("service@sas.root.elsewhere", token.clone()),
        ("service", token.clone()),
        ("service@sas.root.localhost", token.replace("sig=", "sig=x")),
    ] {
        let refused = connect(&emulator, plain(user, token)).await;
        let code = match refused {
            Err(OpenError::SaslError { code, .. }) => code,
            other => panic!("{other:?}"),
        };
        assert!(matches!(code, SaslCode::Auth), "{user}");
    }
}

#[tokio::test]
async fn connections_break_when_they_are_told_to() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let token = || client::token(&emulator, "service", EXPIRY);
    let gone = |event: &Event| {
        matches!(
            event,
            Event::Amqp {
                door: Door::Amqp,
                event: AmqpEvent::Gone,
                ..
            }
        )
    };

    let mut dropped = connect(&emulator, plain("service@sas.root.localhost", token()))
        .await
        .unwrap();
    emulator.faults().amqp().drop_connections();
    assert!(dropped.on_close().await.is_err());
    emulator.journal().wait_for(gone).await;

    let mut silent = connect(&emulator, plain("service@sas.root.localhost", token()))
        .await
        .unwrap();
    emulator.faults().amqp().stop_responding();
    // A begin is never answered; the connection stays open until the emulator stops.
    let begin = Session::begin(&mut silent);
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(100), begin)
            .await
            .is_err()
    );
    assert_eq!(emulator.journal().count(gone), 1);
    emulator.shutdown().await;
}

#[tokio::test]
async fn the_security_layer_refuses_when_it_is_told_to() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let connect = || {
        let token = client::token(&emulator, "service", EXPIRY);
        connect(&emulator, plain("service@sas.root.localhost", token))
    };
    for (outcome, expected) in [
        (1, SaslCode::Auth),
        (2, SaslCode::Sys),
        (3, SaslCode::SysPerm),
        (4, SaslCode::SysTemp),
    ] {
        emulator
            .faults()
            .inject(Fault::RefuseSasl { outcome }, When::Next(1))
            .unwrap();
        let Err(OpenError::SaslError { code, .. }) = connect().await else {
            panic!("{outcome} is a refusal");
        };
        assert_eq!(code, expected);
    }
    connect().await.unwrap();
}

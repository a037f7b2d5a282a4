use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use fe2o3_amqp::{
    Connection, Receiver, Sender, Session,
    connection::ConnectionHandle,
    link::{CreditMode, SendError, delivery::DeliveryFut},
    session::SessionHandle,
};
use fe2o3_amqp_types::{
    messaging::{Body, Message, Outcome, Properties},
    primitives::{Binary, Value},
};
use iothub_core::{HubHost, models::FeedbackRecord};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{C2D, FEEDBACK, WINDOW};

/// The engine alone, used as its documentation shows.
pub(crate) struct Raw {
    sender: Sender,
    /// Opened at first use, since the peer begins to send then.
    receiver: Option<Receiver>,
    body: Bytes,
    session: SessionHandle<()>,
    _connection: ConnectionHandle<()>,
}

impl Raw {
    pub(crate) async fn new(host: &HubHost, root: &Bytes) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(root.to_vec())).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = TcpStream::connect(("127.0.0.1", host.amqps_port())).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        let mut connection = Connection::builder()
            .container_id("raw")
            .scheme("amqp")
            .hostname("localhost")
            .max_frame_size(65_536)
            .idle_time_out(120_000_u32)
            .open_with_stream(tls)
            .await
            .unwrap();
        let mut session = Session::begin(&mut connection).await.unwrap();
        let sender = Sender::attach(&mut session, "raw sender", C2D).await.unwrap();
        Self {
            sender,
            receiver: None,
            body: vec![7; 1024].into(),
            session,
            _connection: connection,
        }
    }

    pub(crate) async fn send(&mut self, messages: usize) {
        let mut under_way: VecDeque<DeliveryFut<Result<Outcome, SendError>>> = VecDeque::with_capacity(WINDOW);
        for _ in 0..messages {
            if under_way.len() == WINDOW {
                accepted(under_way.pop_front().unwrap()).await;
            }
            let properties = Properties::builder()
                .message_id("0123456789abcdef".to_owned())
                .to("/devices/lamp/messages/devicebound".to_owned())
                .build();
            let message = Message::builder()
                .properties(properties)
                .data(Binary::from(self.body.to_vec()))
                .build();
            under_way.push_back(self.sender.send_batchable(message).await.unwrap());
        }
        for settling in under_way {
            accepted(settling).await;
        }
    }

    pub(crate) async fn receive(&mut self, messages: usize) {
        if self.receiver.is_none() {
            let receiver = Receiver::builder()
                .name("raw receiver")
                .source(FEEDBACK)
                .credit_mode(CreditMode::Auto(u32::try_from(WINDOW).unwrap()))
                .attach(&mut self.session)
                .await
                .unwrap();
            self.receiver = Some(receiver);
        }
        let receiver = self.receiver.as_mut().unwrap();
        for _ in 0..messages {
            let delivery = receiver.recv::<Body<Value>>().await.unwrap();
            let Body::Data(data) = delivery.body() else {
                panic!("feedback is data")
            };
            let records: Vec<FeedbackRecord> = serde_json::from_slice(&data.iter().next().unwrap().0).unwrap();
            assert_eq!(records.len(), 1);
            receiver.accept(&delivery).await.unwrap();
        }
    }
}

async fn accepted(settling: DeliveryFut<Result<Outcome, SendError>>) {
    let outcome = settling.await.unwrap();
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
}

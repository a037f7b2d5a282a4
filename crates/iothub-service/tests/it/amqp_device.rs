use std::sync::Arc;

use azure_core::time::OffsetDateTime;
use fe2o3_amqp::{
    Connection, Delivery, Receiver, Sender, Session, connection::ConnectionHandle, sasl_profile::SaslProfile,
    session::SessionHandle,
};
use fe2o3_amqp_types::{messaging::Body, primitives::Value};
use iothub_auth::SharedAccessKey;
use iothub_emulator::Emulator;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A peer of the hub that speaks bare AMQP, and shares no code with the client under test above its engine.
pub(crate) struct Peer {
    pub(crate) session: SessionHandle<()>,
    _connection: ConnectionHandle<()>,
}

impl Peer {
    /// Signs in as a shared access policy: `device` may be any device, `service` may read what they send.
    pub(crate) async fn connect(emulator: &Emulator, policy: &str) -> Self {
        let text = emulator.connection_string(policy).unwrap();
        let (_, key) = text.split_once(";SharedAccessKey=").unwrap();
        let key = SharedAccessKey::new(policy, key).unwrap();
        let token = key.sign("localhost", OffsetDateTime::from_unix_timestamp(4_102_444_800).unwrap());
        let profile = SaslProfile::Plain {
            username: format!("{policy}@sas.root.localhost"),
            password: token.secret().secret().to_owned(),
        };
        let mut connection = Connection::builder()
            .container_id("peer")
            .hostname("localhost")
            .scheme("amqp")
            .sasl_profile(profile)
            .open_with_stream(tls(emulator).await)
            .await
            .unwrap();
        let session = Session::begin(&mut connection).await.unwrap();
        Self {
            session,
            _connection: connection,
        }
    }

    pub(crate) async fn sender(&mut self, address: &str) -> Sender {
        Sender::attach(&mut self.session, format!("to {address}"), address)
            .await
            .unwrap()
    }

    pub(crate) async fn receiver(&mut self, address: &str) -> Receiver {
        Receiver::attach(&mut self.session, format!("from {address}"), address)
            .await
            .unwrap()
    }
}

pub(crate) fn text(delivery: &Delivery<Body<Value>>) -> String {
    let Body::Data(data) = delivery.body() else {
        panic!("{:?}", delivery.body());
    };
    let bytes: Vec<u8> = data.iter().flat_map(|data| data.0.to_vec()).collect();
    String::from_utf8(bytes).unwrap()
}

async fn tls(emulator: &Emulator) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(emulator.root_certificate().as_bytes()).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", emulator.host().amqps_port()))
        .await
        .unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), stream)
        .await
        .unwrap()
}

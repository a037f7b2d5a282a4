use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use fe2o3_amqp::{Connection, Receiver, Sender, Session, connection::ConnectionHandle, session::SessionHandle};
use serde_json::Value;
use tokio::{task::spawn_blocking, time::timeout};

use super::PATIENCE;
use crate::{
    amqp,
    client::{self, Client},
    directory::Directory,
};

/// The emulator in a process of its own, which ends with this value as nothing can be prepared for.
pub(super) struct Hub {
    process: Child,
    ready: Value,
    root: String,
}

impl Hub {
    pub(super) async fn start(directory: &Directory) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_iothub-emulator"))
            .args(["--free-ports", "--partitions", "1", "--log", "off", "--data-dir"])
            .arg(directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut hub = Self {
            process,
            ready: Value::Null,
            root: String::new(),
        };
        let line = spawn_blocking(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).map(|_| line)
        });
        let line = timeout(PATIENCE, line).await.expect("it starts").unwrap().unwrap();
        hub.ready = serde_json::from_str(&line).expect("it starts");
        hub.root = fs::read_to_string(directory.file("ca.pem")).unwrap();
        hub
    }

    pub(super) async fn client(&self) -> Client {
        let stream = self.dial("httpsPort", b"http/1.1").await;
        Client::on(stream, self.text("host").to_owned(), self.token()).await
    }

    pub(super) async fn amqp(&self) -> Amqp {
        let stream = self.dial("amqpsPort", b"").await;
        let user = format!("iothubowner@sas.root.{}", self.text("host"));
        let mut connection = Connection::builder()
            .container_id("client")
            .hostname("localhost")
            .scheme("amqp")
            .sasl_profile(amqp::plain(&user, self.token()))
            .open_with_stream(stream)
            .await
            .unwrap();
        Amqp {
            session: Session::begin(&mut connection).await.unwrap(),
            _connection: connection,
        }
    }

    async fn dial(&self, port: &str, protocol: &[u8]) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
        let port = u16::try_from(self.ready[port].as_u64().unwrap()).unwrap();
        let dialled = client::dial(&self.root, self.text("host"), port, protocol, None);
        dialled.await.unwrap()
    }

    fn token(&self) -> String {
        const EXPIRY: u64 = 4_102_444_800;
        client::token_of(self.text("connectionString"), self.text("host"), "iothubowner", EXPIRY)
    }

    fn text(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection with one session.
pub(super) struct Amqp {
    session: SessionHandle<()>,
    _connection: ConnectionHandle<()>,
}

impl Amqp {
    pub(super) async fn sender(&mut self) -> Sender {
        let attached = Sender::attach(&mut self.session, "sender", "/messages/devicebound");
        attached.await.unwrap()
    }

    /// Receives what devices have sent since the hub was made.
    pub(super) async fn events(&mut self) -> Receiver {
        let path = "iothub-ehub-localhost/ConsumerGroups/$Default/Partitions/0";
        Receiver::attach(&mut self.session, "events", path).await.unwrap()
    }
}

use std::ffi::OsStr;

use fe2o3_amqp::{Connection, Receiver, Sender, Session, connection::ConnectionHandle, session::SessionHandle};

use crate::{amqp, client::Client, directory::Directory, process::Process};

/// The emulator with its state in a directory.
pub(super) struct Hub(Process);

impl Hub {
    pub(super) async fn start(directory: &Directory) -> Self {
        let arguments = ["--partitions", "1", "--data-dir"].map(OsStr::new);
        let directory = directory.path().as_os_str();
        Self(Process::start(arguments.into_iter().chain([directory])).await)
    }

    pub(super) async fn client(&self) -> Client {
        self.0.service().await
    }

    pub(super) async fn amqp(&self) -> Amqp {
        let Self(process) = self;
        let stream = process.dial(process.port("amqpsPort"), b"").await;
        let user = format!("iothubowner@sas.root.{}", process.text("host"));
        let mut connection = Connection::builder()
            .container_id("client")
            .hostname("localhost")
            .scheme("amqp")
            .sasl_profile(amqp::plain(&user, process.token()))
            .open_with_stream(stream)
            .await
            .unwrap();
        Amqp {
            session: Session::begin(&mut connection).await.unwrap(),
            _connection: connection,
        }
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

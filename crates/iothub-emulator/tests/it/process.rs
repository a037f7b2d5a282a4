use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{net::TcpStream, task::spawn_blocking, time::timeout};
use tokio_rustls::client::TlsStream;

use crate::client::{self, Client};

/// The emulator in a process of its own, which ends with this value as nothing can be prepared for.
pub(crate) struct Process {
    child: Child,
    ready: Value,
    root: String,
}

impl Process {
    pub(crate) async fn start(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_iothub-emulator"))
            .args(["--free-ports", "--log", "off"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self {
            child,
            ready: Value::Null,
            root: String::new(),
        };
        let line = spawn_blocking(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).map(|_| line)
        });
        let line = timeout(PATIENCE, line).await.expect("it starts").unwrap().unwrap();
        process.ready = serde_json::from_str(&line).expect("it starts");
        process.root = fs::read_to_string(process.text("caFile")).unwrap();
        process
    }

    /// A client with the rights of the owner.
    pub(crate) async fn service(&self) -> Client {
        let stream = self.dial(self.port("httpsPort"), b"http/1.1").await;
        Client::on(stream, self.text("host").to_owned(), self.token()).await
    }

    pub(crate) async fn dial(&self, port: u16, protocol: &[u8]) -> TlsStream<TcpStream> {
        let dialled = client::dial(&self.root, self.text("host"), port, protocol, None);
        dialled.await.unwrap()
    }

    /// A token of the owner's.
    pub(crate) fn token(&self) -> String {
        const EXPIRY: u64 = 4_102_444_800;
        client::token_of(self.text("connectionString"), self.text("host"), "iothubowner", EXPIRY)
    }

    pub(crate) fn port(&self, name: &str) -> u16 {
        u16::try_from(self.ready[name].as_u64().unwrap()).unwrap()
    }

    /// What the line that says ready has by this name.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

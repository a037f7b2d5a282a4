//! Figures of the binary: how soon it is there, what it takes at rest, and what a core does in a second.
//!
//! `cargo bench -p iothub-emulator --bench figures --profile release`: the binary as it is installed. A core's figure is
//! what was done divided by the processor time that the emulator took for it, so that the client does not count. A
//! processor that others use as well takes longer for the same, so each figure is measured in many short rounds: the
//! best is what an undisturbed core does. Beside it stands what hyper takes, in turns with the emulator, to answer the
//! same requests over TLS with nothing behind it. Linux only: it reads `/proc`.
#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::unwrap_used, reason = "a bench that fails panics")]

use std::{
    fs,
    io::{self, BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use fe2o3_amqp::{Connection, Sender, Session, sasl_profile::SaslProfile};
use fe2o3_amqp_types::messaging::{Message, Properties};
use futures::{StreamExt, stream::FuturesUnordered};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ring::hmac;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use gathering::Gathering;

mod bare;
mod gathering;

#[tokio::main]
async fn main() {
    if std::env::args().any(|argument| argument == bare::BARE) {
        return bare::serve().await;
    }
    starts();
    let hub = Hub::start();
    println!("memory at rest: {:.1} MiB", hub.resident() as f64 / 1024.0 / 1024.0);
    hub.make_devices().await;
    let bare = Hub::start_bare();
    let both = [&hub, &bare];
    for connections in [1, 8] {
        let round = async |hub: &Hub| hub.get_twins_http1(connections).await;
        in_turns(&format!("HTTP/1.1 x {connections}"), both, round).await;
    }
    in_turns("HTTP/2, 64 at once", both, async |hub: &Hub| {
        hub.get_twins_http2().await
    })
    .await;
    drop(bare);
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        rounds.push(hub.send_messages(round * MESSAGES).await);
    }
    report("accept a message of 100 bytes", MESSAGES, rounds);
    println!(
        "memory after {} messages: {:.1} MiB",
        MESSAGES * ROUNDS,
        hub.resident() as f64 / 1024.0 / 1024.0
    );
}

fn starts() {
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let started = Instant::now();
            drop(Hub::start());
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("start: median {:?}, best {:?}", times[times.len() / 2], times[0]);
}

/// Measures rounds of requests to the emulator and to what stands beside it.
async fn in_turns(what: &str, both: [&Hub; 2], round: impl AsyncFn(&Hub) -> Duration) {
    let mut rounds = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        for (hub, rounds) in both.into_iter().zip(&mut rounds) {
            rounds.push(round(hub).await);
        }
    }
    for (whose, rounds) in ["get twin", "bare hyper"].into_iter().zip(rounds) {
        report(&format!("{whose}, {what}"), REQUESTS, rounds);
    }
}

/// Prints what rounds say in which `count` things took so much of the processor's time.
fn report(what: &str, count: usize, mut rounds: Vec<Duration>) {
    rounds.sort_unstable();
    let show = |spent: Duration| {
        let a_second = count as f64 / spent.as_secs_f64();
        format!("{a_second:.0} ({:.1} us each)", 1e6 / a_second)
    };
    let (median, best) = (show(rounds[rounds.len() / 2]), show(rounds[0]));
    println!("{what}, a second of a core: median {median}, best {best}");
}

/// A running emulator.
struct Hub {
    process: Child,
    ready: Value,
}

impl Hub {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iothub-emulator"));
        command.args(["--free-ports", "--log", "off"]);
        Self::of(command)
    }

    fn start_bare() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(bare::BARE);
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready = serde_json::from_str(&line).unwrap();
        Self { process, ready }
    }

    /// In bytes.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The time that the processor spent on it, for itself and in the kernel.
    fn processor(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let of_thread = |thread: io::Result<fs::DirEntry>| {
            // A thread may end meanwhile; those that do the work do not.
            let figures = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap_or_default();
            figures
                .split(' ')
                .next()
                .and_then(|spent| spent.parse().ok())
                .unwrap_or(0)
        };
        Duration::from_nanos(threads.map(of_thread).sum())
    }

    async fn tls(&self, port: &str, protocol: &[u8]) -> TlsStream<TcpStream> {
        let root = match self.ready["root"].as_str() {
            Some(root) => root.into(),
            None => fs::read(self.ready["caFile"].as_str().unwrap()).unwrap(),
        };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&root).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        if !protocol.is_empty() {
            config.alpn_protocols = vec![protocol.to_vec()];
        }
        let port = u16::try_from(self.ready[port].as_u64().unwrap()).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap()
    }

    fn token(&self) -> String {
        let text = self.ready["connectionString"].as_str().unwrap();
        let key = BASE64_STANDARD
            .decode(text.split_once("SharedAccessKey=").unwrap().1)
            .unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signature = BASE64_STANDARD.encode(hmac::sign(&key, b"localhost\n4102444800"));
        let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        format!("SharedAccessSignature sr=localhost&sig={signature}&se=4102444800&skn=iothubowner")
    }

    fn request(&self, method: &str, path: &str, body: String) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}?api-version=2021-04-12"))
            .header("host", "localhost")
            .header("authorization", self.token())
            .body(Full::from(body))
            .unwrap()
    }

    async fn make_devices(&self) {
        let stream = TokioIo::new(self.tls("httpsPort", b"http/1.1").await);
        let (mut sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for hundred in 0..DEVICES / 100 {
            let ids = hundred * 100..(hundred + 1) * 100;
            let items: Vec<_> = ids
                .map(|n| format!(r#"{{"id":"d{n}","importMode":"create"}}"#))
                .collect();
            let body = format!("[{}]", items.join(","));
            sender.ready().await.unwrap();
            let response = sender
                .send_request(self.request("POST", "/devices", body))
                .await
                .unwrap();
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.unwrap();
        }
    }

    async fn get_twins_http1(&self, connections: usize) -> Duration {
        let mut senders = Vec::new();
        for _ in 0..connections {
            let stream = TokioIo::new(self.tls("httpsPort", b"http/1.1").await);
            let (sender, connection) = http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            senders.push(sender);
        }
        let before = self.processor();
        let each = REQUESTS / connections;
        let mut work: FuturesUnordered<_> = senders
            .into_iter()
            .map(|mut sender| async move {
                for n in 0..each {
                    let path = format!("/twins/d{}", n % DEVICES);
                    sender.ready().await.unwrap();
                    let response = sender
                        .send_request(self.request("GET", &path, String::new()))
                        .await
                        .unwrap();
                    assert_eq!(response.status(), 200);
                    response.into_body().collect().await.unwrap();
                }
            })
            .collect();
        while work.next().await.is_some() {}
        self.processor() - before
    }

    async fn get_twins_http2(&self) -> Duration {
        let stream = TokioIo::new(self.tls("httpsPort", b"h2").await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let before = self.processor();
        let calls = futures::stream::iter(0..REQUESTS).map(|n| {
            let mut sender = sender.clone();
            let request = self.request("GET", &format!("/twins/d{}", n % DEVICES), String::new());
            async move {
                let response = sender.send_request(request).await.unwrap();
                assert_eq!(response.status(), 200);
                response.into_body().collect().await.unwrap();
            }
        });
        calls.buffer_unordered(64).for_each(async |()| {}).await;
        self.processor() - before
    }

    /// Sends messages, of which the first has this number, to one device after the other.
    async fn send_messages(&self, first: usize) -> Duration {
        let stream = Gathering::new(self.tls("amqpsPort", b"").await);
        let profile = SaslProfile::Plain {
            username: "iothubowner@sas.root.localhost".to_owned(),
            password: self.token(),
        };
        let mut connection = Connection::builder()
            .container_id("bench")
            .hostname("localhost")
            .scheme("amqp")
            .sasl_profile(profile)
            .open_with_stream(stream)
            .await
            .unwrap();
        let mut session = Session::begin(&mut connection).await.unwrap();
        let mut sender = Sender::attach(&mut session, "sender", "/messages/devicebound")
            .await
            .unwrap();
        let before = self.processor();
        let mut receipts = FuturesUnordered::new();
        for n in (first..).take(MESSAGES) {
            let properties = Properties {
                to: Some(format!("/devices/d{}/messages/devicebound", n % DEVICES)),
                message_id: Some(n.to_string().into()),
                ..Default::default()
            };
            let message = Message::builder().properties(properties).data(vec![7; 100]).build();
            receipts.push(sender.send_batchable(message).await.unwrap());
            if receipts.len() == 500 {
                assert!(receipts.next().await.unwrap().unwrap().is_accepted());
            }
        }
        while let Some(receipt) = receipts.next().await {
            assert!(receipt.unwrap().is_accepted());
        }
        self.processor() - before
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const DEVICES: usize = 2_000;
const ROUNDS: usize = 20;
const REQUESTS: usize = 10_000;

/// In all rounds as many as the queues of the devices hold, which is fifty each, and not more.
const MESSAGES: usize = DEVICES * 50 / ROUNDS;

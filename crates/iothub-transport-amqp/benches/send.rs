//! What the seam costs: 1 KiB messages, pipelined, by the seam and by fe2o3-amqp itself, to the same peer over the same
//! TLS, with the same number under way.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run has nobody to tell but its console"
)]

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fe2o3_amqp::{
    Connection, Sender, Session,
    acceptor::{ConnectionAcceptor, LinkAcceptor, LinkEndpoint, SessionAcceptor},
    connection::ConnectionHandle,
    link::{CreditMode, SendError, delivery::DeliveryFut},
    session::SessionHandle,
};
use fe2o3_amqp_types::{
    messaging::{Body, Message, Outcome, Properties},
    primitives::{Binary, Value},
};
use iothub_core::{
    HubHost,
    amqp::{AmqpBody, AmqpConnection, AmqpMessage, AmqpSender, AmqpTransport, Receipt, SenderLink},
};
use iothub_transport_amqp::{AmqpOptions, Fe2o3Transport};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::Mutex,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const TO: &str = "/devices/lamp/messages/devicebound";
const ADDRESS: &str = "/messages/devicebound";

fn send(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (host, root) = runtime.block_on(peer());
    let seam = Arc::new(runtime.block_on(Seam::new(&host, root.clone())));
    let raw = Arc::new(Mutex::new(runtime.block_on(Raw::new(&host, root))));

    let mut group = criterion.benchmark_group("send_1_kib");
    group
        .throughput(Throughput::Elements(1))
        .sample_size(30)
        .measurement_time(Duration::from_secs(10));
    // In a task, as in a server; the thread of `block_on` is none of the runtime's workers.
    for window in [1, 50, 500] {
        group.bench_function(BenchmarkId::new("seam", window), |bencher| {
            bencher.iter_custom(|messages| {
                let seam = seam.clone();
                let sending = runtime.spawn(async move { seam.send(messages, window).await });
                runtime.block_on(sending).unwrap()
            });
        });
        group.bench_function(BenchmarkId::new("fe2o3_amqp", window), |bencher| {
            bencher.iter_custom(|messages| {
                let raw = raw.clone();
                let sending = runtime.spawn(async move { raw.lock().await.send(messages, window).await });
                runtime.block_on(sending).unwrap()
            });
        });
    }
    group.finish();
}

struct Seam {
    _connection: Box<dyn AmqpConnection>,
    sender: Box<dyn AmqpSender>,
    body: Bytes,
}

impl Seam {
    async fn new(host: &HubHost, root: Bytes) -> Self {
        let options = AmqpOptions {
            extra_roots: vec![root],
            platform_roots: false,
            ..Default::default()
        };
        let connection = Fe2o3Transport::new(options).unwrap().connect(host).await.unwrap();
        let link = SenderLink {
            address: ADDRESS.to_owned(),
            properties: Vec::new(),
        };
        let sender = connection.sender(link).await.unwrap();
        Self {
            _connection: connection,
            sender,
            body: vec![7; 1024].into(),
        }
    }

    async fn send(&self, messages: u64, window: usize) -> Duration {
        let began = Instant::now();
        let mut under_way: VecDeque<Receipt> = VecDeque::with_capacity(window);
        for _ in 0..messages {
            if under_way.len() == window {
                let receipt = under_way.pop_front().unwrap();
                receipt.await.unwrap();
            }
            let message = AmqpMessage {
                message_id: Some("0123456789abcdef".into()),
                to: Some(TO.to_owned()),
                body: AmqpBody::Data(self.body.clone()),
                ..Default::default()
            };
            under_way.push_back(self.sender.send(message).await.unwrap());
        }
        for receipt in under_way {
            receipt.await.unwrap();
        }
        began.elapsed()
    }
}

struct Raw {
    _connection: ConnectionHandle<()>,
    _session: SessionHandle<()>,
    sender: Sender,
    body: Bytes,
}

impl Raw {
    async fn new(host: &HubHost, root: Bytes) -> Self {
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
        let sender = Sender::attach(&mut session, "raw", ADDRESS).await.unwrap();
        Self {
            _connection: connection,
            _session: session,
            sender,
            body: vec![7; 1024].into(),
        }
    }

    async fn send(&mut self, messages: u64, window: usize) -> Duration {
        let began = Instant::now();
        let mut under_way: VecDeque<DeliveryFut<Result<Outcome, SendError>>> = VecDeque::with_capacity(window);
        for _ in 0..messages {
            if under_way.len() == window {
                let settling = under_way.pop_front().unwrap();
                settling.await.unwrap();
            }
            let properties = Properties::builder()
                .message_id("0123456789abcdef".to_owned())
                .to(TO.to_owned())
                .build();
            let message = Message::builder()
                .properties(properties)
                .data(Binary::from(self.body.to_vec()))
                .build();
            under_way.push_back(self.sender.send_batchable(message).await.unwrap());
        }
        for settling in under_way {
            settling.await.unwrap();
        }
        began.elapsed()
    }
}

/// A peer by fe2o3-amqp that accepts every message, and its certificate.
async fn peer() -> (HubHost, Bytes) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let root = Bytes::copy_from_slice(certificate.der());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let tls = tls.accept(tcp).await.unwrap();
            tokio::spawn(serve(tls));
        }
    });
    let host: HubHost = "localhost".parse().unwrap();
    (host.with_amqps_port(port), root)
}

async fn serve(stream: tokio_rustls::server::TlsStream<TcpStream>) {
    let acceptor = ConnectionAcceptor::builder()
        .container_id("peer")
        .max_frame_size(65_536)
        .build();
    let mut connection = acceptor.accept(stream).await.unwrap();
    let sessions = SessionAcceptor::builder()
        .incoming_window(50_000)
        .outgoing_window(50_000)
        .build();
    while let Ok(mut session) = sessions.accept(&mut connection).await {
        tokio::spawn(async move {
            let links = LinkAcceptor::new();
            while let Ok(link) = links.accept(&mut session).await {
                let LinkEndpoint::Receiver(mut receiver) = link else {
                    continue;
                };
                receiver.set_credit_mode(CreditMode::Auto(5000));
                receiver.set_credit(5000).await.unwrap();
                tokio::spawn(async move {
                    while let Ok(delivery) = receiver.recv::<Body<Value>>().await {
                        receiver.accept(&delivery).await.unwrap();
                    }
                });
            }
        });
    }
}

criterion_group!(benches, send);
criterion_main!(benches);

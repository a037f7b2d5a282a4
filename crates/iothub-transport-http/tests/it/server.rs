//! A TLS server on loopback, run by a script for each connection, that reports what it saw.

use std::{
    convert::Infallible,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use azure_core::http::{HttpClient, Method, RawResponse, Request};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use iothub_transport_http::{HyperOptions, HyperTransport, Proxy};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

pub(crate) type Stream = TlsStream<TcpStream>;

/// A certificate authority that lives as long as a test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: Bytes,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        // Two authorities of one name would be taken for each other until a signature is checked.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().to_vec().into(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn pem(&self) -> Bytes {
        self.pem.clone().into()
    }

    pub(crate) fn der(&self) -> Bytes {
        self.der.clone()
    }

    /// What a server called `name` needs, valid for a day around now.
    pub(crate) fn server(&self, name: &str) -> Identity {
        let now = OffsetDateTime::now_utc();
        self.server_valid(name, now - time::Duration::HOUR, now + time::Duration::DAY)
    }

    pub(crate) fn server_valid(&self, name: &str, from: OffsetDateTime, to: OffsetDateTime) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (from, to);
        let key = KeyPair::generate().unwrap();
        Identity {
            certificate: params.signed_by(&key, &self.issuer).unwrap().der().to_vec(),
            key: key.serialize_der(),
            versions: vec![&version::TLS13, &version::TLS12],
            alpn: vec![],
        }
    }

    /// A transport that trusts this authority alone and waits for nothing long.
    pub(crate) fn transport(&self) -> HyperTransport {
        HyperTransport::new(self.options()).unwrap()
    }

    pub(crate) fn options(&self) -> HyperOptions {
        HyperOptions {
            extra_roots: vec![self.pem()],
            platform_roots: false,
            proxy: Proxy::Direct,
            ..Default::default()
        }
    }
}

pub(crate) struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
}

impl Identity {
    pub(crate) fn speaking(mut self, versions: &[&'static SupportedProtocolVersion]) -> Self {
        self.versions = versions.to_vec();
        self
    }

    pub(crate) fn offering(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    fn config(self) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![self.certificate.into()],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key)),
            )
            .unwrap();
        config.alpn_protocols = self.alpn;
        config
    }
}

/// What happened to one connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The TLS handshake failed, so no byte of a request came.
    NoHandshake,
    /// The handshake succeeded and the script ran to its end.
    Done,
}

pub(crate) struct Server {
    pub(crate) port: u16,
    seen: mpsc::UnboundedReceiver<Seen>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Runs `script` with each connection after its handshake.
    pub(crate) async fn scripted<F, Fut>(identity: Identity, script: F) -> Self
    where
        F: Fn(Stream) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let acceptor = TlsAcceptor::from(Arc::new(identity.config()));
        Self::tcp(move |tcp| {
            let (acceptor, script) = (acceptor.clone(), script.clone());
            async move {
                match acceptor.accept(tcp).await {
                    Ok(stream) => {
                        script(stream).await;
                        Seen::Done
                    }
                    Err(_) => Seen::NoHandshake,
                }
            }
        })
        .await
    }

    /// Runs `script` with each connection, without TLS.
    pub(crate) async fn tcp<F, Fut>(script: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = Seen> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, seen) = mpsc::unbounded_channel();
        let accepting = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (tell, run) = (tell.clone(), script(tcp));
                tokio::spawn(async move {
                    let outcome = run.await;
                    // A test that has seen enough is gone.
                    let _ = tell.send(outcome);
                });
            }
        });
        Self { port, seen, accepting }
    }

    /// A hyper server that answers with `answer`.
    pub(crate) async fn answering<F, Fut>(identity: Identity, answer: F) -> Self
    where
        F: Fn(hyper::Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        Self::scripted(identity, move |stream| {
            let answer = answer.clone();
            async move {
                let service = service_fn(move |request| {
                    let answer = answer.clone();
                    async move { Ok::<_, Infallible>(answer(request).await) }
                });
                // The client decides when a connection ends.
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        })
        .await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// What happened to the next connection that ends.
    pub(crate) async fn seen(&mut self) -> Seen {
        let seen = tokio::time::timeout(Duration::from_secs(30), self.seen.recv()).await;
        seen.expect("a connection ends").unwrap()
    }

    pub(crate) fn has_seen_nothing(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Reads a request's head.
pub(crate) async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Reads a request's head and writes `answer`.
pub(crate) async fn answer_raw(stream: &mut Stream, answer: &[u8]) {
    read_head(stream).await;
    // The client may have hung up in the middle of an answer that it does not want.
    let _ = stream.write_all(answer).await;
    let _ = stream.flush().await;
}

pub(crate) async fn get(transport: &HyperTransport, url: &str) -> azure_core::Result<RawResponse> {
    send(transport, Request::new(url.parse()?, Method::Get)).await
}

pub(crate) async fn send(transport: &HyperTransport, request: Request) -> azure_core::Result<RawResponse> {
    transport.execute_request(&request).await?.try_into_raw_response().await
}

pub(crate) fn ok(body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::new(Full::new(body.into()))
}

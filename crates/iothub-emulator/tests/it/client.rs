use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use iothub_emulator::Emulator;
use ring::hmac;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// One connection to an emulator, and the token of a policy.
pub(crate) struct Client {
    sender: Sender,
    host: String,
    pub(crate) token: String,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What a client presents.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    /// Connects with HTTP/1.1, and signs with the key of a shared access policy.
    pub(crate) async fn new(emulator: &Emulator, policy: &str) -> Self {
        let stream = tls(emulator, b"http/1.1").await;
        Self::on(
            stream,
            emulator.host().to_string(),
            token(emulator, policy, 4_102_444_800),
        )
        .await
    }

    /// The same over a stream that is there, to a hub in another process perhaps.
    pub(crate) async fn on(stream: TlsStream<TcpStream>, host: String, token: String) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let sender = Sender::Http1(sender);
        Self { sender, host, token }
    }

    /// Connects with a certificate and without a token.
    pub(crate) async fn with_certificate(emulator: &Emulator, identity: &Identity) -> Self {
        let stream = tls_as(emulator, emulator.host().https_port(), b"http/1.1", Some(identity)).await;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut client = Self::over(Sender::Http1(sender), emulator, "service");
        client.token.clear();
        client
    }

    /// Connects to the management API, with its token.
    pub(crate) async fn management(emulator: &Emulator) -> Self {
        let endpoint = emulator.management_endpoint().unwrap();
        let (_, port) = endpoint.rsplit_once(':').unwrap();
        let stream = TokioIo::new(tls_at(emulator, port.parse().unwrap(), b"http/1.1").await);
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let token = format!("Bearer {}", emulator.management_token().unwrap());
        Self {
            token,
            ..Self::over(Sender::Http1(sender), emulator, "iothubowner")
        }
    }

    /// The same with HTTP/2.
    pub(crate) async fn http2(emulator: &Emulator, policy: &str) -> Self {
        let stream = TokioIo::new(tls(emulator, b"h2").await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        Self::over(Sender::Http2(sender), emulator, policy)
    }

    fn over(sender: Sender, emulator: &Emulator, policy: &str) -> Self {
        Self {
            sender,
            host: emulator.host().to_string(),
            token: token(emulator, policy, 4_102_444_800),
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.call("GET", path, &[], "").await
    }

    /// Creates or, with a tag, replaces.
    pub(crate) async fn put(&mut self, path: &str, if_match: Option<&str>, body: &str) -> Reply {
        let headers: Vec<_> = if_match.map(|tag| ("if-match", tag)).into_iter().collect();
        self.call("PUT", path, &headers, body).await
    }

    pub(crate) async fn delete(&mut self, path: &str, if_match: Option<&str>) -> Reply {
        let headers: Vec<_> = if_match.map(|tag| ("if-match", tag)).into_iter().collect();
        self.call("DELETE", path, &headers, "").await
    }

    pub(crate) async fn call(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let path = match path {
            versioned if versioned.contains("api-version=") => path.to_owned(),
            path if path.contains('?') => format!("{path}&api-version=2021-04-12"),
            path => format!("{path}?api-version=2021-04-12"),
        };
        let token = self.token.clone();
        let mut all = headers.to_vec();
        if !token.is_empty() {
            all.push(("authorization", token.as_str()));
        }
        self.raw(method, &path, &all, body).await.unwrap()
    }

    /// Sends exactly this.
    pub(crate) async fn raw(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> hyper::Result<Reply> {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::from(body.as_bytes().to_vec());
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                let request = request.uri(path).header("host", &self.host).body(body).unwrap();
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                let uri = format!("https://{}{path}", self.host);
                sender.ready().await?;
                sender.send_request(request.uri(uri).body(body).unwrap()).await?
            }
        };
        let (head, body) = response.into_parts();
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        })
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Status and error code, as `409 DeviceAlreadyExists`, or as `200` if there is no error.
    pub(crate) fn outcome(&self) -> String {
        let code = self.header("iothub-errorcode").unwrap_or_default();
        format!("{} {code}", self.status.as_u16()).trim().to_owned()
    }
}

/// A token for the whole hub that holds until `expiry`.
pub(crate) fn token(emulator: &Emulator, policy: &str, expiry: u64) -> String {
    let text = emulator.connection_string(policy).unwrap();
    token_of(&text, emulator.host().name(), policy, expiry)
}

/// The same of a hub whose connection string is known.
pub(crate) fn token_of(connection_string: &str, host: &str, policy: &str, expiry: u64) -> String {
    let key = connection_string.split_once("SharedAccessKey=").unwrap().1;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(key).unwrap());
    let signature = BASE64_STANDARD.encode(hmac::sign(&key, format!("{host}\n{expiry}").as_bytes()));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("SharedAccessSignature sr={host}&sig={signature}&se={expiry}&skn={policy}")
}

pub(crate) async fn tls(emulator: &Emulator, protocol: &[u8]) -> TlsStream<TcpStream> {
    tls_at(emulator, emulator.host().https_port(), protocol).await
}

/// The same at the door with this port; an empty protocol asks for none.
pub(crate) async fn tls_at(emulator: &Emulator, port: u16, protocol: &[u8]) -> TlsStream<TcpStream> {
    tls_as(emulator, port, protocol, None).await
}

/// The same for a client that presents a certificate.
pub(crate) async fn tls_as(
    emulator: &Emulator,
    port: u16,
    protocol: &[u8],
    identity: Option<&Identity>,
) -> TlsStream<TcpStream> {
    let stream = try_tls_as(emulator, port, protocol, identity).await.unwrap();
    assert_eq!(
        stream.get_ref().1.alpn_protocol(),
        Some(protocol).filter(|protocol| !protocol.is_empty())
    );
    stream
}

/// The same where the handshake may fail.
pub(crate) async fn try_tls_as(
    emulator: &Emulator,
    port: u16,
    protocol: &[u8],
    identity: Option<&Identity>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let (root, host) = (emulator.root_certificate(), emulator.host().name());
    dial(root, host, port, protocol, identity).await
}

/// The same to whoever has a certificate of this root for this name.
pub(crate) async fn dial(
    root: &str,
    host: &str,
    port: u16,
    protocol: &[u8],
    identity: Option<&Identity>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .unwrap(),
    };
    if !protocol.is_empty() {
        config.alpn_protocols = vec![protocol.to_vec()];
    }
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

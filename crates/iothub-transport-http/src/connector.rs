use std::{
    future::Future,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use azure_core::{Error, Result, error::ErrorKind};
use futures::{FutureExt, future::BoxFuture};
use http::{Uri, uri::Scheme};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::{
    client::{legacy::connect::HttpConnector, proxy::matcher::Intercept},
    rt::TokioIo,
};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{HyperOptions, fault, proxy::ProxyRules, tls, tunnel};

/// Makes connections for the pool: TCP, a tunnel where a proxy stands between, TLS. Each step has its own limit.
///
/// Its errors have the kind that the caller will see, as nothing of a request has been sent yet: `Connection` where
/// another try may help, `Other` where it cannot.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    tls: TlsConnector,
    tls_to_proxy: TlsConnector,
    proxy: Arc<ProxyRules>,
    connect_timeout: Duration,
    tls_timeout: Duration,
}

/// A connection to the next host: the service, or a proxy.
type Hop = MaybeHttpsStream<TokioIo<TcpStream>>;
/// A connection to the service.
type Stream = MaybeHttpsStream<Hop>;

impl Connector {
    pub(crate) fn new(options: &HyperOptions) -> Result<Self> {
        let to_proxy = tls::client_config(options)?;
        let mut config = to_proxy.clone();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared out among the addresses of a host, so that one dead address does not use up the whole time.
        tcp.set_connect_timeout(Some(options.connect_timeout));
        tcp.set_keepalive(Some(options.dead_peer_timeout / 2));
        tcp.set_keepalive_interval(Some(options.dead_peer_timeout / 6));
        tcp.set_keepalive_retries(Some(3));
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        tcp.set_tcp_user_timeout(Some(options.dead_peer_timeout));
        Ok(Self {
            tcp,
            tls: TlsConnector::from(Arc::new(config)),
            tls_to_proxy: TlsConnector::from(Arc::new(to_proxy)),
            proxy: Arc::new(ProxyRules::new(&options.proxy)?),
            connect_timeout: options.connect_timeout,
            tls_timeout: options.tls_timeout,
        })
    }

    async fn connect(self, to: Uri) -> Result<Stream> {
        if to.scheme() != Some(&Scheme::HTTPS) {
            return Ok(Stream::Http(Hop::Http(self.dial(&to).await?)));
        }
        let hop = match self.proxy.intercept(&to) {
            Some(proxy) => self.tunnel(&proxy, &to).await?,
            None => Hop::Http(self.dial(&to).await?),
        };
        let stream = self.handshake(&self.tls, &to, TokioIo::new(hop)).await?;
        Ok(Stream::from(stream))
    }

    async fn dial(&self, to: &Uri) -> Result<TokioIo<TcpStream>> {
        let mut tcp = self.tcp.clone();
        let dialing = tower_service::Service::call(&mut tcp, to.clone());
        let connected = within(self.connect_timeout, "connecting to", to, dialing).await?;
        connected.map_err(|error| {
            let message = format!("cannot connect to {}: {}", authority(to), fault::text(&error));
            Error::with_error(ErrorKind::Connection, error, message)
        })
    }

    async fn tunnel(&self, proxy: &Intercept, to: &Uri) -> Result<Hop> {
        let tcp = self.dial(proxy.uri()).await?;
        let mut hop = match proxy.uri().scheme() == Some(&Scheme::HTTPS) {
            true => Hop::from(
                self.handshake(&self.tls_to_proxy, proxy.uri(), TokioIo::new(tcp))
                    .await?,
            ),
            false => Hop::Http(tcp),
        };
        let (name, target) = (authority(proxy.uri()), authority(to));
        let mut io = TokioIo::new(&mut hop);
        let asking = tunnel::connect(&mut io, &name, &target, proxy.basic_auth());
        within(self.connect_timeout, "the answer of the proxy", proxy.uri(), asking).await??;
        Ok(hop)
    }

    async fn handshake<S>(&self, tls: &TlsConnector, to: &Uri, stream: S) -> Result<tokio_rustls::client::TlsStream<S>>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let host = to.host().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|error| Error::with_error(ErrorKind::Other, error, format!("no certificate can be for {host}")))?;
        let shaking = tls.connect(name, stream);
        let done = within(self.tls_timeout, "a TLS handshake with", to, shaking).await?;
        done.map_err(|error| {
            let refused = fault::cause::<rustls::Error>(&error).is_some_and(tls::is_permanent);
            let kind = if refused {
                ErrorKind::Other
            } else {
                ErrorKind::Connection
            };
            let message = format!("no TLS with {}: {}", authority(to), fault::text(&error));
            Error::with_error(kind, error, message)
        })
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Stream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        self.clone().connect(to).boxed()
    }
}

async fn within<F: Future>(limit: Duration, what: &str, whom: &Uri, step: F) -> Result<F::Output> {
    tokio::time::timeout(limit, step).await.map_err(|_| {
        Error::with_message_fn(ErrorKind::Connection, || {
            format!("{what} {} took longer than {limit:?}", authority(whom))
        })
    })
}

/// `host:port`, with the port that the scheme implies.
fn authority(uri: &Uri) -> String {
    let implied = if uri.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 };
    format!(
        "{}:{}",
        uri.host().unwrap_or_default(),
        uri.port_u16().unwrap_or(implied)
    )
}

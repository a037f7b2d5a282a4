//! The way to a host: TCP, a tunnel where a proxy stands between, TLS.
//!
//! Everything of this workspace that connects does it here, the AMQP transport included, so that roots, proxies and the
//! question whether another try can help have one answer.

mod proxy;
mod stream;
mod tcp;
mod tls;
mod tunnel;

use std::{fmt, sync::Arc, time::Duration};

use azure_core::{Error, Result, error::ErrorKind};
use bytes::Bytes;
use http::uri::Scheme;
use hyper_util::client::proxy::matcher::Intercept;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use self::proxy::ProxyRules;
pub use self::{proxy::Proxy, stream::Stream, tls::TlsVersion};
use crate::fault;

/// Options for [`Dialer::new`]. [`HyperOptions`](crate::HyperOptions) says more about each.
#[derive(Clone, Debug)]
pub struct DialOptions {
    /// Authorities that are trusted besides the platform's, in PEM or DER.
    pub extra_roots: Vec<Bytes>,
    /// Whether the platform's authorities are trusted.
    pub platform_roots: bool,
    /// The lowest TLS version that is spoken.
    pub min_tls: TlsVersion,
    /// How to get through a proxy.
    pub proxy: Proxy,
    /// Limit for finding the host and connecting to one of its addresses, and for a proxy's answer.
    pub connect_timeout: Duration,
    /// Limit for a TLS handshake.
    pub tls_timeout: Duration,
    /// How long a connection may be dead before the operating system says so, where it can.
    pub dead_peer_timeout: Duration,
}

/// Makes connections over TLS. Each step has its own limit. It needs a tokio runtime with I/O and time.
///
/// # Errors
///
/// Nothing has been said to the host when one of its calls fails. The kind of the error is `Connection` where another
/// try may help, and `Other` where it cannot: TLS refused the host's certificate, name or version, or a proxy refused
/// the tunnel.
#[derive(Clone)]
pub struct Dialer {
    tls: TlsConnector,
    tls_to_proxy: TlsConnector,
    proxy: Arc<ProxyRules>,
    connect_timeout: Duration,
    tls_timeout: Duration,
    dead_peer_timeout: Duration,
}

impl Dialer {
    /// Reads the certificates and the proxy's address; connects to nothing.
    ///
    /// # Errors
    ///
    /// If an extra root is no certificate, if there is no root at all, if a proxy's address is none, or if the crate was
    /// built with neither of its features `ring` and `aws-lc-rs`.
    pub fn new(options: &DialOptions) -> Result<Self> {
        Self::offering(options, &[])
    }

    /// A dialer that offers these protocols to hosts by ALPN, the first being the most welcome.
    pub(crate) fn offering(options: &DialOptions, protocols: &[&[u8]]) -> Result<Self> {
        let to_proxy = tls::client_config(options)?;
        let mut config = to_proxy.clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            tls_to_proxy: TlsConnector::from(Arc::new(to_proxy)),
            proxy: Arc::new(ProxyRules::new(&options.proxy)?),
            connect_timeout: options.connect_timeout,
            tls_timeout: options.tls_timeout,
            dead_peer_timeout: options.dead_peer_timeout,
        })
    }

    /// Connects over TLS, through a proxy if the options say so, and verifies that the stream leads to `host`: a name or
    /// an address, which may stand in brackets. Nothing but TLS's own greeting is said before that.
    ///
    /// # Errors
    ///
    /// See [`Dialer`].
    pub async fn connect(&self, host: &str, port: u16) -> Result<Stream> {
        let to = Place::new(host, port);
        let stream = match self.proxy.intercept(&to.address()?) {
            Some(proxy) => self.tunnel(&proxy, &to).await?,
            None => Stream::from(self.dial(&to).await?),
        };
        self.handshake(&self.tls, &to, stream).await
    }

    /// Connects without TLS, and never through a proxy.
    pub(crate) async fn connect_plain(&self, host: &str, port: u16) -> Result<Stream> {
        Ok(Stream::from(self.dial(&Place::new(host, port)).await?))
    }

    async fn dial(&self, to: &Place) -> Result<TcpStream> {
        let dialing = tcp::dial(&to.host, to.port);
        let dialed = within(self.connect_timeout, "connecting to", to, dialing).await?;
        let stream = dialed.map_err(|error| {
            let message = format!("cannot connect to {to}: {error}");
            Error::with_error(ErrorKind::Connection, error, message)
        })?;
        tcp::tune(&stream, self.dead_peer_timeout);
        Ok(stream)
    }

    async fn tunnel(&self, proxy: &Intercept, to: &Place) -> Result<Stream> {
        let is_tls = proxy.uri().scheme() == Some(&Scheme::HTTPS);
        let port = proxy.uri().port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let place = Place::new(proxy.uri().host().unwrap_or_default(), port);
        let mut stream = Stream::from(self.dial(&place).await?);
        if is_tls {
            stream = self.handshake(&self.tls_to_proxy, &place, stream).await?;
        }
        let (name, target) = (place.to_string(), to.to_string());
        let asking = tunnel::connect(&mut stream, &name, &target, proxy.basic_auth());
        within(self.connect_timeout, "the answer of the proxy", &place, asking).await??;
        Ok(stream)
    }

    async fn handshake(&self, tls: &TlsConnector, to: &Place, stream: Stream) -> Result<Stream> {
        let name = ServerName::try_from(to.host.clone())
            .map_err(|error| Error::with_error(ErrorKind::Other, error, format!("no certificate can be for {to}")))?;
        let shaking = tls.connect(name, stream);
        let shaken = within(self.tls_timeout, "a TLS handshake with", to, shaking).await?;
        shaken.map(Stream::from).map_err(|error| {
            let refused = fault::cause::<rustls::Error>(&error).is_some_and(tls::is_permanent);
            let kind = if refused {
                ErrorKind::Other
            } else {
                ErrorKind::Connection
            };
            let message = format!("no TLS with {to}: {}", fault::text(&error));
            Error::with_error(kind, error, message)
        })
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

/// A host, without brackets, and a port.
struct Place {
    host: String,
    port: u16,
}

impl Place {
    fn new(host: &str, port: u16) -> Self {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let host = bare.to_owned();
        Self { host, port }
    }

    /// In the form that the rules for proxies are asked with.
    fn address(&self) -> Result<http::Uri> {
        format!("https://{self}/")
            .parse()
            .map_err(|error| Error::with_error(ErrorKind::Other, error, format!("{self} is not an address")))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

async fn within<F: Future>(limit: Duration, what: &str, whom: &Place, step: F) -> Result<F::Output> {
    tokio::time::timeout(limit, step).await.map_err(|_| {
        Error::with_message_fn(ErrorKind::Connection, || {
            format!("{what} {whom} took longer than {limit:?}")
        })
    })
}

use std::time::Duration;

use azure_core::{Error, Result, error::ErrorKind};
use bytes::Bytes;

use crate::{Proxy, TlsVersion, dial::DialOptions};

/// Options for [`HyperTransport::new`](crate::HyperTransport::new).
///
/// # Examples
///
/// ```
/// use iothub_transport_http::{HyperOptions, TlsVersion};
///
/// let options = HyperOptions { min_tls: TlsVersion::Tls13, ..Default::default() };
/// assert_eq!(options.max_body_bytes, 64 * 1024 * 1024);
/// ```
#[derive(Clone, Debug)]
pub struct HyperOptions {
    /// Certificates of authorities that are trusted besides the platform's: each entry is PEM text with one or more
    /// certificates, or one certificate in DER. Empty trusts the platform's alone.
    pub extra_roots: Vec<Bytes>,
    /// Whether the platform's authorities are trusted, `true` unless set. With `false`, only
    /// [`extra_roots`](Self::extra_roots) are, which pins the service to an authority of your own.
    ///
    /// An empty or unreadable platform store is an error only when no extra root is given. The environment variables
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the store.
    pub platform_roots: bool,
    /// The lowest TLS version that is spoken, 1.2 unless set.
    pub min_tls: TlsVersion,
    /// How to get through a proxy; what the environment says unless set. Plain HTTP never goes through one.
    pub proxy: Proxy,
    /// Hosts besides loopback and 169.254.169.254 that may be spoken to in plain HTTP, as `host` or `host:port`.
    /// `None` takes the hosts of `IDENTITY_ENDPOINT` and `MSI_ENDPOINT`: App Service gives its managed identities at
    /// such an address inside the machine.
    pub plain_http_hosts: Option<Vec<String>>,
    /// Limit for finding the host and connecting to one of its addresses, and for a proxy's answer; 10 s.
    pub connect_timeout: Duration,
    /// Limit for a TLS handshake; 10 s.
    pub tls_timeout: Duration,
    /// Limit for one try from its start to the head of the response, a new connection included. `None`, the default,
    /// leaves the limit to the caller. The clients of this SDK know call by call how long an answer may take, minutes
    /// for a direct method, and end a request by dropping its future; another limit here would cut such a call short.
    ///
    /// [`with_response_head_timeout`](crate::HyperTransport::with_response_head_timeout) gives some requests another
    /// limit within the same pool.
    pub response_head_timeout: Option<Duration>,
    /// A response body that brings less than 1 KiB in this time of waiting is given up; 10 s.
    pub body_stall_timeout: Duration,
    /// Limit for status line and headers of a response in bytes, at least 8 KiB; 64 KiB. There may be up to 256
    /// headers over HTTP/1.1.
    pub max_head_bytes: usize,
    /// Limit for a response body in bytes; 64 MiB. Bodies are never decompressed, so this is what comes off the wire.
    pub max_body_bytes: u64,
    /// How long an unused connection is kept; 60 s, which is below the limit of common front ends.
    pub pool_idle_timeout: Duration,
    /// How many unused connections are kept for a host; 32.
    pub pool_max_idle_per_host: usize,
    /// How long a connection may be dead before the operating system or HTTP/2's ping says so; 30 s. It sets TCP
    /// keepalive, and on Linux the user timeout.
    pub dead_peer_timeout: Duration,
}

impl HyperOptions {
    pub(crate) fn check(&self) -> Result<()> {
        if self.max_head_bytes < MIN_HEAD_BYTES || u32::try_from(self.max_head_bytes).is_err() {
            return Err(Error::with_message_fn(ErrorKind::Other, || {
                format!(
                    "max_head_bytes is {}, but must be from {MIN_HEAD_BYTES} to {}",
                    self.max_head_bytes,
                    u32::MAX
                )
            }));
        }
        Ok(())
    }

    pub(crate) fn dial(&self) -> DialOptions {
        DialOptions {
            extra_roots: self.extra_roots.clone(),
            platform_roots: self.platform_roots,
            min_tls: self.min_tls,
            proxy: self.proxy.clone(),
            connect_timeout: self.connect_timeout,
            tls_timeout: self.tls_timeout,
            dead_peer_timeout: self.dead_peer_timeout,
        }
    }
}

impl Default for HyperOptions {
    fn default() -> Self {
        Self {
            extra_roots: Vec::new(),
            platform_roots: true,
            min_tls: TlsVersion::default(),
            proxy: Proxy::default(),
            plain_http_hosts: None,
            connect_timeout: Duration::from_secs(10),
            tls_timeout: Duration::from_secs(10),
            response_head_timeout: None,
            body_stall_timeout: Duration::from_secs(10),
            max_head_bytes: 64 * 1024,
            max_body_bytes: 64 * 1024 * 1024,
            pool_idle_timeout: Duration::from_secs(60),
            pool_max_idle_per_host: 32,
            dead_peer_timeout: Duration::from_secs(30),
        }
    }
}

/// hyper's own lower bound for the buffer of a head.
const MIN_HEAD_BYTES: usize = 8 * 1024;

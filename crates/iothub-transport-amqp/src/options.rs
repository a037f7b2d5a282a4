use std::time::Duration;

use azure_core::{Error, Result, error::ErrorKind};
use bytes::Bytes;
use iothub_transport_http::{Proxy, TlsVersion, dial::DialOptions};

/// Options for [`Fe2o3Transport::new`](crate::Fe2o3Transport::new).
///
/// # Examples
///
/// ```
/// use iothub_transport_amqp::{AmqpOptions, Carrier, TlsVersion};
///
/// let options = AmqpOptions { carrier: Carrier::WebSocket, min_tls: TlsVersion::Tls13, ..Default::default() };
/// assert_eq!(options.idle_timeout.as_secs(), 60);
/// ```
#[derive(Clone, Debug)]
pub struct AmqpOptions {
    /// What carries AMQP to the hub; TLS unless set.
    pub carrier: Carrier,
    /// Certificates of authorities that are trusted besides the platform's: each entry is PEM text with one or more
    /// certificates, or one certificate in DER. Empty trusts the platform's alone.
    pub extra_roots: Vec<Bytes>,
    /// Whether the platform's authorities are trusted, `true` unless set. With `false`, only
    /// [`extra_roots`](Self::extra_roots) are, which pins the hub to an authority of your own.
    ///
    /// An empty or unreadable platform store is an error only when no extra root is given. The environment variables
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the store.
    pub platform_roots: bool,
    /// The lowest TLS version that is spoken, 1.2 unless set.
    pub min_tls: TlsVersion,
    /// How a WebSocket gets through a proxy; what the environment says unless set. [`Carrier::Tls`] never uses one:
    /// proxies open tunnels to port 443, seldom to 5671.
    pub proxy: Proxy,
    /// Limit for finding the host and connecting to one of its addresses, and for a proxy's answer; 10 s.
    pub connect_timeout: Duration,
    /// Limit for a TLS handshake; 10 s.
    pub tls_timeout: Duration,
    /// Limit for each exchange with the hub that sets something up: the upgrade to a WebSocket, the opening of the
    /// connection, the beginning of a session, the attaching of a link; 15 s.
    pub open_timeout: Duration,
    /// How long the hub may be silent before the connection is given up, 60 s. The hub is told so when the connection
    /// opens and sends empty frames in time. Not less than a second.
    pub idle_timeout: Duration,
    /// How long a connection may be dead before the operating system says so, where it can; 30 s. It sets TCP
    /// keepalive, and on Linux the user timeout.
    pub dead_peer_timeout: Duration,
    /// The largest frame that is accepted, in bytes, at least 512; 64 KiB. What is sent is cut to the hub's limit.
    pub max_frame_bytes: u32,
    /// The largest message that is accepted, in bytes; 1 MiB, which is the hub's own limit.
    pub max_message_bytes: u64,
    /// How many transfer frames the hub may send on a session before they were read; 5000.
    pub incoming_window: u32,
    /// How many transfer frames are announced to the hub as possibly coming; 5000.
    pub outgoing_window: u32,
}

impl AmqpOptions {
    pub(crate) fn check(&self) -> Result<()> {
        let refused = |why: String| Err(Error::with_message(ErrorKind::Other, why));
        if self.idle_timeout < Duration::from_secs(1) || self.idle_timeout > MAX_IDLE {
            let given = self.idle_timeout;
            return refused(format!(
                "idle_timeout is {given:?}, but must be from 1 s to {MAX_IDLE:?}"
            ));
        }
        if self.max_frame_bytes < MIN_FRAME_BYTES {
            let given = self.max_frame_bytes;
            return refused(format!(
                "max_frame_bytes is {given}, but AMQP allows no less than {MIN_FRAME_BYTES}"
            ));
        }
        if self.incoming_window == 0 || self.max_message_bytes == 0 {
            return refused("incoming_window and max_message_bytes must be more than 0".to_owned());
        }
        Ok(())
    }

    pub(crate) fn dial(&self) -> DialOptions {
        DialOptions {
            extra_roots: self.extra_roots.clone(),
            platform_roots: self.platform_roots,
            min_tls: self.min_tls,
            proxy: match self.carrier {
                Carrier::Tls => Proxy::Direct,
                Carrier::WebSocket => self.proxy.clone(),
            },
            connect_timeout: self.connect_timeout,
            tls_timeout: self.tls_timeout,
            dead_peer_timeout: self.dead_peer_timeout,
        }
    }
}

impl Default for AmqpOptions {
    fn default() -> Self {
        Self {
            carrier: Carrier::default(),
            extra_roots: Vec::new(),
            platform_roots: true,
            min_tls: TlsVersion::default(),
            proxy: Proxy::default(),
            connect_timeout: Duration::from_secs(10),
            tls_timeout: Duration::from_secs(10),
            open_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(60),
            dead_peer_timeout: Duration::from_secs(30),
            max_frame_bytes: 64 * 1024,
            max_message_bytes: 1024 * 1024,
            incoming_window: 5000,
            outgoing_window: 5000,
        }
    }
}

/// What carries AMQP to the hub. Both are encrypted; there is no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Carrier {
    /// TLS on [`HubHost::amqps_port`](iothub_core::HubHost::amqps_port), 5671 at a real hub.
    #[default]
    #[doc(alias = "TransportType.Amqp_Tcp_Only")]
    Tls,
    /// A WebSocket on [`HubHost::https_port`](iothub_core::HubHost::https_port), 443 at a real hub: for networks that
    /// let nothing else out, through a proxy if need be.
    #[doc(alias = "TransportType.Amqp_WebSocket_Only")]
    WebSocket,
}

/// AMQP 1.0, part 2.7.1: MIN-MAX-FRAME-SIZE.
const MIN_FRAME_BYTES: u32 = 512;

/// The field in the open frame has 32 bits of milliseconds, and the engine doubles it.
const MAX_IDLE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_work_are_refused_with_what_would() {
        let second = Duration::from_secs(1);
        for (options, part) in [
            (
                AmqpOptions {
                    idle_timeout: second / 2,
                    ..Default::default()
                },
                "from 1 s",
            ),
            (
                AmqpOptions {
                    max_frame_bytes: 511,
                    ..Default::default()
                },
                "no less than 512",
            ),
            (
                AmqpOptions {
                    incoming_window: 0,
                    ..Default::default()
                },
                "more than 0",
            ),
        ] {
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        AmqpOptions {
            idle_timeout: second,
            max_frame_bytes: 512,
            ..Default::default()
        }
        .check()
        .unwrap();
    }
}

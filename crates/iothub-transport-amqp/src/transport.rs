use std::{fmt, sync::Arc};

use async_trait::async_trait;
use azure_core::Result;
use fe2o3_amqp::Connection;
use iothub_core::{
    HubHost,
    amqp::{AmqpConnection, AmqpTransport},
};
use iothub_transport_http::dial::Dialer;
use uuid::Uuid;

use crate::{
    AmqpOptions, Carrier, attach_watch::AttachWatch, byte_stream::ByteStream, connection::Fe2o3Connection, fault,
    web_socket::WebSocket, wire::Wire, within::within,
};

/// AMQP 1.0 by fe2o3-amqp, over TLS or a WebSocket.
///
/// Cheap to clone. It needs a tokio runtime with I/O and time, where each connection and each link has a small task.
///
/// # Examples
///
/// ```no_run
/// use iothub_core::{HubHost, amqp::{AmqpConnection, AmqpTransport}};
/// use iothub_transport_amqp::{AmqpOptions, Carrier, Fe2o3Transport};
///
/// # async fn example() -> iothub_core::Result<()> {
/// let options = AmqpOptions { carrier: Carrier::WebSocket, ..Default::default() };
/// let transport = Fe2o3Transport::new(options)?;
/// let hub: HubHost = "my-hub.azure-devices.net".parse()?;
/// let connection = transport.connect(&hub).await?;
/// connection.close().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Fe2o3Transport {
    shared: Arc<Shared>,
}

struct Shared {
    options: Arc<AmqpOptions>,
    dialer: Dialer,
}

impl Fe2o3Transport {
    /// Reads the certificates and the proxy's address; connects to nothing.
    ///
    /// # Errors
    ///
    /// An option has a value that cannot work, a certificate of `extra_roots` cannot be read, there is no root
    /// certificate at all, or the crate was built with neither of the features `ring` and `aws-lc-rs`.
    pub fn new(options: AmqpOptions) -> Result<Self> {
        options.check()?;
        let shared = Shared {
            dialer: Dialer::new(&options.dial())?,
            options: Arc::new(options),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }
}

#[async_trait]
impl AmqpTransport for Fe2o3Transport {
    async fn connect(&self, host: &HubHost) -> Result<Box<dyn AmqpConnection>> {
        Ok(Box::new(self.shared.connect(host).await?))
    }
}

impl Shared {
    async fn connect(&self, hub: &HubHost) -> Result<Fe2o3Connection> {
        let stream: Box<dyn ByteStream> = match self.options.carrier {
            Carrier::Tls => Box::new(self.dialer.connect(hub.name(), hub.amqps_port()).await?),
            Carrier::WebSocket => {
                let tls = self.dialer.connect(hub.name(), hub.https_port()).await?;
                Box::new(WebSocket::upgrade(tls, hub, self.options.open_timeout).await?)
            }
        };
        self.open(hub, stream).await
    }

    async fn open(&self, hub: &HubHost, stream: Box<dyn ByteStream>) -> Result<Fe2o3Connection> {
        let options = &self.options;
        let watch = AttachWatch::default();
        let (wire, cut) = Wire::new(stream, options.idle_timeout, options.max_message_bytes, watch.clone());
        // The engine tells the peer half of what it is given, and waits itself for all of it; the wire is earlier.
        let idle = u32::try_from(options.idle_timeout.as_millis() * 2).unwrap_or(u32::MAX);
        let opening = Connection::builder()
            .container_id(Uuid::new_v4().simple().to_string())
            .scheme("amqp")
            .hostname(hub.name())
            .max_frame_size(options.max_frame_bytes)
            .channel_max(CHANNEL_MAX)
            .idle_time_out(idle)
            .open_with_stream(wire);
        let handle = within(
            options.open_timeout,
            || format!("the opening of AMQP by {hub}"),
            opening,
        )
        .await?
        .map_err(|error| fault::of_open(error, cut.fault(), hub.name()))?;
        Ok(Fe2o3Connection::new(handle, cut, watch, options.clone()))
    }
}

impl fmt::Debug for Fe2o3Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fe2o3Transport")
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

/// What Microsoft's clients announce and the hub answers.
const CHANNEL_MAX: u16 = 8191;

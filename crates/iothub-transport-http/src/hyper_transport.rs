use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{
    Result,
    http::{AsyncRawResponse, HttpClient, Request, Transport},
};
use hyper_util::{
    client::legacy::{Client, connect::capture_connection},
    rt::{TokioExecutor, TokioTimer},
};

use crate::{
    HyperOptions,
    connector::Connector,
    fault,
    plain_http::PlainHttp,
    request::{self, OutgoingBody},
    response::{self, Limits},
};

/// Sends azure_core's requests with hyper over rustls: HTTP/2 where the server takes it, else HTTP/1.1.
///
/// Cheap to clone; clones share one pool of connections. It needs a Tokio runtime with time and I/O. Redirects are not
/// followed and bodies not decompressed, so that credentials and memory stay where the caller put them. Dropping a
/// request's future ends the request: its HTTP/1.1 connection is closed, its HTTP/2 stream reset.
///
/// # Errors
///
/// The kind of an error says what its receiver may do:
///
/// | kind | meaning | send again? |
/// | --- | --- | --- |
/// | `Connection` | nothing was sent: no address, no connection, TLS broke off, a pooled connection was closed, the server gave the HTTP/2 stream back unprocessed | always |
/// | `Io` | at least a part was sent, and no whole answer came | if twice does no harm |
/// | `DataConversion` | the answer is not HTTP or over a limit; or the request cannot be written as HTTP | no |
/// | `Other` | TLS refused the server (its certificate, name or version), a proxy or this transport refused the request; nothing was sent | no |
///
/// # Examples
///
/// ```no_run
/// use azure_core::http::ClientOptions;
/// use iothub_transport_http::{HyperOptions, HyperTransport};
///
/// # fn example() -> azure_core::Result<()> {
/// let root = std::fs::read("root.pem")?;
/// let transport = HyperTransport::new(HyperOptions { extra_roots: vec![root.into()], ..Default::default() })?;
/// let options = ClientOptions { transport: Some(transport.into()), ..Default::default() };
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct HyperTransport {
    client: Client<Connector, OutgoingBody>,
    plain_http: Arc<PlainHttp>,
    response_head_timeout: Option<Duration>,
    limits: Limits,
}

impl HyperTransport {
    /// A transport with a pool of its own.
    ///
    /// This reads the platform's root certificates, which takes some milliseconds: make one and clone it.
    ///
    /// # Errors
    ///
    /// If an extra root is no certificate, if there is no root at all, if a proxy's address is none, if a limit is out
    /// of range, or if the crate was built with neither of its features `ring` and `aws-lc-rs`.
    pub fn new(options: HyperOptions) -> Result<Self> {
        options.check()?;
        let head_bytes = options.max_head_bytes;
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.pool_idle_timeout)
            .pool_max_idle_per_host(options.pool_max_idle_per_host)
            .http1_max_buf_size(head_bytes)
            .http1_max_headers(MAX_HEADERS)
            .http2_max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
            .http2_keep_alive_interval(options.dead_peer_timeout / 2)
            .http2_keep_alive_timeout(options.dead_peer_timeout / 2)
            .build(Connector::new(&options.dial())?);
        Ok(Self {
            client,
            plain_http: Arc::new(PlainHttp::new(options.plain_http_hosts.as_deref())),
            response_head_timeout: options.response_head_timeout,
            limits: Limits {
                max_head_bytes: head_bytes,
                max_body_bytes: options.max_body_bytes,
                stall_timeout: options.body_stall_timeout,
            },
        })
    }

    /// The transport that everybody in this process shares, made with default options at the first call.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), for instance when the platform has no root certificates. A failure is not kept: the next
    /// call tries again.
    pub fn shared() -> Result<Self> {
        static SHARED: Mutex<Option<HyperTransport>> = Mutex::new(None);
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        match &*shared {
            Some(transport) => Ok(transport.clone()),
            None => Ok(shared.insert(Self::new(HyperOptions::default())?).clone()),
        }
    }

    /// The same pool with another limit for response heads, see
    /// [`HyperOptions::response_head_timeout`](HyperOptions::response_head_timeout).
    #[must_use]
    pub fn with_response_head_timeout(mut self, limit: Option<Duration>) -> Self {
        self.response_head_timeout = limit;
        self
    }
}

#[async_trait]
impl HttpClient for HyperTransport {
    async fn execute_request(&self, request: &Request) -> Result<AsyncRawResponse> {
        self.plain_http.check(request.url())?;
        let host = request.url().host_str().unwrap_or_default();
        let mut request = request::to_hyper(request, host)?;
        let connection = capture_connection(&mut request);
        let answer = self.client.request(request);
        let answer = match self.response_head_timeout {
            None => answer.await,
            Some(limit) => match tokio::time::timeout(limit, answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    return Err(fault::of_silence(
                        limit,
                        host,
                        connection.connection_metadata().is_some(),
                    ));
                }
            },
        };
        let response = answer.map_err(|error| fault::of(error, host))?;
        response::from_hyper(response, self.limits, host)
    }
}

impl From<HyperTransport> for Transport {
    fn from(transport: HyperTransport) -> Self {
        Self::new(Arc::new(transport))
    }
}

impl fmt::Debug for HyperTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperTransport")
            .field("response_head_timeout", &self.response_head_timeout)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// hyper's own limit is 100, which is few for an answer that passed through some front ends.
const MAX_HEADERS: usize = 256;

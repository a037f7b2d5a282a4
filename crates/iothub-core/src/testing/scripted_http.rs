use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{
    Error, Result,
    error::ErrorKind,
    http::{
        AsyncRawResponse, Body, ClientOptions, HttpClient, Method, Request, StatusCode, Transport, Url,
        headers::{HeaderName, HeaderValue, Headers},
    },
};
use bytes::Bytes;
use futures::stream;

use crate::deadline::sleep;

/// A transport with a queue of answers that remembers what it saw.
///
/// When the queue is empty, the next request fails. Clones share queue and memory.
///
/// # Examples
///
/// ```
/// use azure_core::http::{Context, Method, StatusCode};
/// use iothub_core::testing::{HttpAnswer, ScriptedHttp};
/// # use std::sync::Arc;
/// # use azure_core::http::{Request, policies::{Policy, PolicyResult}};
/// # use iothub_core::{HubPipeline, Product};
/// # #[derive(Debug)] struct NoAuthorization;
/// # #[async_trait::async_trait] impl Policy for NoAuthorization {
/// #     async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
/// #         next[0].send(ctx, request, &next[1..]).await
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> iothub_core::Result<()> {
/// # let product = Product { name: "example", version: "0.0.0" };
/// # let host = "my-hub.azure-devices.net".parse()?;
///
/// let http = ScriptedHttp::new([HttpAnswer::Refused, HttpAnswer::new(StatusCode::Ok, r#"{"deviceId":"lamp"}"#)]);
/// let hub = HubPipeline::new(product, host, Arc::new(NoAuthorization), http.client_options())?;
///
/// hub.send(&Context::new(), hub.request(Method::Get, &["devices", "lamp"])?).await?;
///
/// let request = "GET /devices/lamp?api-version=2021-04-12";
/// assert_eq!(http.seen(), [request, request]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ScriptedHttp(Arc<Mutex<Script>>);

/// What becomes of one request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HttpAnswer {
    /// An answer.
    Complete {
        /// Its status.
        status: StatusCode,
        /// Its headers.
        headers: Headers,
        /// Its body.
        body: Bytes,
        /// How long it takes to come.
        delay: Duration,
    },
    /// No connection is made, and nothing sent.
    Refused,
    /// The certificate of the other side is not trusted.
    NotTrusted,
    /// The connection is lost after the request was written and before the answer.
    Lost,
    /// The head of an answer comes, and its body breaks off.
    CutOff(StatusCode),
    /// The answer is larger than the transport takes.
    TooLarge,
    /// Nothing ever comes.
    Silence,
}

/// A request as it came to the transport.
#[derive(Clone)]
pub struct SeenRequest {
    /// Its method.
    pub method: Method,
    /// Where it went.
    pub url: Url,
    /// Its headers, authorization included.
    pub headers: Headers,
    /// Its body.
    pub body: Bytes,
}

#[derive(Debug, Default)]
struct Script {
    answers: VecDeque<HttpAnswer>,
    afterwards: Option<HttpAnswer>,
    seen: Vec<SeenRequest>,
}

impl ScriptedHttp {
    /// Answers with each of `answers` in turn.
    pub fn new(answers: impl IntoIterator<Item = HttpAnswer>) -> Self {
        let http = Self::default();
        http.script().answers.extend(answers);
        http
    }

    /// Answers one request.
    pub fn answering(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::new([HttpAnswer::new(status, body)])
    }

    /// Answers every request alike.
    pub fn always(answer: HttpAnswer) -> Self {
        Self::default().and_then_always(answer)
    }

    /// Answers alike whatever comes after the queue is empty.
    #[must_use]
    pub fn and_then_always(self, answer: HttpAnswer) -> Self {
        self.script().afterwards = Some(answer);
        self
    }

    /// Client options with this as the transport.
    pub fn client_options(&self) -> ClientOptions {
        ClientOptions {
            transport: Some(self.transport()),
            ..ClientOptions::default()
        }
    }

    /// This as a transport.
    pub fn transport(&self) -> Transport {
        Transport::new(Arc::new(self.clone()))
    }

    /// Every request in order, as `GET /path?query`.
    pub fn seen(&self) -> Vec<String> {
        self.script().seen.iter().map(ToString::to_string).collect()
    }

    /// Every request in order.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.script().seen.clone()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, seen: SeenRequest) -> Result<HttpAnswer> {
        let mut script = self.script();
        let missing = format!("the script has no answer to request {}, {seen}", script.seen.len() + 1);
        script.seen.push(seen);
        let answer = script.answers.pop_front().or_else(|| script.afterwards.clone());
        answer.ok_or_else(|| Error::with_message(ErrorKind::Other, missing))
    }
}

impl HttpAnswer {
    /// An answer with the content type of JSON, as the hub's have.
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let mut headers = Headers::new();
        headers.insert("content-type", "application/json; charset=utf-8");
        Self::Complete {
            status,
            headers,
            body: body.into(),
            delay: Duration::ZERO,
        }
    }

    /// The same answer with a header more. Without effect on what is not an answer.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<HeaderName>, value: impl Into<HeaderValue>) -> Self {
        if let Self::Complete { headers, .. } = &mut self {
            headers.insert(name, value);
        }
        self
    }

    /// The same answer after a while. Without effect on what is not an answer.
    #[must_use]
    pub fn after(mut self, time: Duration) -> Self {
        if let Self::Complete { delay, .. } = &mut self {
            *delay = time;
        }
        self
    }

    async fn give(self) -> Result<AsyncRawResponse> {
        match self {
            Self::Complete {
                status,
                headers,
                body,
                delay,
            } => {
                if !delay.is_zero() {
                    sleep(delay).await;
                }
                Ok(AsyncRawResponse::from_bytes(status, headers, body))
            }
            Self::Refused => Err(fault(ErrorKind::Connection, io::ErrorKind::ConnectionRefused)),
            Self::NotTrusted => Err(Error::with_message(ErrorKind::Other, "the certificate is not trusted")),
            Self::Lost => Err(fault(ErrorKind::Io, io::ErrorKind::ConnectionReset)),
            Self::CutOff(status) => Ok(broken(status, fault(ErrorKind::Io, io::ErrorKind::UnexpectedEof))),
            Self::TooLarge => {
                let error = Error::with_message(ErrorKind::DataConversion, "the body is larger than 64 MiB");
                Ok(broken(StatusCode::Ok, error))
            }
            Self::Silence => std::future::pending().await,
        }
    }
}

#[async_trait]
impl HttpClient for ScriptedHttp {
    async fn execute_request(&self, request: &Request) -> Result<AsyncRawResponse> {
        let body = match request.body() {
            Body::Bytes(bytes) => bytes.clone(),
            Body::SeekableStream(_) => {
                return Err(Error::with_message(
                    ErrorKind::Other,
                    "a scripted transport reads no streams: give the body as bytes",
                ));
            }
        };
        let seen = SeenRequest {
            method: request.method(),
            url: request.url().clone(),
            headers: request.headers().clone(),
            body,
        };
        self.next(seen)?.give().await
    }
}

impl SeenRequest {
    /// The value of a header.
    pub fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.get_optional_str(&HeaderName::from_static(name))
    }
}

/// As `GET /path?query`.
impl fmt::Display for SeenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.url.path())?;
        match self.url.query() {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

/// Without headers and body, where secrets may be.
impl fmt::Debug for SeenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeenRequest({self})")
    }
}

fn fault(kind: ErrorKind, cause: io::ErrorKind) -> Error {
    Error::new(kind, io::Error::from(cause))
}

fn broken(status: StatusCode, error: Error) -> AsyncRawResponse {
    let chunks = [Ok(Bytes::from_static(b"{\"deviceId\":")), Err(error)];
    AsyncRawResponse::new(status, Headers::new(), Box::pin(stream::iter(chunks)))
}

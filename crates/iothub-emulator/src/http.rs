//! The HTTPS door: translates requests for the hub and its answers back. It decides nothing.

mod answer;
mod call;
mod devices;
mod envelope;
mod modules;
mod queries;
mod router;
mod twins;
mod web_socket;
mod web_socket_bytes;

use std::{fmt, pin::pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tracing::{debug, info};

use self::answer::Answer;
use crate::{
    hub::{Door, Event, Failure, Hub, faults::Fault},
    stop::Stop,
};

/// Answers what comes over one connection until it ends, or until the emulator stops.
pub(crate) async fn serve<S>(stream: S, hub: Hub, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    converse(stream, stop.clone(), move |request| {
        handle(hub.clone(), stop.clone(), request)
    })
    .await;
}

/// Speaks HTTP over one connection until it ends, or until the emulator stops.
pub(crate) async fn converse<S, A, F, E>(stream: S, stop: Stop, answer: A)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<Full<Bytes>>, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD_H2)
        .max_concurrent_streams(MAX_STREAMS);
    let mut connection = pin!(server.serve_connection_with_upgrades(TokioIo::new(stream), service_fn(answer)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(error, "the connection ended early");
    }
}

async fn handle(hub: Hub, stop: Stop, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, ConnectionLost> {
    let started = Instant::now();
    let operation = format!("{} {}", request.method(), request.uri().path());
    if web_socket::is_asked_for(&request) {
        return Ok(match web_socket::upgrade(&hub, stop, request) {
            Ok(response) => response,
            Err(failure) => Answer::refusal(&failure, hub.clock().now()).into_response(),
        });
    }
    let fault = hub.faults().take();
    if let Some(fault) = &fault {
        hub.journal().record(Event::Fault { name: fault.name() });
    }
    let answer = match fault {
        None => Some(router::answer(&hub, request).await),
        Some(Fault::Refuse(code)) => {
            let failure = Failure::new(code, "The request has been refused, as a test asked for.");
            Some(Answer::refusal(&failure, hub.clock().now()))
        }
        Some(Fault::LoseAnswer) => {
            router::answer(&hub, request).await;
            None
        }
        Some(Fault::LoseRequest) => None,
    };
    let status = answer.as_ref().map_or(0, Answer::status);
    info!(operation, status, micros = started.elapsed().as_micros(), "request");
    hub.journal().record(Event::Request {
        door: Door::Http,
        operation,
        status,
    });
    answer.map(Answer::into_response).ok_or(ConnectionLost)
}

/// The connection ends without an answer, because a fault says so.
#[derive(Debug)]
struct ConnectionLost;

impl fmt::Display for ConnectionLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is lost, as a test asked for")
    }
}

impl std::error::Error for ConnectionLost {}

const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEAD_H2: u32 = 64 * 1024;
const MAX_STREAMS: u32 = 1000;

//! The HTTPS door: translates requests for the hub and its answers back. It decides nothing.

mod answer;
mod answer_body;
mod call;
mod configurations;
mod device_files;
mod device_messages;
mod devices;
mod digital_twins;
mod envelope;
mod fault;
mod feedback;
mod jobs;
mod keys;
mod line;
mod methods;
mod modules;
mod queries;
mod router;
mod scheduled_jobs;
mod twins;
mod web_socket;
mod web_socket_bytes;

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header::DATE};
use http_body_util::Either;
use hyper::{
    body::{Body, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tracing::{debug, info};

use self::{answer::Answer, answer_body::AnswerBody, line::Line};
use crate::{
    blob::{self, Account, Contents},
    hub::{CertificateChain, Door, Event, Hub, timestamp},
    stop::Stop,
    transfer::Dispatcher,
};

/// What lies behind the door.
#[derive(Clone)]
pub(crate) struct Rooms {
    pub(crate) hub: Hub,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) account: Account,
}

/// Answers what comes over one connection until it ends, or until the emulator stops.
///
/// `certificates` is what the client presented.
pub(crate) async fn serve<S>(stream: S, certificates: CertificateChain, rooms: Rooms, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let line = Line::default();
    let leave = async {
        tokio::select! {
            () = line.left.notified() => {}
            () = stop.requested() => {}
        }
    };
    let visit = Arc::new(Visit {
        rooms,
        caller: Caller {
            certificates,
            line: line.clone(),
        },
        stop: stop.clone(),
    });
    let conversation = converse(stream, leave, |request| handle(visit.clone(), request));
    tokio::select! {
        () = conversation => {}
        () = line.broken.notified() => debug!("the connection is broken, as a device asked for"),
    }
}

/// What the requests over one connection share.
struct Visit {
    rooms: Rooms,
    caller: Caller,
    stop: Stop,
}

/// Who is at the other end of a connection, and the connection.
#[derive(Debug)]
pub(crate) struct Caller {
    /// What it presented.
    pub(crate) certificates: CertificateChain,
    pub(crate) line: Line,
}

/// Speaks HTTP over one connection until it ends, or until `leave` resolves: what is under way then comes to its end.
pub(crate) async fn converse<S, A, F, B, E>(stream: S, leave: impl Future<Output = ()>, answer: A)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
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
        () = leave => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(error, "the connection ended early");
    }
}

async fn handle(
    visit: Arc<Visit>,
    request: Request<Incoming>,
) -> Result<Response<Either<AnswerBody, Contents>>, ConnectionLost> {
    let Visit { rooms, caller, stop } = &*visit;
    let started = Instant::now();
    let operation = [request.method().as_str(), " ", request.uri().path()].concat();
    let record = |door, status| {
        info!(operation, status, micros = started.elapsed().as_micros(), "request");
        let event = Event::Request {
            door,
            operation,
            status,
        };
        rooms.hub.journal().record(event);
    };
    if blob::door::is_addressed(request.uri().path()) {
        let response = blob::door::answer(&rooms.account, request).await;
        record(Door::Blob, response.status().as_u16());
        return Ok(response.map(Either::Right));
    }
    let hub = &rooms.hub;
    if web_socket::is_asked_for(&request) {
        let response = match web_socket::upgrade(hub, caller.certificates.clone(), stop.clone(), request) {
            Ok(response) => response,
            Err(failure) => Answer::refusal(&failure, hub.clock().now()).into_response(),
        };
        return Ok(response.map(|body| Either::Left(body.into())));
    }
    let outcome = fault::answer(rooms, caller, request).await;
    record(
        Door::Http,
        outcome.as_ref().map_or(0, |response| response.status().as_u16()),
    );
    let mut response = outcome?;
    // By which clients see how far their clock is off. As long as the hub's clock is right, hyper says the same.
    if !hub.clock().turned().is_zero()
        && let Ok(date) = timestamp::http_date(hub.clock().now()).try_into()
    {
        response.headers_mut().insert(DATE, date);
    }
    Ok(response.map(Either::Left))
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

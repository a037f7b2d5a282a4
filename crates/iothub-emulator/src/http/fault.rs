//! Answers requests, with what the hub says shall go wrong.

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER},
};
use http_body_util::Full;
use hyper::body::Incoming;

use super::{
    Caller, ConnectionLost, Rooms,
    answer::Answer,
    answer_body::{AnswerBody, bytes},
    queries::CONTINUATION,
    router,
};
use crate::hub::{Failure, Fault, Victim, continuation::Continuation, fault::Garble};

/// Answers a request as the hub does, unless a fault says otherwise.
pub(crate) async fn answer(
    rooms: &Rooms,
    caller: &Caller,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, ConnectionLost> {
    let hub = &rooms.hub;
    let continuation = request.headers().get(CONTINUATION).cloned();
    let continues = continuation.as_ref().is_some_and(|token| !token.is_empty());
    let Some(fault) = hub.fault_for(Victim::Request { continues }) else {
        return Ok(router::answer(rooms, caller, request)
            .await
            .into_response()
            .map(AnswerBody::from));
    };
    match fault {
        Fault::LoseRequest => return Err(ConnectionLost),
        Fault::Refuse { code, retry_after } => {
            let failure = Failure::new(code, "The request has been refused, as a test asked for.");
            let mut answer = Answer::refusal(&failure, hub.clock().now());
            if let Some(when) = &retry_after {
                answer = answer.with(RETRY_AFTER, when);
            }
            return Ok(answer.into_response().map(AnswerBody::from));
        }
        Fault::Redirect { location, status } => {
            let answer = Answer::nothing().with(LOCATION, &location).into_response();
            let mut response = answer.map(AnswerBody::from);
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::TEMPORARY_REDIRECT);
            return Ok(response);
        }
        Fault::EmptyPage => {
            let token = continuation.as_ref().and_then(|token| token.to_str().ok());
            let token = token.and_then(Continuation::synonym).unwrap_or_default();
            let answer = Answer::json(b"[]".to_vec()).with(CONTINUATION, &token);
            return Ok(answer.into_response().map(AnswerBody::from));
        }
        _ => {}
    }
    let mut response = router::answer(rooms, caller, request).await.into_response();
    match fault {
        Fault::GoAway => {
            caller.line.leave();
            Ok(response.map(AnswerBody::from))
        }
        Fault::RepeatContinuation => {
            if let Some(token) = continuation {
                response.headers_mut().insert(CONTINUATION, token);
            }
            Ok(response.map(AnswerBody::from))
        }
        Fault::LoseAnswer => Err(ConnectionLost),
        Fault::DelayAnswer { by } => {
            hub.clock().until(hub.clock().now() + by).await;
            Ok(response.map(AnswerBody::from))
        }
        Fault::SlowAnswer { bytes_per_second } => {
            let (head, body) = response.into_parts();
            let body = AnswerBody::slow(bytes(body).await, bytes_per_second);
            Ok(Response::from_parts(head, body))
        }
        Fault::CutAnswer { after } => {
            let (head, body) = response.into_parts();
            Ok(Response::from_parts(head, AnswerBody::cut(&bytes(body).await, after)))
        }
        Fault::GarbleAnswer { kind } => Ok(garble(response, kind).await.map(AnswerBody::from)),
        _ => Ok(response.map(AnswerBody::from)),
    }
}

async fn garble(response: Response<Full<Bytes>>, kind: Garble) -> Response<Full<Bytes>> {
    let (mut head, body) = response.into_parts();
    let good = bytes(body).await;
    let body = match kind {
        Garble::Empty => Bytes::new(),
        Garble::Null => Bytes::from_static(b"null"),
        Garble::WrongType => Bytes::from_static(b"[\"something else\"]"),
        Garble::Truncated => good.slice(..good.len() / 2),
        Garble::NotUtf8 => Bytes::from_static(b"{\"deviceId\":\"\xff\xfe\"}"),
        Garble::ByteOrderMark => [b"\xef\xbb\xbf", &*good].concat().into(),
        Garble::Deep => [b"[".repeat(DEEP), b"]".repeat(DEEP)].concat().into(),
        Garble::Html => {
            head.status = StatusCode::BAD_GATEWAY;
            head.headers.clear();
            head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
            Bytes::from_static(b"<html><body><h1>502 Bad Gateway</h1></body></html>")
        }
        Garble::ContentType => {
            head.headers
                .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            good
        }
        Garble::LongHeader => {
            if let Ok(value) = HeaderValue::from_str(&"x".repeat(LONG)) {
                head.headers.insert(HeaderName::from_static("x-long"), value);
            }
            good
        }
        Garble::ManyHeaders => {
            for n in 0..MANY {
                if let Ok(name) = HeaderName::try_from(format!("x-header-{n}")) {
                    head.headers.insert(name, HeaderValue::from_static("1"));
                }
            }
            good
        }
    };
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Full::from(body))
}

const DEEP: usize = 100_000;
const LONG: usize = 100 * 1024;
const MANY: usize = 300;

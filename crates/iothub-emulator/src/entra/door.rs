//! The doors of Entra: the token endpoint over TLS, and the managed-identity endpoints without.

use std::{convert::Infallible, future::Future, time::Duration};

use ::http::{
    Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::{Entra, refusal::Refusal, token_endpoint::Form};
use crate::{
    http,
    hub::{Door, Event, Fault, Victim},
    stop::Stop,
};

type Answer = (StatusCode, Value);

/// Gives tokens over one connection until it ends, or until the emulator stops.
pub(crate) async fn serve_tokens<S>(stream: S, entra: Entra, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    http::converse(stream, stop.requested(), move |request| {
        record(entra.clone(), request, answer_token_request)
    })
    .await;
}

/// Gives tokens to managed identities over one connection until it ends, or until the emulator stops.
pub(crate) async fn serve_identities<S>(stream: S, entra: Entra, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    http::converse(stream, stop.requested(), move |request| {
        record(entra.clone(), request, answer_identity_request)
    })
    .await;
}

async fn answer_token_request(entra: Entra, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let segments: Vec<_> = path.split('/').skip(1).collect();
    let correlation = request
        .headers()
        .get("client-request-id")
        .and_then(|id| id.to_str().ok())
        .map(str::to_owned);
    let outcome = match (request.method(), segments.as_slice()) {
        (&Method::GET, ["common", "discovery", "instance"]) => Ok(entra.instance_discovery()),
        (&Method::GET, [tenant, "v2.0", ".well-known", "openid-configuration"]) => {
            entra.check_tenant(tenant).map(|()| entra.openid_configuration())
        }
        (&Method::GET, [tenant, "discovery", "v2.0", "keys"]) => match entra.check_tenant(tenant) {
            Ok(()) => match entra.signing_keys().await {
                Ok(keys) => Ok(keys),
                Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": error.to_string() })),
            },
            Err(refusal) => Err(refusal),
        },
        (&Method::POST, [tenant, "oauth2", "v2.0", "token"]) => match read_form(request).await {
            Ok(form) => entra.token_for(tenant, &form).await,
            Err(refusal) => Err(refusal),
        },
        _ => return (StatusCode::NOT_FOUND, json!({ "error": "not_found" })),
    };
    match outcome {
        Ok(json) => (StatusCode::OK, json),
        Err(refusal) => (
            refusal.status,
            refusal.to_json(entra.clock().now(), correlation.as_deref()),
        ),
    }
}

async fn answer_identity_request(entra: Entra, request: Request<Incoming>) -> Answer {
    let query = request.uri().query().unwrap_or_default();
    match (request.method(), request.uri().path()) {
        (&Method::GET, Entra::IMDS_PATH) => entra.imds_token(query, request.headers()).await,
        (&Method::GET, Entra::APP_SERVICE_PATH) => entra.app_service_token(query, request.headers()).await,
        _ => (StatusCode::NOT_FOUND, json!({ "error": "not_found" })),
    }
}

async fn read_form(request: Request<Incoming>) -> Result<Form, Refusal> {
    let body = Limited::new(request.into_body(), MAX_BODY);
    let bytes = tokio::time::timeout(BODY_TIMEOUT, body.collect()).await;
    match bytes {
        Ok(Ok(body)) => Ok(Form::parse(&body.to_bytes())),
        _ => {
            let message = "The request body is too large, too slow, or broke off.";
            Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                900_144,
                message,
            ))
        }
    }
}

/// Answers and leaves a line in the journal.
async fn record<A, F>(entra: Entra, request: Request<Incoming>, answer: A) -> Result<Response<Full<Bytes>>, Infallible>
where
    A: FnOnce(Entra, Request<Incoming>) -> F,
    F: Future<Output = Answer>,
{
    let operation = format!("{} {}", request.method(), request.uri().path());
    let fault = match request.uri().path().ends_with("/token") {
        true => entra.faults().take_for(Victim::TokenRequest, entra.journal()),
        false => None,
    };
    let mut retry = None;
    let (status, json) = match fault {
        Some(Fault::RefuseTokenRequest { status, retry_after }) => {
            retry = retry_after.and_then(|value| HeaderValue::try_from(value).ok());
            let text = "refused, as a test asked for";
            let json = json!({ "error": "temporarily_unavailable", "error_description": text });
            (
                StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
                json,
            )
        }
        _ => answer(entra.clone(), request).await,
    };
    debug!(operation, %status, "token request");
    entra.journal().record(Event::Request {
        door: Door::Entra,
        operation,
        status: status.as_u16(),
    });
    let mut response = Response::new(Full::from(json.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
    if let Some(retry) = retry {
        headers.insert(RETRY_AFTER, retry);
    }
    Ok(response)
}

const MAX_BODY: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

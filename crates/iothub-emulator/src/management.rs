//! The management door: what tests and tools in other processes ask of an emulator, over HTTPS on loopback.
//!
//! Everything here is a method of [`Emulator`](crate::Emulator) too. This door reads JSON and writes it.

mod answer;
mod disruption;
mod journal;
mod schedule;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::info;

use self::answer::{Answer, Mistake};
use crate::{
    http::converse,
    hub::{Hub, Target, sas::percent_decode},
    secret::is_same,
    stop::Stop,
};

/// What lies behind the door, and who gets in.
#[derive(Clone)]
pub(crate) struct Management {
    pub(crate) hub: Hub,
    pub(crate) token: String,
}

/// Answers what comes over one connection until it ends, or until the emulator stops.
pub(crate) async fn serve<S>(stream: S, management: Management, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    converse(stream, stop.requested(), move |request| {
        handle(management.clone(), request)
    })
    .await;
}

async fn handle(management: Management, request: Request<Incoming>) -> http::Result<Response<Full<Bytes>>> {
    let operation = format!("{} {}", request.method(), request.uri().path());
    let answer = management.answer(request).await;
    let response = answer.unwrap_or_else(Answer::from).into_response();
    if let Ok(response) = &response {
        info!(operation, status = response.status().as_u16(), "management");
    }
    response
}

impl Management {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Mistake> {
        self.admit(&request)?;
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| Mistake::bad(format!("the body cannot be read: {error}")))?;
        let body = body.to_bytes();
        let path = head.uri.path().trim_matches('/');
        let path: Option<Vec<_>> = path.split('/').map(percent_decode).collect();
        let path = path.ok_or_else(|| Mistake::bad("the path is not UTF-8"))?;
        let path: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
        let hub = &self.hub;
        match (&head.method, path.as_slice()) {
            (&Method::GET, ["journal"]) => journal::read(hub, head.uri.query().unwrap_or_default()).await,
            (&Method::GET, ["devices", "online"]) => Answer::json(&online(hub)),
            (&Method::POST, ["devices", device, "disconnect"]) => disconnect(hub, device, None),
            (&Method::POST, ["devices", device, "modules", module, "disconnect"]) => {
                disconnect(hub, device, Some(module))
            }
            (&Method::POST, ["connections", "drop"]) => {
                hub.drop_connections();
                Ok(Answer::nothing())
            }
            (&Method::GET, ["faults"]) => Answer::json(&schedule::read(hub)),
            (&Method::POST, ["faults"]) => schedule::add(hub, read(&body)?),
            (&Method::DELETE, ["faults"]) => {
                hub.faults().clear();
                Ok(Answer::nothing())
            }
            (&Method::POST, ["disruptions"]) => {
                disruption::cause(hub.faults(), read(&body)?);
                Ok(Answer::nothing())
            }
            (&Method::GET, ["clock"]) => Answer::json(&time(hub)),
            (&Method::POST, ["clock"]) => {
                let Turn { advance } = read(&body)?;
                hub.clock().advance(advance);
                hub.catch_up();
                Answer::json(&time(hub))
            }
            (&Method::POST, ["reset"]) => {
                hub.reset()?;
                Ok(Answer::nothing())
            }
            (method, path) => Err(Mistake {
                status: StatusCode::NOT_FOUND,
                text: format!("there is no {method} /{}", path.join("/")),
            }),
        }
    }

    fn admit(&self, request: &Request<Incoming>) -> Result<(), Mistake> {
        let header = request.headers().get(AUTHORIZATION);
        let presented = header
            .and_then(|header| header.to_str().ok())
            .and_then(|header| header.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        match presented {
            Some((_, token)) if is_same(&self.token, token.trim()) => Ok(()),
            _ => Err(Mistake {
                status: StatusCode::UNAUTHORIZED,
                text: "expected Authorization: Bearer and the token that the emulator has announced".to_owned(),
            }),
        }
    }
}

/// A connection of a device or module.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Online {
    device_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<String>,
    door: crate::Door,
}

fn online(hub: &Hub) -> Vec<Online> {
    let sessions = hub.online().into_iter();
    sessions
        .map(|(target, door)| Online {
            device_id: target.device().to_owned(),
            module_id: target.module().map(str::to_owned),
            door,
        })
        .collect()
}

fn disconnect(hub: &Hub, device: &str, module: Option<&str>) -> Result<Answer, Mistake> {
    let target = Target::parse(device, module)?;
    if hub.disconnect(&target) {
        return Ok(Answer::nothing());
    }
    Err(Mistake {
        status: StatusCode::NOT_FOUND,
        text: format!("{target} is not connected"),
    })
}

#[derive(Serialize)]
struct Time {
    now: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Turn {
    #[serde(with = "humantime_serde")]
    advance: std::time::Duration,
}

fn time(hub: &Hub) -> Time {
    Time {
        now: hub.clock().now().format(&Rfc3339).unwrap_or_default(),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Mistake> {
    serde_json::from_slice(body).map_err(|error| Mistake::bad(format!("the body: {error}")))
}

const MAX_BODY: usize = 64 * 1024;

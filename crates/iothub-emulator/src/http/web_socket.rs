use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
};
use http_body_util::Full;
use hyper::body::Incoming;
use iothub_core::HubErrorCode;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::{Instrument, debug};

use super::web_socket_bytes::WebSocketBytes;
use crate::{
    amqp,
    hub::{CertificateChain, Door, Failure, Fault, Hub, Victim},
    mqtt,
    stop::Stop,
};

/// Whether a request wants to go on as a WebSocket, to one of the two paths that hubs have.
pub(crate) fn is_asked_for<B>(request: &Request<B>) -> bool {
    let path = request.uri().path();
    let path = path.strip_suffix('/').unwrap_or(path);
    request.method() == Method::GET
        && PATHS.iter().any(|known| known.eq_ignore_ascii_case(path))
        && has_word(request.headers(), UPGRADE.as_str(), "websocket")
}

/// Agrees, and serves what comes over the WebSocket from now on.
///
/// `certificates` is what the client presented.
pub(crate) fn upgrade(
    hub: &Hub,
    certificates: CertificateChain,
    stop: Stop,
    mut request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Failure> {
    let bad = |text: &str| Failure::new(HubErrorCode::GenericBadRequest, text);
    if !has_word(request.headers(), CONNECTION.as_str(), "upgrade") {
        return Err(bad("a WebSocket needs Connection: Upgrade"));
    }
    if !has_word(request.headers(), "sec-websocket-version", "13") {
        return Err(bad("a WebSocket has version 13 here"));
    }
    let is_asked_for = |protocol: &&str| has_word(request.headers(), SEC_WEBSOCKET_PROTOCOL.as_str(), protocol);
    let protocol = [AMQP, MQTT]
        .into_iter()
        .find(is_asked_for)
        .ok_or_else(|| bad("the subprotocol of a WebSocket is AMQPWSB10 or mqtt here"))?;
    let key = request.headers().get(SEC_WEBSOCKET_KEY);
    let key = key.ok_or_else(|| bad("a WebSocket needs a Sec-WebSocket-Key"))?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| bad("the Sec-WebSocket-Key is not text"))?;

    let fault = hub.fault_for(Victim::Upgrade);
    if let Some(Fault::RefuseUpgrade { status }) = fault {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        return Ok(response);
    }
    let garble = match &fault {
        Some(Fault::GarbleWebSocket { kind }) => Some(*kind),
        _ => None,
    };
    let hub = hub.clone();
    let upgraded = hyper::upgrade::on(&mut request);
    let connection = async move {
        let stream = match upgraded.await {
            Ok(stream) => WebSocketBytes::new(stream, garble).await,
            Err(error) => {
                debug!(%error, "the upgrade to a WebSocket failed");
                return;
            }
        };
        match protocol {
            MQTT => mqtt::serve(stream, certificates, hub, Door::MqttWebSocket, stop).await,
            _ => amqp::serve(stream, certificates, hub, Door::AmqpWebSocket, stop).await,
        }
    };
    tokio::spawn(connection.in_current_span());

    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    let agreed = match &fault {
        Some(Fault::AnswerSubprotocol { protocol }) => protocol.as_deref(),
        _ => Some(protocol),
    };
    if let Some(Ok(agreed)) = agreed.map(HeaderValue::from_str) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, agreed);
    }
    Ok(response)
}

fn has_word(headers: &HeaderMap, name: &str, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut words = values.flat_map(|value| value.split(','));
    words.any(|found| found.trim().eq_ignore_ascii_case(word))
}

const PATHS: [&str; 2] = ["/$iothub/websocket", "/$servicebus/websocket"];
const AMQP: &str = "AMQPWSB10";
const MQTT: &str = "mqtt";

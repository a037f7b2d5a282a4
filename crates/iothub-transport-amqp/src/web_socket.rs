use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use azure_core::{Error, Result, error::ErrorKind};
use bytes::{Buf, Bytes};
use futures::{Sink, Stream};
use http::{HeaderValue, Request, StatusCode, header};
use iothub_core::HubHost;
use iothub_transport_http::dial;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self, Message, error::ProtocolError, error::SubProtocolError, handshake::client::generate_key,
        protocol::WebSocketConfig,
    },
};

use crate::within::within;

/// AMQP's bytes in the binary frames of a WebSocket. A frame is a piece of the stream, not an AMQP frame.
#[derive(Debug)]
pub(crate) struct WebSocket {
    socket: WebSocketStream<dial::Stream>,
    unread: Bytes,
}

impl WebSocket {
    /// Upgrades a connection that TLS has already verified.
    pub(crate) async fn upgrade(stream: dial::Stream, hub: &HubHost, limit: Duration) -> Result<Self> {
        let upgrading = client_async_with_config(request(hub)?, stream, Some(config()));
        let (socket, _) = within(limit, || format!("the upgrade to a WebSocket by {hub}"), upgrading)
            .await?
            .map_err(|error| refusal(hub, error))?;
        Ok(Self {
            socket,
            unread: Bytes::new(),
        })
    }

    /// The next piece, `None` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            let message = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(message) => message.map_err(into_io)?,
                None => return Poll::Ready(Ok(None)),
            };
            let unexpected = |what: String| Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
            match message {
                Message::Binary(piece) if piece.is_empty() => {}
                Message::Binary(piece) => return Poll::Ready(Ok(Some(piece))),
                // The pong was queued by the library when it read the ping, and goes out with the next flush.
                Message::Ping(_) => match Pin::new(&mut self.socket).poll_flush(cx) {
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(into_io(error))),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                },
                Message::Pong(_) => {}
                Message::Close(Some(frame)) => {
                    let what = format!(
                        "the hub closed the WebSocket with {}: {:?}",
                        frame.code,
                        frame.reason.as_str()
                    );
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, what)));
                }
                Message::Close(None) => {
                    let what = "the hub closed the WebSocket";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, what)));
                }
                Message::Text(_) => {
                    return unexpected("the hub sent a text frame, where AMQP needs binary ones".to_owned());
                }
                Message::Frame(_) => return unexpected("the hub sent a raw frame".to_owned()),
            }
        }
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            match ready!(self.poll_piece(cx))? {
                Some(piece) => self.unread = piece,
                None => return Poll::Ready(Ok(())),
            }
        }
        let fits = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..fits]);
        self.unread.advance(fits);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut socket = Pin::new(&mut self.socket);
        ready!(socket.as_mut().poll_ready(cx)).map_err(into_io)?;
        let piece = &buf[..buf.len().min(MAX_PIECE)];
        socket
            .start_send(Message::Binary(Bytes::copy_from_slice(piece)))
            .map_err(into_io)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(into_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.socket).poll_close(cx)) {
            // The hub was first.
            Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => Poll::Ready(Ok(())),
            outcome => Poll::Ready(outcome.map_err(into_io)),
        }
    }
}

fn request(hub: &HubHost) -> Result<Request<()>> {
    let authority = format!("{}:{}", hub.name(), hub.https_port());
    Request::get(format!("wss://{authority}{PATH}"))
        .header(
            header::HOST,
            if hub.https_port() == 443 {
                hub.name().to_owned()
            } else {
                authority
            },
        )
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, generate_key())
        .header(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL))
        .body(())
        .map_err(|error| Error::with_error(ErrorKind::Other, error, format!("{hub} makes no WebSocket request")))
}

fn refusal(hub: &HubHost, error: tungstenite::Error) -> Error {
    let (kind, why) = match &error {
        tungstenite::Error::Http(response) => {
            let status = response.status();
            // A front end that is overloaded or restarting answers so; everything else is an answer to the question.
            let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            (
                if passing {
                    ErrorKind::Connection
                } else {
                    ErrorKind::Other
                },
                format!("it answers {}", status.as_u16()),
            )
        }
        tungstenite::Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(
            SubProtocolError::InvalidSubProtocol
            | SubProtocolError::NoSubProtocol
            | SubProtocolError::ServerSentSubProtocolNoneRequested,
        )) => (
            ErrorKind::Other,
            format!("it does not agree to the subprotocol {SUBPROTOCOL}"),
        ),
        tungstenite::Error::Io(cause) => (ErrorKind::Connection, cause.to_string()),
        tungstenite::Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            (ErrorKind::Connection, "it closed the connection".to_owned())
        }
        other => (ErrorKind::Other, other.to_string()),
    };
    Error::with_error(kind, error, format!("{hub} gives no WebSocket at {PATH}: {why}"))
}

fn config() -> WebSocketConfig {
    // Pieces carry at most a few AMQP frames; a peer that sends more at once is not a hub.
    WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

fn into_io(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

const PATH: &str = "/$iothub/websocket";
const SUBPROTOCOL: &str = "AMQPWSB10";
const MAX_PIECE: usize = 64 * 1024;
const MAX_MESSAGE: usize = 1024 * 1024;

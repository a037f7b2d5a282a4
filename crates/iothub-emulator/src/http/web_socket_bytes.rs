use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures::{Sink, Stream};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{CloseCode, Data, OpCode},
            },
        },
    },
};

use crate::hub::fault::WebSocketGarble;

/// A WebSocket as a stream of bytes: the payload of its binary messages, whose borders mean nothing.
#[derive(Debug)]
pub(crate) struct WebSocketBytes {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    /// What came and was not read yet.
    rest: Bytes,
    odd: Odd,
}

/// What is odd about the messages that go out.
#[derive(Debug, Default)]
struct Odd {
    /// What waits to go out as it is.
    frames: VecDeque<Message>,
    fragments: bool,
    pings: bool,
    /// It is closed, and says nothing more.
    closed: bool,
}

impl WebSocketBytes {
    pub(crate) async fn new(stream: Upgraded, garble: Option<WebSocketGarble>) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let stream = TokioIo::new(stream);
        Self {
            socket: WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await,
            rest: Bytes::new(),
            odd: garble.map_or_else(Odd::default, Odd::of),
        }
    }
}

impl Odd {
    fn of(garble: WebSocketGarble) -> Self {
        let closed = |code| {
            let reason = "a fault that a test asked for".into();
            Self {
                frames: VecDeque::from([Message::Close(Some(CloseFrame { code, reason }))]),
                closed: true,
                ..Self::default()
            }
        };
        match garble {
            WebSocketGarble::Text => Self {
                frames: VecDeque::from([Message::text("something else")]),
                ..Self::default()
            },
            WebSocketGarble::Fragments => Self {
                fragments: true,
                ..Self::default()
            },
            WebSocketGarble::Pings => Self {
                pings: true,
                ..Self::default()
            },
            WebSocketGarble::GoingAway => closed(CloseCode::Away),
            WebSocketGarble::Failing => closed(CloseCode::Error),
        }
    }

    /// Puts in what carries these bytes. False if they go as they do with everybody.
    fn take(&mut self, bytes: &[u8]) -> bool {
        if self.pings {
            self.frames.extend((0..PINGS).map(|_| Message::Ping(Bytes::new())));
            self.frames.push_back(Message::Binary(Bytes::copy_from_slice(bytes)));
        } else if self.fragments {
            let mut parts = bytes.chunks(FRAGMENT).enumerate().peekable();
            while let Some((at, part)) = parts.next() {
                let opcode = OpCode::Data(if at == 0 { Data::Binary } else { Data::Continue });
                let frame = Frame::message(Bytes::copy_from_slice(part), opcode, parts.peek().is_none());
                self.frames.push_back(Message::Frame(frame));
            }
        }
        self.pings || self.fragments
    }
}

impl WebSocketBytes {
    /// Sends what is odd and waits to go out.
    fn poll_odd(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.odd.frames.is_empty() {
            let mut socket = Pin::new(&mut self.socket);
            ready!(socket.as_mut().poll_ready(cx)).map_err(broken)?;
            if let Some(frame) = self.odd.frames.pop_front() {
                Pin::new(&mut self.socket).start_send(frame).map_err(broken)?;
            }
        }
        if self.odd.closed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx)).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for WebSocketBytes {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(payload))) => self.rest = payload,
                Some(Ok(Message::Text(_))) => {
                    let text = "a text message on a WebSocket that carries bytes";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(ended(error)),
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(self.rest.get(..length).unwrap_or_default());
        self.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WebSocketBytes {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let bytes = bytes.get(..MAX_MESSAGE).unwrap_or(bytes);
        ready!(self.poll_odd(cx))?;
        if self.odd.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.odd.take(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let mut socket = Pin::new(&mut self.socket);
        ready!(socket.as_mut().poll_ready(cx)).map_err(broken)?;
        socket
            .start_send(Message::Binary(Bytes::copy_from_slice(bytes)))
            .map_err(broken)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_odd(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.socket).poll_close(cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(ended(error)),
        }
    }
}

/// A peer that went away is the end of a stream, whichever way it left.
fn ended(error: Error) -> io::Result<()> {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Ok(()),
        other => Err(broken(other)),
    }
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

const PINGS: usize = 100;

/// In bytes.
const FRAGMENT: usize = 3;

/// More than any AMQP frame that this hub agrees to.
const MAX_MESSAGE: usize = 1024 * 1024;

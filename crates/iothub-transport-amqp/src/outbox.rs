use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::AsyncWrite,
    time::{Instant, Sleep},
};

use crate::{
    byte_stream::ByteStream,
    frames::{CLOSE_FRAME, EMPTY_FRAME, Frames},
};

/// What is to be written, gathered until it is worth a system call.
///
/// The engine flushes after each frame. Here a flush is put off until the engine has nothing more to say, which it shows
/// by waiting for the peer twice in a row without a frame between, or until much has been gathered.
#[derive(Debug)]
pub(crate) struct Outbox {
    gathered: BytesMut,
    frames: Frames,
    /// Whether the stream holds bytes that it has not been made to send.
    is_unflushed: bool,
    was_put_off: bool,
    /// Whether the close frame is in. Nothing may follow it.
    is_closed: bool,

    said: Instant,
    keep_alive: Option<KeepAlive>,

    idle: Duration,
    /// Since when the peer has taken nothing.
    stalled: Option<Instant>,
    stall: Pin<Box<Sleep>>,
}

#[derive(Debug)]
struct KeepAlive {
    every: Duration,
    due: Pin<Box<Sleep>>,
}

impl Outbox {
    /// An outbox that gives up a peer that takes nothing for `idle`.
    pub(crate) fn new(idle: Duration) -> Self {
        let now = Instant::now();
        Self {
            gathered: BytesMut::new(),
            frames: Frames::default(),
            is_unflushed: false,
            was_put_off: false,
            is_closed: false,
            said: now,
            keep_alive: None,
            idle,
            stalled: None,
            stall: Box::pin(tokio::time::sleep(idle)),
        }
    }

    /// Has the peer hear something at least this often, if it asks for that.
    pub(crate) fn keep_alive(&mut self, idle_time_out: Option<u32>) {
        self.keep_alive = idle_time_out.filter(|limit| *limit > 0).map(|limit| {
            // A peer that waits for all of the time that it told must hear from us earlier.
            let every = Duration::from_millis(u64::from(limit)) / 2;
            let due = Box::pin(tokio::time::sleep(every));
            KeepAlive { every, due }
        });
    }

    pub(crate) fn is_full(&self) -> bool {
        self.gathered.len() >= ENOUGH
    }

    /// Takes what there is room for, and says how much that was.
    pub(crate) fn gather(&mut self, bytes: &[u8]) -> usize {
        let bytes = &bytes[..bytes.len().min(ENOUGH)];
        if self.is_closed {
            return bytes.len();
        }
        self.frames.follow(bytes);
        self.gathered.extend_from_slice(bytes);
        self.was_put_off = false;
        bytes.len()
    }

    /// Says goodbye after what was gathered, and takes nothing any more.
    pub(crate) fn close(&mut self) {
        if !self.is_closed && self.frames.at_boundary() {
            self.gather(&CLOSE_FRAME);
            self.is_closed = true;
        }
    }

    /// Sends all of it.
    pub(crate) fn poll_send(&mut self, stream: &mut Box<dyn ByteStream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, &self.gathered) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.gathered.advance(written);
                    self.is_unflushed = true;
                    self.said = Instant::now();
                    self.stalled = None;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_stall(cx),
            }
        }
        if self.is_unflushed {
            match Pin::new(&mut *stream).poll_flush(cx) {
                Poll::Ready(flushed) => flushed?,
                Poll::Pending => return self.poll_stall(cx),
            }
            self.is_unflushed = false;
            self.stalled = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Called whenever the engine waits for the peer. It resolves only to an error.
    pub(crate) fn poll_wait(&mut self, stream: &mut Box<dyn ByteStream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.gathered.is_empty() && !self.was_put_off {
                self.was_put_off = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(self.poll_send(stream, cx))?;
            let Some(keep_alive) = &mut self.keep_alive else {
                return Poll::Pending;
            };
            ready!(keep_alive.due.as_mut().poll(cx));
            let (now, last) = (Instant::now(), self.said + keep_alive.every);
            let is_due = last <= now;
            let next = if is_due { now + keep_alive.every } else { last };
            keep_alive.due.as_mut().reset(next);
            // In the middle of a frame the engine is about to go on.
            if is_due && self.frames.at_boundary() {
                self.gather(&EMPTY_FRAME);
            }
        }
    }

    /// Gives up what cannot be sent.
    pub(crate) fn clear(&mut self) {
        self.gathered.clear();
        self.is_unflushed = false;
    }

    pub(crate) fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stalled.is_none() {
            let now = Instant::now();
            self.stalled = Some(now);
            self.stall.as_mut().reset(now + self.idle);
        }
        ready!(self.stall.as_mut().poll(cx));
        let why = format!("the hub took nothing for {:?}", self.idle);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

/// As much as a peer's largest frame, by far more than a system call costs.
const ENOUGH: usize = 64 * 1024;

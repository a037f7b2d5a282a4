use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use fe2o3_amqp_types::performatives::Performative;
use futures::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use crate::{
    attach_watch::AttachWatch,
    byte_stream::ByteStream,
    frames::{EMPTY_FRAME, Frames},
};

/// The stream that the engine reads and writes, with what the engine leaves out.
///
/// - A peer that is silent for too long, or takes nothing for too long, is an error of whatever the engine waits for.
///   The engine's own limit does not end a write that hangs.
/// - The peer hears an empty frame after half of the time that it asked for. The engine sends one after all of it.
/// - It can be [cut](Cut) from outside, whatever the engine waits for.
/// - It shows the peer's frames to an [`AttachWatch`].
/// - Once the peer has closed the connection, what cannot be written any more is no error: it would hide the peer's reason.
///
/// The end of the stream is an error as well: AMQP says goodbye in a frame.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Box<dyn ByteStream>,
    shared: Arc<Shared>,
    idle: Duration,
    watch: AttachWatch,

    inbound: Frames,
    /// Whether the peer has sent its close frame.
    is_closed: bool,
    heard: Instant,
    silence: Pin<Box<Sleep>>,

    outbound: Frames,
    said: Instant,
    /// Since when the peer has taken nothing of what is to be written.
    stalled: Option<Instant>,
    stall: Pin<Box<Sleep>>,
    keep_alive: Option<KeepAlive>,
}

/// Ends a [`Wire`]: at once when dropped.
pub(crate) struct Cut(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    cut: AtomicBool,
    engine: AtomicWaker,
    fault: Mutex<Option<String>>,
}

#[derive(Debug)]
struct KeepAlive {
    every: Duration,
    due: Pin<Box<Sleep>>,
    /// What is left to write of an empty frame that has begun.
    rest: &'static [u8],
    is_unflushed: bool,
}

impl Wire {
    pub(crate) fn new(stream: Box<dyn ByteStream>, idle: Duration, watch: AttachWatch) -> (Self, Cut) {
        let shared = Arc::new(Shared::default());
        let now = Instant::now();
        let wire = Self {
            stream,
            shared: shared.clone(),
            idle,
            watch,
            inbound: Frames::default(),
            is_closed: false,
            heard: now,
            silence: Box::pin(tokio::time::sleep(idle)),
            outbound: Frames::default(),
            said: now,
            stalled: None,
            stall: Box::pin(tokio::time::sleep(idle)),
            keep_alive: None,
        };
        (wire, Cut(shared))
    }

    fn fail<T>(&self, kind: io::ErrorKind, why: String) -> Poll<io::Result<T>> {
        self.note(why.clone());
        Poll::Ready(Err(io::Error::new(kind, why)))
    }

    fn broke<T>(&self, error: io::Error) -> Poll<io::Result<T>> {
        self.note(error.to_string());
        Poll::Ready(Err(error))
    }

    fn note(&self, why: String) {
        let mut fault = self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.get_or_insert(why);
    }

    /// An error once the wire was cut or has failed; else the engine is woken when that happens.
    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        let is_cut = || self.shared.cut.load(Ordering::Acquire);
        if !is_cut() {
            self.shared.engine.register(cx.waker());
        }
        match is_cut() {
            true => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the connection was dropped",
            )),
            false => Ok(()),
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let Self {
            inbound,
            watch,
            keep_alive,
            is_closed,
            ..
        } = self;
        inbound.follow(
            bytes,
            |code| matches!(code, OPEN | CLOSE) || watch.wants(code),
            // What cannot be decoded is the engine's to report.
            |channel, body| match serde_amqp::from_slice(body) {
                Ok(Performative::Open(open)) => *keep_alive = KeepAlive::for_peer(open.idle_time_out),
                Ok(Performative::Close(_)) => *is_closed = true,
                Ok(frame) => watch.heard(channel, &frame),
                Err(_) => {}
            },
        );
    }

    /// Called while there is nothing to read, which is whenever the engine waits.
    fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_rest(cx))?;
            let at_boundary = self.outbound.at_boundary();
            let Some(keep_alive) = &mut self.keep_alive else {
                return Poll::Pending;
            };
            if keep_alive.is_unflushed {
                match ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
                    Ok(()) => keep_alive.is_unflushed = false,
                    Err(error) => return self.broke(error),
                }
                continue;
            }
            ready!(keep_alive.due.as_mut().poll(cx));
            let now = Instant::now();
            let last = self.said + keep_alive.every;
            // In the middle of a frame the engine is writing anyway.
            if last <= now && at_boundary {
                keep_alive.rest = &EMPTY_FRAME;
                keep_alive.is_unflushed = true;
            }
            let next = if last <= now { now + keep_alive.every } else { last };
            keep_alive.due.as_mut().reset(next);
        }
    }

    /// Writes what is left of an empty frame.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self
            .keep_alive
            .as_ref()
            .map(|keep_alive| keep_alive.rest)
            .filter(|rest| !rest.is_empty())
        {
            let written = ready!(self.poll_raw_write(cx, rest))?;
            if let Some(keep_alive) = &mut self.keep_alive {
                keep_alive.rest = &rest[written..];
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_raw_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(Ok(0) | Err(_)) if self.is_closed => Poll::Ready(Ok(bytes.len())),
            Poll::Ready(Ok(0)) => self.broke(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(written)) => {
                self.said = Instant::now();
                self.stalled = None;
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => self.broke(error),
            Poll::Pending => self.poll_stall(cx),
        }
    }

    fn poll_stall<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let since = match self.stalled {
            Some(since) => since,
            None => {
                let now = Instant::now();
                self.stalled = Some(now);
                self.stall.as_mut().reset(now + self.idle);
                now
            }
        };
        ready!(self.stall.as_mut().poll(cx));
        let idle = self.idle;
        debug_assert!(since.elapsed() >= idle);
        self.fail(io::ErrorKind::TimedOut, format!("the hub took nothing for {idle:?}"))
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() == before => {
                self.fail(io::ErrorKind::UnexpectedEof, HUNG_UP.to_owned())
            }
            // TLS calls it so when its own goodbye is missing.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.fail(io::ErrorKind::UnexpectedEof, HUNG_UP.to_owned())
            }
            Poll::Ready(Ok(())) => {
                self.heard = Instant::now();
                self.hear(&buf.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => self.broke(error),
            Poll::Pending => {
                if let Poll::Ready(Err(error)) = self.poll_keep_alive(cx) {
                    return Poll::Ready(Err(error));
                }
                loop {
                    ready!(self.silence.as_mut().poll(cx));
                    let limit = self.heard + self.idle;
                    if limit <= Instant::now() {
                        let idle = self.idle;
                        return self.fail(io::ErrorKind::TimedOut, format!("the hub was silent for {idle:?}"));
                    }
                    self.silence.as_mut().reset(limit);
                }
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        ready!(self.poll_rest(cx))?;
        let written = ready!(self.poll_raw_write(cx, buf))?;
        self.outbound.follow(&buf[..written], |_| false, |_, _| {});
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.stalled = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) if self.is_closed => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => self.broke(error),
            Poll::Pending => self.poll_stall(cx),
        }
    }

    /// The engine shuts down whatever happened before; with a wire that is dead there is nobody to say goodbye to.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_dead = self
            .shared
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        if is_dead || self.check(cx).is_err() {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            // AMQP has said its goodbyes; a peer that does not wait for those of TLS breaks nothing.
            Poll::Ready(_) => Poll::Ready(Ok(())),
            Poll::Pending => self.poll_stall(cx),
        }
    }
}

impl Cut {
    /// Why the wire failed, if it did.
    pub(crate) fn fault(&self) -> Option<String> {
        self.0.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.cut.store(true, Ordering::Release);
        self.0.engine.wake();
    }
}

impl fmt::Debug for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cut")
    }
}

impl KeepAlive {
    fn for_peer(idle_time_out: Option<u32>) -> Option<Self> {
        let limit = idle_time_out.filter(|limit| *limit > 0)?;
        let every = Duration::from_millis(u64::from(limit)) / 2;
        Some(Self {
            every,
            due: Box::pin(tokio::time::sleep(every)),
            rest: &[],
            is_unflushed: false,
        })
    }
}

const HUNG_UP: &str = "the hub closed the socket";
const OPEN: u8 = 0x10;
const CLOSE: u8 = 0x18;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    fn wire(room: usize) -> (Wire, Cut, DuplexStream) {
        let (ours, peer) = duplex(room);
        let (wire, cut) = Wire::new(Box::new(ours), IDLE, AttachWatch::default());
        (wire, cut, peer)
    }

    /// An open frame by hand, AMQP 1.0 part 2.7.1: container "p", and an idle-time-out of 20 s as its fifth field.
    const OPEN_FRAME: [u8; 25] = [
        0, 0, 0, 25, 2, 0, 0, 0, 0, 0x53, 0x10, 0xc0, 12, 5, 0xa1, 1, b'p', 0x40, 0x40, 0x40, 0x70, 0, 0, 0x4e, 0x20,
    ];

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_given_up() {
        let (mut wire, cut, _peer) = wire(64);
        let began = Instant::now();
        let error = wire.read_u8().await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, IDLE));
        assert_eq!(cut.fault().as_deref(), Some("the hub was silent for 60s"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_speaks_is_not_given_up() {
        let (mut wire, _cut, mut peer) = wire(64);
        for _ in 0..5 {
            let ((), read) = tokio::join!(
                async {
                    tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
                    peer.write_all(&EMPTY_FRAME).await.unwrap();
                },
                wire.read_u8()
            );
            assert_eq!(read.unwrap(), 0);
            wire.read_exact(&mut [0; 7]).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (mut wire, _cut, _peer) = wire(16);
        let began = Instant::now();
        let error = wire.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, IDLE));
        wire.shutdown().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_peer_hears_an_empty_frame_after_half_of_its_time() {
        let (mut wire, _cut, mut peer) = wire(1024);
        peer.write_all(&OPEN_FRAME).await.unwrap();
        wire.read_exact(&mut [0; 25]).await.unwrap();
        let began = Instant::now();
        tokio::spawn(async move { wire.read_u8().await });
        for seconds in [10, 20, 30] {
            let mut frame = [0; 8];
            peer.read_exact(&mut frame).await.unwrap();
            assert_eq!((frame, began.elapsed().as_secs()), (EMPTY_FRAME, seconds));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_hears_enough_is_not_bothered_and_no_frame_is_torn() {
        let (mut wire, _cut, mut peer) = wire(1024);
        peer.write_all(&OPEN_FRAME).await.unwrap();
        wire.read_exact(&mut [0; 25]).await.unwrap();
        // Half a frame goes out, and for long nothing else.
        wire.write_all(&OPEN_FRAME[..12]).await.unwrap();
        let pause = tokio::time::timeout(IDLE / 2, wire.read_u8()).await;
        assert!(pause.is_err());
        wire.write_all(&OPEN_FRAME[12..]).await.unwrap();
        let mut frame = [0; 25];
        peer.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame, OPEN_FRAME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_ends_whatever_waits() {
        let (mut wire, cut, _peer) = wire(16);
        let reading = tokio::spawn(async move { wire.read_u8().await.unwrap_err().kind() });
        tokio::task::yield_now().await;
        drop(cut);
        assert_eq!(reading.await.unwrap(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_stream_is_an_error() {
        let (mut wire, cut, peer) = wire(16);
        drop(peer);
        assert_eq!(wire.read_u8().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(cut.fault().as_deref(), Some("the hub closed the socket"));
    }
}

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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

use crate::{attach_watch::AttachWatch, byte_stream::ByteStream, inbound::Inbound, outbox::Outbox};

/// The stream that the engine reads and writes, with what the engine leaves out.
///
/// - A peer that is silent for too long, or takes nothing for too long, is an error of whatever the engine waits for.
///   The engine's own limit does not end a write that hangs.
/// - The peer hears an empty frame after half of the time that it asked for. The engine sends one after all of it.
/// - Frames go out [together](Outbox). The engine flushes each.
/// - It can be [cut](Cut) from outside, whatever the engine waits for.
/// - It shows the peer's frames to an [`AttachWatch`].
/// - It hands on nothing that is [too deep](Inbound) to be decoded.
/// - It closes the connection itself. The engine calls every frame that crosses its own close an error.
/// - Once the peer has closed the connection, what cannot be written any more is no error: it would hide the peer's reason.
///
/// The end of the stream is an error as well: AMQP says goodbye in a frame.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Box<dyn ByteStream>,
    shared: Arc<Shared>,
    watch: AttachWatch,
    outbox: Outbox,

    inbound: Inbound,
    /// Whether the peer has sent its close frame.
    is_closed: bool,
    idle: Duration,
    heard: Instant,
    silence: Pin<Box<Sleep>>,
}

/// Ends a [`Wire`]: in order when asked to, and at once when dropped.
pub(crate) struct Cut(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    cut: AtomicBool,
    closing: AtomicBool,
    engine: AtomicWaker,
    fault: Mutex<Option<String>>,
}

impl Wire {
    pub(crate) fn new(
        stream: Box<dyn ByteStream>,
        idle: Duration,
        max_message: u64,
        watch: AttachWatch,
    ) -> (Self, Cut) {
        let shared = Arc::new(Shared::default());
        let wire = Self {
            stream,
            shared: shared.clone(),
            watch,
            outbox: Outbox::new(idle),
            inbound: Inbound::new(max_message),
            is_closed: false,
            idle,
            heard: Instant::now(),
            silence: Box::pin(tokio::time::sleep(idle)),
        };
        (wire, Cut(shared))
    }

    /// An error once the wire was cut; else the engine is woken when that happens.
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

    fn poll_bytes(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.shared.closing.load(Ordering::Acquire) {
            self.outbox.close();
        }
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                self.heard = Instant::now();
                let heard = self.hear(&mut buf.filled_mut()[before..]);
                if heard.is_err() {
                    buf.set_filled(before);
                }
                Poll::Ready(heard)
            }
            Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => Poll::Ready(Err(error)),
            // TLS calls it an unexpected end when its own goodbye is missing.
            Poll::Ready(_) => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the hub closed the socket",
            ))),
            Poll::Pending => {
                if let Poll::Ready(Err(error)) = self.outbox.poll_wait(&mut self.stream, cx) {
                    if !self.is_closed {
                        return Poll::Ready(Err(error));
                    }
                    self.outbox.clear();
                }
                self.poll_silence(cx)
            }
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.silence.as_mut().poll(cx));
            let limit = self.heard + self.idle;
            if limit <= Instant::now() {
                let why = format!("the hub was silent for {:?}", self.idle);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
            self.silence.as_mut().reset(limit);
        }
    }

    fn hear(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let Self {
            inbound,
            watch,
            outbox,
            is_closed,
            ..
        } = self;
        let heard = inbound.follow(
            bytes,
            |code| matches!(code, OPEN | CLOSE) || watch.wants(code),
            |channel, frame| match frame {
                Performative::Open(open) => outbox.keep_alive(open.idle_time_out),
                Performative::Close(_) => *is_closed = true,
                frame => watch.heard(channel, frame),
            },
        );
        heard.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.outbox.poll_send(&mut self.stream, cx)) {
            Err(_) if self.is_closed => {
                self.outbox.clear();
                Poll::Ready(Ok(()))
            }
            sent => Poll::Ready(sent),
        }
    }

    /// Keeps the first error: the engine tells its own words.
    fn note<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &outcome {
            self.shared.fault().get_or_insert_with(|| error.to_string());
        }
        outcome
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let read = ready!(self.poll_bytes(cx, buf));
        Poll::Ready(self.note(read))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        if self.outbox.is_full() {
            let sent = ready!(self.poll_send(cx));
            self.note(sent)?;
        }
        Poll::Ready(Ok(self.outbox.gather(buf)))
    }

    /// What was gathered goes out when the engine next waits to read, or has written more than is gathered.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.check(cx))
    }

    /// The engine shuts down whatever happened before; with a wire that is dead there is nobody to say goodbye to.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_dead = self.shared.fault().is_some();
        if is_dead || self.check(cx).is_err() {
            return Poll::Ready(Ok(()));
        }
        let sent = ready!(self.poll_send(cx));
        self.note(sent)?;
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            // AMQP has said its goodbyes; a peer that does not wait for those of TLS breaks nothing.
            Poll::Ready(_) => Poll::Ready(Ok(())),
            Poll::Pending => self.outbox.poll_stall(cx),
        }
    }
}

impl Shared {
    fn fault(&self) -> MutexGuard<'_, Option<String>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cut {
    /// Tells the peer that the connection is over, after what the engine has already written. The engine ends when the
    /// peer answers.
    pub(crate) fn close(&self) {
        self.0.closing.store(true, Ordering::Release);
        self.0.engine.wake();
    }

    /// Why the wire failed, if it did.
    pub(crate) fn fault(&self) -> Option<String> {
        self.0.fault().clone()
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

const OPEN: u8 = 0x10;
const CLOSE: u8 = 0x18;

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::frames::EMPTY_FRAME;

    const IDLE: Duration = Duration::from_secs(60);

    fn wire(room: usize) -> (Wire, Cut, DuplexStream) {
        let (ours, peer) = duplex(room);
        let (wire, cut) = Wire::new(Box::new(ours), IDLE, 1024, AttachWatch::default());
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
        let (mut wire, _cut, mut peer) = wire(16);
        // It speaks, so that it is not given up for silence.
        peer.write_all(&EMPTY_FRAME).await.unwrap();
        let began = Instant::now();
        let error = wire.write_all(&vec![0; 256 * 1024]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, IDLE));
        wire.shutdown().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn frames_go_out_together_once_the_engine_waits() {
        let (mut wire, _cut, mut peer) = wire(1024);
        for _ in 0..3 {
            wire.write_all(&EMPTY_FRAME).await.unwrap();
            wire.flush().await.unwrap();
        }
        let mut received = [0; 64];
        assert!(
            peer.read(&mut received).now_or_never().is_none(),
            "nothing goes out while there is more to say"
        );
        let waiting = tokio::spawn(async move { wire.read_u8().await });
        assert_eq!(peer.read(&mut received).await.unwrap(), 24);
        waiting.abort();
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
        tokio::spawn(async move { wire.read_u8().await });
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

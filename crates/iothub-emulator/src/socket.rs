use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use crate::hub::Fault;

/// A connection as it came from the listener, or as a fault has it.
pub(crate) struct Socket {
    tcp: TcpStream,
    flaw: Option<Box<Flaw>>,
}

/// What is wrong, and how far it got.
enum Flaw {
    /// The connection ends when so much was read or written.
    Limit {
        read: Limit,
        written: Limit,
        end: End,
    },
    Slow {
        reading: Pace,
        writing: Pace,
    },
    Split,
}

/// How much may still pass; `None` is any amount.
type Limit = Option<u64>;

#[derive(Clone, Copy)]
enum End {
    Reset,
    Silence,
}

struct Pace {
    bytes_per_second: u32,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub(crate) fn new(tcp: TcpStream, fault: Option<&Fault>) -> Self {
        let flaw = fault.and_then(Flaw::of).map(Box::new);
        Self { tcp, flaw }
    }
}

/// Ends a connection without a word of TCP that would be polite.
pub(crate) fn reset(tcp: TcpStream) {
    // Without it the other end hears of an orderly end, which is another fault.
    let _ = tcp.set_zero_linger();
}

impl Flaw {
    fn of(fault: &Fault) -> Option<Self> {
        let limit = |read: Limit, written: Limit, end| {
            let at_once = read.is_none() && written.is_none();
            let read = if at_once { Some(0) } else { read };
            Some(Self::Limit { read, written, end })
        };
        match *fault {
            Fault::CutConnection {
                after_read,
                after_written,
            } => limit(after_read, after_written, End::Reset),
            Fault::SilenceConnection {
                after_read,
                after_written,
            } => limit(after_read, after_written, End::Silence),
            Fault::SlowConnection { bytes_per_second } => Some(Self::Slow {
                reading: Pace::new(bytes_per_second),
                writing: Pace::new(bytes_per_second),
            }),
            Fault::SplitConnection => Some(Self::Split),
            _ => None,
        }
    }

    /// How much may be read now, at most.
    fn poll_may_read(&mut self, tcp: &TcpStream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::Limit { read, written, end } => limited(*read, *written, *end, tcp).map_ok(|()| bound(*read)),
            Self::Slow { reading, .. } => reading.poll_step(context).map(Ok),
            Self::Split => Poll::Ready(Ok(PIECE)),
        }
    }

    fn poll_may_write(&mut self, tcp: &TcpStream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::Limit { read, written, end } => limited(*read, *written, *end, tcp).map_ok(|()| bound(*written)),
            Self::Slow { writing, .. } => writing.poll_step(context).map(Ok),
            Self::Split => Poll::Ready(Ok(1)),
        }
    }

    fn has_read(&mut self, count: usize) {
        match self {
            Self::Limit { read, .. } => take(read, count),
            Self::Slow { reading, .. } => reading.rest_after(count),
            Self::Split => {}
        }
    }

    fn has_written(&mut self, count: usize) {
        match self {
            Self::Limit { written, .. } => take(written, count),
            Self::Slow { writing, .. } => writing.rest_after(count),
            Self::Split => {}
        }
    }
}

impl Pace {
    fn new(bytes_per_second: u32) -> Self {
        Self {
            bytes_per_second,
            pause: None,
        }
    }

    /// What passes in a tenth of a second, and a byte at least.
    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
        }
        self.pause = None;
        let step = usize::try_from(self.bytes_per_second / 10).unwrap_or(PIECE);
        Poll::Ready(step.clamp(1, PIECE))
    }

    fn rest_after(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let time = Duration::from_secs(1) * count / self.bytes_per_second.max(1);
        self.pause = Some(Box::pin(sleep(time)));
    }
}

/// Refuses, or waits for ever, when a limit is reached in either direction.
fn limited(read: Limit, written: Limit, end: End, tcp: &TcpStream) -> Poll<io::Result<()>> {
    if read != Some(0) && written != Some(0) {
        return Poll::Ready(Ok(()));
    }
    match end {
        // Nobody is woken, which is the fault.
        End::Silence => Poll::Pending,
        End::Reset => {
            let _ = tcp.set_zero_linger();
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }
}

fn bound(limit: Limit) -> usize {
    limit.map_or(PIECE, |left| usize::try_from(left).unwrap_or(PIECE).min(PIECE))
}

fn take(limit: &mut Limit, count: usize) {
    if let Some(left) = limit {
        *left = left.saturating_sub(count as u64);
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { tcp, flaw } = &mut *self;
        let Some(flaw) = flaw else {
            return Pin::new(tcp).poll_read(context, buf);
        };
        let most = ready!(flaw.poll_may_read(tcp, context))?;
        let mut piece = vec![0; most.min(buf.remaining())];
        let mut part = ReadBuf::new(&mut piece);
        ready!(Pin::new(tcp).poll_read(context, &mut part))?;
        flaw.has_read(part.filled().len());
        buf.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { tcp, flaw } = &mut *self;
        let Some(flaw) = flaw else {
            return Pin::new(tcp).poll_write(context, buf);
        };
        let most = ready!(flaw.poll_may_write(tcp, context))?;
        let written = ready!(Pin::new(tcp).poll_write(context, &buf[..most.min(buf.len())]))?;
        flaw.has_written(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.flaw.is_none() {
            return Pin::new(&mut self.tcp).poll_write_vectored(context, bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.poll_write(context, first.map_or(&[], |buf| buf))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

const PIECE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use futures::poll;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::Instant,
    };

    use super::*;

    /// The hub's end with a fault, and the client's.
    async fn pair(fault: Fault) -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        (Socket::new(tcp, Some(&fault)), client)
    }

    #[tokio::test]
    async fn a_cut_connection_is_reset_after_so_many_bytes() {
        let (mut hub, mut client) = pair(Fault::CutConnection {
            after_read: None,
            after_written: Some(5),
        })
        .await;
        assert_eq!(hub.write(b"hello, world").await.unwrap(), 5);
        let error = hub.write(b", world").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        drop(hub);
        let error = client.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_silent_connection_hears_and_says_nothing() {
        let (mut hub, mut client) = pair(Fault::SilenceConnection {
            after_read: Some(3),
            after_written: None,
        })
        .await;
        client.write_all(b"hello").await.unwrap();
        let mut heard = [0; 3];
        hub.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hel");
        hub.tcp.readable().await.unwrap();
        assert!(poll!(Box::pin(hub.read(&mut heard))).is_pending());
        assert!(poll!(Box::pin(hub.write(b"x"))).is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_connection_keeps_its_pace_both_ways() {
        let (mut hub, mut client) = pair(Fault::SlowConnection { bytes_per_second: 100 }).await;
        let started = Instant::now();
        client.write_all(&[7; 1000]).await.unwrap();
        let mut heard = [0; 1000];
        hub.read_exact(&mut heard).await.unwrap();
        assert!(
            started.elapsed() >= Duration::from_millis(9_900),
            "{:?}",
            started.elapsed()
        );
        hub.write_all(&heard).await.unwrap();
        assert!(
            started.elapsed() >= Duration::from_millis(19_800),
            "{:?}",
            started.elapsed()
        );
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, [7; 1000]);
    }
}

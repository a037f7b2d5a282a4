use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// The body of an answer, whole, or as a fault has it.
pub(crate) enum AnswerBody {
    Whole(Full<Bytes>),
    /// It ends too early: the connection with it, as its length was said before.
    Cut {
        head: Bytes,
        length: u64,
    },
    Slow {
        rest: Bytes,
        bytes_per_second: u32,
        pause: Option<Pin<Box<Sleep>>>,
    },
}

impl AnswerBody {
    pub(crate) fn cut(body: &Bytes, after: usize) -> Self {
        Self::Cut {
            head: body.slice(..after.min(body.len().saturating_sub(1))),
            length: body.len() as u64,
        }
    }

    pub(crate) fn slow(body: Bytes, bytes_per_second: u32) -> Self {
        Self::Slow {
            rest: body,
            bytes_per_second,
            pause: None,
        }
    }
}

impl From<Full<Bytes>> for AnswerBody {
    fn from(body: Full<Bytes>) -> Self {
        Self::Whole(body)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(never),
            Self::Cut { head, .. } if head.is_empty() => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            Self::Cut { head, .. } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(head))))),
            Self::Slow { rest, .. } if rest.is_empty() => Poll::Ready(None),
            Self::Slow {
                rest,
                bytes_per_second,
                pause,
            } => {
                if let Some(waiting) = pause {
                    std::task::ready!(waiting.as_mut().poll(context));
                }
                // In steps of a tenth of a second, and of a byte at least.
                let step = (*bytes_per_second / 10).max(1);
                let length = usize::try_from(step).unwrap_or(usize::MAX).min(rest.remaining());
                *pause = Some(Box::pin(sleep(Duration::from_secs(1) * step / *bytes_per_second)));
                Poll::Ready(Some(Ok(Frame::data(rest.split_to(length)))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Cut { length, .. } => SizeHint::with_exact(*length),
            Self::Slow { rest, .. } => SizeHint::with_exact(rest.len() as u64),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Cut { .. } => false,
            Self::Slow { rest, .. } => rest.is_empty(),
        }
    }
}

/// All bytes of a body that is in memory anyway.
pub(crate) async fn bytes(body: Full<Bytes>) -> Bytes {
    match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(never) => match never {},
    }
}

fn never(never: Infallible) -> io::Error {
    match never {}
}

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use azure_core::{
    Error, Result,
    error::ErrorKind,
    http::{
        AsyncRawResponse,
        headers::{HeaderName, Headers},
    },
};
use bytes::Bytes;
use futures::Stream;
use http::HeaderMap;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::fault;

/// Limits for a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_head_bytes: usize,
    pub(crate) max_body_bytes: u64,
    pub(crate) stall_timeout: Duration,
}

/// A response of hyper in azure_core's types. Its body is still on the wire and comes as the caller reads it.
pub(crate) fn from_hyper(response: http::Response<Incoming>, limits: Limits, host: &str) -> Result<AsyncRawResponse> {
    let (head, body) = response.into_parts();
    // hyper's own limit is that of a buffer, which one large read may overshoot.
    let head_bytes: usize = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if head_bytes > limits.max_head_bytes {
        return Err(Error::with_message_fn(ErrorKind::DataConversion, || {
            format!(
                "the response head of {host} is over the limit of {} bytes",
                limits.max_head_bytes
            )
        }));
    }
    let (status, headers) = (head.status.as_u16().into(), to_headers(&head.headers));
    if body.is_end_stream() {
        return Ok(AsyncRawResponse::from_bytes(status, headers, Bytes::new()));
    }
    if body.size_hint().lower() > limits.max_body_bytes {
        return Err(too_large(limits.max_body_bytes, host));
    }
    let body = GuardedBody::new(body, limits, host.to_owned());
    Ok(AsyncRawResponse::new(status, headers, Box::pin(body)))
}

/// azure_core keeps one value a name, so lines of the same name become the list that RFC 9110 section 5.3 says they are.
fn to_headers(map: &HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for name in map.keys() {
        let values: Vec<_> = map
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        headers.insert(HeaderName::from(name.as_str().to_owned()), values.join(", "));
    }
    headers
}

/// A response body that ends with an error when it grows too large or comes too slowly.
struct GuardedBody<B> {
    body: Option<B>,
    host: String,
    limits: Limits,
    read: u64,
    /// Bytes of the present KiB, and how long they have been waited for. Time in which nobody reads does not count.
    read_of_step: u64,
    waited_of_step: Duration,
    waiting: Option<Waiting>,
}

struct Waiting {
    since: Instant,
    too_long: Pin<Box<Sleep>>,
}

impl<B> GuardedBody<B>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    fn new(body: B, limits: Limits, host: String) -> Self {
        Self {
            body: Some(body),
            host,
            limits,
            read: 0,
            read_of_step: 0,
            waited_of_step: Duration::ZERO,
            waiting: None,
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
                ready!(self.poll_stalled(cx));
                let (read, stall) = (self.read, self.limits.stall_timeout);
                return Poll::Ready(Some(Err(Error::with_message(
                    ErrorKind::Io,
                    format!(
                        "the response body of {} stalled after {read} bytes: less than 1 KiB in {stall:?}",
                        self.host
                    ),
                ))));
            };
            if let Some(waiting) = self.waiting.take() {
                self.waited_of_step += waiting.since.elapsed();
            }
            match frame {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(fault::of_body(error, &self.host)))),
                // Trailers carry nothing for us.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(self.count(data)));
                    }
                }
            }
        }
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.limits.stall_timeout.saturating_sub(self.waited_of_step);
        let waiting = self.waiting.get_or_insert_with(|| {
            let since = Instant::now();
            Waiting {
                since,
                too_long: Box::pin(sleep_until(since + left)),
            }
        });
        waiting.too_long.as_mut().poll(cx)
    }

    fn count(&mut self, data: Bytes) -> Result<Bytes> {
        self.read += data.len() as u64;
        self.read_of_step += data.len() as u64;
        if self.read > self.limits.max_body_bytes {
            return Err(too_large(self.limits.max_body_bytes, &self.host));
        }
        if self.read_of_step >= STEP {
            self.read_of_step = 0;
            self.waited_of_step = Duration::ZERO;
        }
        Ok(data)
    }
}

impl<B> Stream for GuardedBody<B>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let chunk = ready!(this.poll_chunk(cx));
        if !matches!(chunk, Some(Ok(_))) {
            // Ends the stream; an unread body takes its connection along.
            this.body = None;
        }
        Poll::Ready(chunk)
    }
}

fn too_large(max: u64, host: &str) -> Error {
    Error::with_message(
        ErrorKind::DataConversion,
        format!("the response body of {host} is over the limit of {max} bytes"),
    )
}

/// What must arrive within the stall timeout.
const STEP: u64 = 1024;

#[cfg(test)]
mod tests {
    use futures::{StreamExt, channel::mpsc};
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    type Chunk = std::result::Result<Frame<Bytes>, hyper::Error>;

    fn body_with_stall_timeout(
        seconds: u64,
    ) -> (mpsc::UnboundedSender<Chunk>, impl Stream<Item = Result<Bytes>> + Unpin) {
        let (wire, chunks) = mpsc::unbounded();
        let limits = Limits {
            max_head_bytes: 10_000,
            max_body_bytes: 10_000,
            stall_timeout: Duration::from_secs(seconds),
        };
        (
            wire,
            GuardedBody::new(StreamBody::new(chunks), limits, "hub.example".to_owned()),
        )
    }

    fn chunk(length: usize) -> Chunk {
        Ok(Frame::data(vec![0; length].into()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_brings_a_kib_in_time_may_take_long() {
        let (wire, body) = body_with_stall_timeout(10);
        let sending = async move {
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_secs(9)).await;
                wire.unbounded_send(chunk(1024)).unwrap();
            }
        };
        let (chunks, ()) = tokio::join!(body.collect::<Vec<_>>(), sending);
        assert_eq!(
            chunks.into_iter().map(|chunk| chunk.unwrap().len()).sum::<usize>(),
            8 * 1024
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up() {
        let (wire, mut body) = body_with_stall_timeout(10);
        let start = Instant::now();
        let sending = async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if wire.unbounded_send(chunk(10)).is_err() {
                    return;
                }
            }
        };
        let reading = async {
            loop {
                match body.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error,
                    None => panic!("the body ended"),
                }
            }
        };
        let error = tokio::select! { error = reading => error, () = sending => unreachable!() };
        assert_eq!(start.elapsed(), Duration::from_secs(10));
        assert_eq!(*error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("stalled"), "{error}");
        assert!(body.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_not_a_slow_body() {
        let (wire, mut body) = body_with_stall_timeout(10);
        for _ in 0..4 {
            wire.unbounded_send(chunk(10)).unwrap();
            assert_eq!(body.next().await.unwrap().unwrap().len(), 10);
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        drop(wire);
        assert!(body.next().await.is_none());
    }

    #[test]
    fn lines_of_one_header_become_a_list() {
        let mut map = HeaderMap::new();
        map.append("www-authenticate", "Bearer a".parse().unwrap());
        map.append("www-authenticate", "PoP b".parse().unwrap());
        map.append("x-one", http::HeaderValue::from_bytes("gr\u{fc}n".as_bytes()).unwrap());
        let headers = to_headers(&map);
        assert_eq!(
            headers.get_optional_str(&HeaderName::from_static("www-authenticate")),
            Some("Bearer a, PoP b")
        );
        assert_eq!(
            headers.get_optional_str(&HeaderName::from_static("x-one")),
            Some("gr\u{fc}n")
        );
    }
}

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use azure_core::{
    Error, Result,
    error::ErrorKind,
    http::{Body, Method, Request},
    stream::SeekableStream,
};
use bytes::Bytes;
use futures::Stream;
use http::{HeaderName, HeaderValue, header};
use hyper::body::{Frame, SizeHint};

/// `request` in hyper's types. Neither body nor headers are copied deeply.
pub(crate) fn to_hyper(request: &Request, host: &str) -> Result<http::Request<OutgoingBody>> {
    let uri: http::Uri = request.url().as_str().parse().map_err(|error: http::uri::InvalidUri| {
        Error::with_error_fn(ErrorKind::DataConversion, error, || {
            format!("the URL of a request to {host} is not a URI of RFC 3986")
        })
    })?;
    let mut built = http::Request::new(OutgoingBody::from(request.body().clone()));
    *built.uri_mut() = uri;
    // `Method` may grow, so it goes through its name.
    *built.method_mut() = http::Method::from_bytes(request.method().as_str().as_bytes())
        .map_err(|error| Error::new(ErrorKind::DataConversion, error))?;
    for (name, value) in request.headers().iter() {
        let name = name.as_str();
        let bad = |error: http::Error| {
            Error::with_error_fn(ErrorKind::DataConversion, error, || {
                format!("{name:?} cannot be sent as a header: a name of RFC 9110 tokens, a value without line breaks")
            })
        };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|error| bad(error.into()))?;
        let mut value = HeaderValue::from_str(value.as_str()).map_err(|error| bad(error.into()))?;
        // Keeps a credential out of hyper's logs, and out of the tables of HTTP/2's header compression.
        value.set_sensitive(key == header::AUTHORIZATION);
        built.headers_mut().insert(key, value);
    }
    // Front ends ask for a length where a method usually has a body (RFC 9110 section 8.6); hyper says none of an
    // empty body.
    let expects_body = matches!(request.method(), Method::Post | Method::Put | Method::Patch);
    if expects_body && request.body().is_empty() == Some(true) {
        built
            .headers_mut()
            .entry(header::CONTENT_LENGTH)
            .or_insert(HeaderValue::from_static("0"));
    }
    Ok(built)
}

/// A request body: bytes, or a stream whose length may be known.
#[derive(Debug)]
pub(crate) enum OutgoingBody {
    Bytes(Bytes),
    Stream {
        stream: Box<dyn SeekableStream>,
        left: Option<u64>,
    },
}

impl From<Body> for OutgoingBody {
    fn from(body: Body) -> Self {
        match body {
            Body::Bytes(bytes) => Self::Bytes(bytes),
            Body::SeekableStream(stream) => Self::Stream {
                left: stream.len(),
                stream,
            },
        }
    }
}

impl hyper::body::Body for OutgoingBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream { stream, left } => {
                let chunk = std::task::ready!(Pin::new(stream.as_mut()).poll_next(cx));
                if let (Some(left), Some(Ok(chunk))) = (left, &chunk) {
                    *left = left.saturating_sub(chunk.len() as u64);
                }
                Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Stream { left, .. } => *left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream { left: Some(left), .. } => SizeHint::with_exact(*left),
            Self::Stream { left: None, .. } => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_header_is_refused_without_showing_its_value() {
        let mut request = Request::new("https://hub.example/".parse().unwrap(), Method::Get);
        request.insert_header("authorization", "secret\r\nx: y");
        let error = to_hyper(&request, "hub.example").unwrap_err();
        assert!(
            error.to_string().starts_with("\"authorization\" cannot be sent"),
            "{error}"
        );
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[test]
    fn a_credential_is_marked_as_sensitive() {
        let mut request = Request::new(
            "https://hub.example/devices/a%2Fb?x=%20#f".parse().unwrap(),
            Method::Patch,
        );
        request.insert_header("authorization", "Bearer secret");
        let built = to_hyper(&request, "hub.example").unwrap();
        assert!(built.headers()["authorization"].is_sensitive());
        assert_eq!(built.uri().path_and_query().unwrap(), "/devices/a%2Fb?x=%20");
        assert_eq!(built.method(), "PATCH");
    }
}

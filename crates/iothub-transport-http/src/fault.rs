//! What went wrong with a request, sorted by what its sender may do about it.

use std::{error::Error as StdError, io, iter::successors, time::Duration};

use azure_core::{Error, error::ErrorKind};
use hyper_util::client::legacy;

/// The error of a request that got no response head.
pub(crate) fn of(error: legacy::Error, host: &str) -> Error {
    // The connector has said everything already.
    if let Some(refusal) = cause::<Error>(&error).filter(|_| error.is_connect()) {
        let (kind, message) = (refusal.kind().clone(), refusal.to_string());
        return Error::with_error(kind, error, message);
    }
    let (kind, what) = if nothing_was_sent(&error) {
        (
            ErrorKind::Connection,
            "the connection closed before the request was sent",
        )
    } else if is_malformed(&error) {
        (
            ErrorKind::DataConversion,
            "the answer is not HTTP, or its head is over the limit",
        )
    } else {
        (ErrorKind::Io, "the connection broke before an answer came")
    };
    let message = format!("{host}: {what}: {}", text(&error));
    Error::with_error(kind, error, message)
}

/// The error of a response body that broke off.
pub(crate) fn of_body(error: hyper::Error, host: &str) -> Error {
    let kind = if is_malformed(&error) {
        ErrorKind::DataConversion
    } else {
        ErrorKind::Io
    };
    let message = format!("the response body of {host} broke off: {}", text(&error));
    Error::with_error(kind, error, message)
}

/// The error of a response head that did not come in time.
pub(crate) fn of_silence(limit: Duration, host: &str, was_sent: bool) -> Error {
    match was_sent {
        true => Error::with_message(ErrorKind::Io, format!("{host} did not answer within {limit:?}")),
        false => Error::with_message(
            ErrorKind::Connection,
            format!("no connection to {host} within {limit:?}"),
        ),
    }
}

/// The first cause of type `T`, `error` included.
pub(crate) fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref::<T>())
}

/// What `error` and its causes say, each once.
pub(crate) fn text(error: &(dyn StdError + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    for text in chain(error).map(ToString::to_string) {
        if !said.iter().any(|earlier| earlier.contains(&text)) {
            said.push(text);
        }
    }
    said.join(": ")
}

/// `io::Error` hides the error inside it from `source`, which gives that error's source instead.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    successors(Some(error), |&error| {
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inside
            .map(|inner| inner as &(dyn StdError + 'static))
            .or_else(|| error.source())
    })
}

/// Proof that no server can have acted on the request.
fn nothing_was_sent(error: &legacy::Error) -> bool {
    // Without a connection the request never left; that also holds for an HTTP/2 preface that failed.
    error.connect_info().is_none()
        // hyper says so of a request that it still holds: a pooled connection closed before the first byte.
        || cause::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled)
        || cause::<h2::Error>(error).is_some_and(is_unprocessed)
}

/// RFC 9113 section 8.7: a refused stream and a stream above the last one of GOAWAY have not been processed. h2 gives
/// a remote GOAWAY as the error of exactly those streams.
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote()
        && (error.is_go_away() || (error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)))
}

/// Whether the peer sent something that another try would only repeat.
fn is_malformed(error: &(dyn StdError + 'static)) -> bool {
    if cause::<rustls::Error>(error).is_some() {
        // An alert or a damaged record in mid stream says nothing about the answer.
        return false;
    }
    let bad_data = |error: &io::Error| matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput);
    let bad_frame = |error: &h2::Error| error.is_library() && error.reason() != Some(h2::Reason::NO_ERROR);
    cause::<hyper::Error>(error).is_some_and(hyper::Error::is_parse)
        || cause::<io::Error>(error).is_some_and(bad_data)
        || cause::<h2::Error>(error).is_some_and(bad_frame)
}

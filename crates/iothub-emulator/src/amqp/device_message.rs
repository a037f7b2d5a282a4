//! What a message to a device or from one holds, read from the sections of an AMQP message.

use bytes::Bytes;
use time::OffsetDateTime;

use super::{
    message::Body,
    value::{Value, time},
};
use crate::hub::Failure;

/// The payload: data sections in a row, or a single value that is bytes or text.
pub(crate) fn payload(body: Body) -> Result<Bytes, Failure> {
    match body {
        Body::Empty | Body::Value(Value::Null) => Ok(Bytes::new()),
        Body::Data(mut parts) if parts.len() == 1 => Ok(parts.remove(0)),
        Body::Data(parts) => Ok(parts.concat().into()),
        Body::Value(Value::Binary(bytes)) => Ok(bytes),
        Body::Value(Value::String(text)) => Ok(text.into()),
        Body::Value(_) | Body::Sequence(_) => Err(Failure::argument("the body of a message has to be a data section")),
    }
}

/// An id of a message, whatever type it was given.
pub(crate) fn id(value: Value, name: &str) -> Result<Option<String>, Failure> {
    let text = match &value {
        Value::Null => return Ok(None),
        Value::String(_) | Value::Ulong(_) | Value::Uuid(_) => value.to_text(),
        // The standard allows a binary, which only then is an id of a hub if it is text.
        Value::Binary(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
        _ => None,
    };
    let text = text.ok_or_else(|| Failure::argument(format!("`{name}` has to be a string, a ulong or a uuid")))?;
    if text.len() > MAX_ID {
        return Err(Failure::argument(format!(
            "`{name}` has at most {MAX_ID} characters, this one {}",
            text.len()
        )));
    }
    Ok(Some(text))
}

pub(crate) fn expiry(milliseconds: Option<i64>) -> Result<Option<OffsetDateTime>, Failure> {
    let beyond = || Failure::argument("a timestamp lies beyond the year 9999");
    milliseconds
        .map(|milliseconds| time(milliseconds).ok_or_else(beyond))
        .transpose()
}

/// A property as text.
pub(crate) fn property(name: &str, value: &Value) -> Result<String, Failure> {
    value.to_text().ok_or_else(|| {
        Failure::argument(format!(
            "the property {name:?} is neither a string nor anything that reads as one"
        ))
    })
}

/// The published limit of a message id.
const MAX_ID: usize = 128;

use std::ops::Range;

use serde_json::value::RawValue;

/// A text of a twin: mostly a place in the twin's JSON, and beside it only where the JSON has it escaped.
#[derive(Clone)]
pub(super) enum Text {
    Place(Range<u32>),
    Unescaped(Box<str>),
}

impl Text {
    /// The place of any JSON value within `json`, of which it is a part.
    pub(super) fn of_value(value: &RawValue, json: &str) -> Self {
        Self::Place(place(value.get(), json))
    }

    /// The text that a JSON string says. `None` for null.
    pub(super) fn of_string(value: &RawValue, json: &str) -> serde_json::Result<Option<Self>> {
        let raw = value.get();
        if raw == "null" {
            return Ok(None);
        }
        match raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) {
            Some(inner) if !inner.contains('\\') => Ok(Some(Self::Place(place(inner, json)))),
            _ => Ok(Some(Self::Unescaped(serde_json::from_str(raw)?))),
        }
    }

    pub(super) fn within<'a>(&'a self, json: &'a [u8]) -> &'a str {
        match self {
            Self::Place(place) => utf8(json.get(place.start as usize..place.end as usize).unwrap_or_default()),
            Self::Unescaped(text) => text,
        }
    }
}

/// What has been read as JSON is UTF-8; asking again is cheaper than a second representation.
pub(super) fn utf8(json: &[u8]) -> &str {
    std::str::from_utf8(json).unwrap_or_default()
}

/// Where `part`, a slice of `json`, stands in it. A twin is far shorter than 4 GiB; `read` sees to it.
fn place(part: &str, json: &str) -> Range<u32> {
    let start = part.as_ptr() as usize - json.as_ptr() as usize;
    start as u32..(start + part.len()) as u32
}

/// Where in `text` its slice `part` ends.
pub(super) fn after(part: &str, text: &str) -> usize {
    part.as_ptr() as usize + part.len() - text.as_ptr() as usize
}

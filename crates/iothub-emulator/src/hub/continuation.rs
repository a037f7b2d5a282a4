use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::Failure;

/// Where a query goes on. Clients see it as an opaque text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Continuation {
    /// The twin that comes next: its device, and its module if it is one's.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<(Box<str>, Option<Box<str>>)>,
    /// How many rows of an aggregate have been given.
    #[serde(rename = "s", default)]
    pub(crate) skip: u64,
    /// How many rows TOP allows from here on.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(crate) left: Option<u64>,
    /// Which query it belongs to.
    #[serde(rename = "q", default)]
    query: String,
}

impl Continuation {
    pub(crate) fn start(top: Option<u64>) -> Self {
        Self {
            left: top,
            ..Self::default()
        }
    }

    pub(crate) fn at(place: (Box<str>, Option<Box<str>>)) -> Self {
        Self {
            place: Some(place),
            ..Self::default()
        }
    }

    pub(crate) fn after_rows(skip: u64) -> Self {
        Self {
            skip,
            ..Self::default()
        }
    }

    #[must_use]
    pub(crate) fn with_left(self, left: Option<u64>) -> Self {
        Self { left, ..self }
    }

    /// From what a client sends back, with the same query as before.
    pub(crate) fn parse(token: &str, query: &str) -> Result<Self, Failure> {
        let read = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
        let read: Option<Self> = read.and_then(|json| serde_json::from_slice(&json).ok());
        let read = read.ok_or_else(|| Failure::argument("BadRequest: this is no continuation token of this hub"))?;
        if read.query != fingerprint(query) {
            return Err(Failure::argument(
                "BadRequest: the continuation token belongs to another query",
            ));
        }
        Ok(read)
    }

    /// Another token that leads to the same place.
    pub(crate) fn synonym(token: &str) -> Option<String> {
        let json = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let mut json: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&json).ok()?;
        let number = json.get("n").and_then(serde_json::Value::as_u64).unwrap_or_default();
        json.insert("n".to_owned(), number.wrapping_add(1).into());
        Some(BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&json).ok()?))
    }

    pub(crate) fn token(self, query: &str) -> String {
        let query = fingerprint(query);
        // Texts and numbers can always be written.
        let json = serde_json::to_vec(&Self { query, ..self }).unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD.encode(json)
    }
}

fn fingerprint(query: &str) -> String {
    let digest = digest(&SHA256, query.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(digest.as_ref().get(..9).unwrap_or_default())
}

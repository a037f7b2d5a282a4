use std::{fmt, str::FromStr};

use azure_core::{Error, Result, error::ErrorKind, http::pager::PagerContinuation};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// Where a query goes on, to be kept and resumed later or elsewhere.
///
/// Pagers give it out as their `continuation()`. A hub's own token is good for the same text only, and says nothing
/// about it; this one also holds the text and the page size, so that a query can be resumed from the token alone, and one
/// with another text fails at once.
///
/// Its text is of letters, digits, `-` and `_`. That is no encryption: whoever has it, and azure_core's log at the levels
/// debug and trace is one of them, can read the query. How long a hub knows its tokens is not published.
///
/// A pager of items stands at the begin of the page whose items it gives; resumed, it begins with that page again.
///
/// # Examples
///
/// ```no_run
/// use azure_core::http::{JsonFormat, pager::PagerOptions};
/// use futures::TryStreamExt;
/// use iothub_core::{HubPipeline, PagedQuery, QueryPage, QueryToken};
/// use serde_json::Value;
///
/// # async fn example(hub: HubPipeline) -> iothub_core::Result<()> {
/// let query = PagedQuery::new(&hub, "SELECT * FROM devices WHERE tags.site = 'x'")?;
/// let mut pages = query.pager::<QueryPage<Value>, JsonFormat>(PagerOptions::default())?.into_pages();
/// pages.try_next().await?;
/// let kept: Option<String> = pages.into_continuation().map(String::from);
///
/// // Later, perhaps in another process.
/// if let Some(kept) = kept {
///     let token: QueryToken = kept.parse()?;
///     let options = PagerOptions { continuation: Some(token.clone().into()), ..PagerOptions::default() };
///     let rest = PagedQuery::new(&hub, token.query())?.pager::<QueryPage<Value>, JsonFormat>(options)?;
///     # let _ = rest;
/// }
/// # Ok(()) }
/// ```
#[doc(alias = "ContinuationToken")]
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct QueryToken(Content);

#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Content {
    #[serde(rename = "q")]
    query: String,
    #[serde(rename = "n", skip_serializing_if = "Option::is_none")]
    page_size: Option<u32>,
    /// The hub's own token. It becomes a header, so it has to be one.
    #[serde(rename = "c")]
    place: String,
}

impl QueryToken {
    pub(super) fn new(query: &str, page_size: Option<u32>, place: String) -> Self {
        let query = query.to_owned();
        Self(Content {
            query,
            page_size,
            place,
        })
    }

    /// The text of the query; of another list, what says which one it is.
    pub fn query(&self) -> &str {
        &self.0.query
    }

    /// How many rows a page had at most. `None` if that was left to the hub.
    pub fn page_size(&self) -> Option<u32> {
        self.0.page_size
    }

    pub(super) fn place(&self) -> Option<&str> {
        Some(&self.0.place)
    }

    /// Why a query with this text cannot go on here.
    pub(super) fn mismatch(&self, text: &str) -> Option<String> {
        (text != self.query()).then(|| {
            format!(
                "the continuation token belongs to the query `{}`: resume that one, or begin this one without a token",
                self.query()
            )
        })
    }
}

impl FromStr for QueryToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let json = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        let content: Option<Content> = json.and_then(|json| serde_json::from_slice(&json).ok());
        let is_header = |place: &str| !place.is_empty() && place.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        content
            .filter(|content| is_header(&content.place))
            .map(Self)
            .ok_or_else(|| {
                Error::with_message(
                    ErrorKind::DataConversion,
                    "this is no continuation token of a query: take the one that a pager gave, whole",
                )
            })
    }
}

impl TryFrom<&PagerContinuation> for QueryToken {
    type Error = Error;

    fn try_from(continuation: &PagerContinuation) -> Result<Self> {
        continuation.as_ref().parse()
    }
}

impl TryFrom<String> for QueryToken {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<QueryToken> for PagerContinuation {
    fn from(token: QueryToken) -> Self {
        Self::Token(token.into())
    }
}

impl From<QueryToken> for String {
    fn from(token: QueryToken) -> Self {
        token.to_string()
    }
}

impl fmt::Display for QueryToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(json))
    }
}

/// Without the text, which may hold what belongs to the application.
impl fmt::Debug for QueryToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryToken")
            .field("page_size", &self.0.page_size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_whole() -> Result<()> {
        let text = "SELECT * FROM devices WHERE tags.ort = 'Köln/\"Süd\"'";
        for page_size in [None, Some(7)] {
            let token = QueryToken::new(text, page_size, "+RID:~x==#RT:1".to_owned());
            let kept = token.to_string();
            assert!(
                kept.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)),
                "{kept}"
            );
            let read: QueryToken = kept.parse()?;
            assert_eq!(
                (read.query(), read.page_size(), read.place()),
                (text, page_size, Some("+RID:~x==#RT:1"))
            );
            assert_eq!(
                serde_json::from_str::<QueryToken>(&serde_json::to_string(&read)?)?,
                read
            );
        }
        Ok(())
    }

    #[test]
    fn a_token_does_not_print_what_belongs_to_the_application() {
        let token = QueryToken::new(
            "SELECT * FROM devices WHERE tags.owner = 'somebody'",
            Some(3),
            "place".to_owned(),
        );
        assert_eq!(format!("{token:?}"), "QueryToken { page_size: Some(3), .. }");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        // The last two are `{"q":"a"}` and `{"q":"a","c":"x\r\ny: z"}`.
        for bad in [
            "",
            "x",
            "!",
            "eyJ",
            "eyJxIjoiYSJ9",
            "eyJxIjoiYSIsImMiOiJ4XHJcbnk6IHoifQ",
        ] {
            let error = bad.parse::<QueryToken>().unwrap_err().to_string();
            assert!(error.contains("no continuation token"), "{bad}: {error}");
        }
    }
}

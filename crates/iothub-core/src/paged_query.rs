//! The pages of a query: how they are asked for, one ahead of the application, and when to stop.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll},
};

use azure_core::{
    async_runtime::{SpawnedTask, get_async_runtime},
    error::ErrorKind,
    http::{
        Context, DeserializeWith, Format, Method, Pager, RawResponse, Response,
        headers::HeaderName,
        pager::{Page, PagerContinuation, PagerOptions, PagerResult, PagerState},
    },
};
use futures::channel::oneshot;
use serde_json::json;
use tracing::Instrument;

use crate::{Error, HubPipeline, HubRequest, OperationClass, Result};

mod query_page;
mod query_token;

pub use query_page::QueryPage;
pub use query_token::QueryToken;

/// A question that a hub answers with rows, page by page: how every client turns one into a [`Pager`].
///
/// Nothing is sent before the pager is polled. Then the next page is asked for while the application works on the one
/// before, by a task that ends with the pager. A hub that leads in a circle, or that gives pages without a row again and
/// again, is left with an error.
///
/// # Examples
///
/// ```no_run
/// use azure_core::http::{JsonFormat, pager::PagerOptions};
/// use futures::TryStreamExt;
/// use iothub_core::{HubPipeline, PagedQuery, QueryPage};
/// use serde_json::Value;
///
/// # async fn example(hub: HubPipeline) -> iothub_core::Result<()> {
/// let query = PagedQuery::new(&hub, "SELECT deviceId FROM devices")?.with_page_size(Some(100));
/// let mut rows = query.pager::<QueryPage<Value>, JsonFormat>(PagerOptions::default())?;
/// while let Some(row) = rows.try_next().await? {
///     println!("{row}");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct PagedQuery {
    hub: HubPipeline,
    /// Asks for the first page.
    request: HubRequest,
    /// What is asked for, to be kept in tokens.
    text: String,
    page_size: Option<u32>,
    /// What the hub has to call the rows, in the header `x-ms-item-type`.
    item_type: Option<&'static str>,
    reads_ahead: bool,
}

impl PagedQuery {
    /// A query in the hub's language.
    ///
    /// # Errors
    ///
    /// The text is empty, or longer than the 8192 characters that a hub takes.
    pub fn new(hub: &HubPipeline, text: &str) -> Result<Self> {
        let length = text.chars().count();
        if text.trim().is_empty() {
            return Err(mistake("a query has a text, such as SELECT * FROM devices"));
        }
        if length > MAX_TEXT {
            let text = format!("a query has at most {MAX_TEXT} characters, and this one has {length}");
            return Err(mistake(text));
        }
        let request = hub
            .request(Method::Post, &["devices", "query"])?
            .class(OperationClass::Read)
            .json(&json!({ "query": text }))?;
        Ok(Self::of_request(hub, text, request))
    }

    /// Another request that is answered in pages. `text` says what it asks for: tokens belong to it.
    pub fn of_request(hub: &HubPipeline, text: impl Into<String>, request: HubRequest) -> Self {
        Self {
            hub: hub.clone(),
            request,
            text: text.into(),
            page_size: None,
            item_type: None,
            reads_ahead: true,
        }
    }

    /// How many rows a page has at most. `None` leaves it to the hub, or to the token that the query is resumed with.
    #[must_use]
    pub fn with_page_size(mut self, rows: Option<u32>) -> Self {
        self.page_size = rows;
        self
    }

    /// What the hub calls the rows, such as `Twin`. Pages of other rows are then an error.
    #[must_use]
    pub fn with_item_type(mut self, item_type: &'static str) -> Self {
        self.item_type = Some(item_type);
        self
    }

    /// Whether the next page is asked for before it is wanted, which it is unless this says otherwise.
    #[must_use]
    pub fn with_reading_ahead(mut self, reads_ahead: bool) -> Self {
        self.reads_ahead = reads_ahead;
        self
    }

    /// The pages, and the rows in them.
    ///
    /// # Errors
    ///
    /// The continuation in the options is no [`QueryToken`] or belongs to another text, or a page is to have no rows.
    pub fn pager<P, F>(mut self, options: PagerOptions<'_>) -> Result<Pager<P, F>>
    where
        P: Page + DeserializeWith<F> + Send + 'static,
        F: Format + Send + 'static,
    {
        if self.page_size == Some(0) {
            return Err(mistake(
                "a page has at least one row: leave page_size out for the hub's own size",
            ));
        }
        if let Some(continuation) = &options.continuation {
            let token = QueryToken::try_from(continuation)?;
            if let Some(mismatch) = token.mismatch(&self.text) {
                return Err(mistake(mismatch));
            }
            self.page_size = self.page_size.or(token.page_size());
        }
        let options = PagerOptions {
            context: options.context.into_owned(),
            continuation: options.continuation,
        };
        let pages = Arc::new(Pages {
            query: self,
            progress: Mutex::default(),
        });
        Ok(Pager::new(
            move |state, options| {
                let pages = Arc::clone(&pages);
                Box::pin(async move { pages.next(&state, &options.context).await })
            },
            Some(options),
        ))
    }

    fn request(&self, place: Option<&str>) -> HubRequest {
        let mut request = self.request.clone();
        if let Some(size) = self.page_size {
            request = request.header(MAX_ITEM_COUNT, size.to_string());
        }
        if let Some(place) = place {
            request = request.header(CONTINUATION, place.to_owned());
        }
        request
    }

    /// An answer with rows of the wrong kind would be read as something that it is not.
    fn check(&self, response: &RawResponse) -> Result<()> {
        let found = response.headers().get_optional_str(&ITEM_TYPE);
        match (self.item_type, found) {
            (Some(wanted), Some(found)) if !wanted.eq_ignore_ascii_case(found) => Err(mistake(format!(
                "the rows of this query are of the kind {found}, not {wanted}: SELECT * gives twins; other rows are \
                     read with `query`, as a type of yours"
            ))),
            _ => Ok(()),
        }
    }
}

/// Gives the pages of one query in turn, to the closure of a [`Pager`].
struct Pages {
    query: PagedQuery,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// Where the page begins that a pager asks for next if it goes straight on.
    next: Option<String>,
    /// Where pages began that were asked for, as hashes: eight bytes for each page.
    asked: HashSet<u64>,
    /// How many pages in a row had no rows.
    empty: u32,
    ahead: Option<Ahead>,
}

impl Pages {
    async fn next<P, F>(&self, state: &PagerState, context: &Context<'static>) -> Result<PagerResult<Response<P, F>>> {
        let token = match state {
            PagerState::Initial => None,
            PagerState::More(token) => Some(QueryToken::try_from(token)?),
        };
        let place = token.as_ref().and_then(QueryToken::place);
        let ahead = self.progress().go_to(place)?;
        let fetched = match ahead {
            Some(ahead) => ahead.await,
            None => None,
        };
        let response = match fetched {
            Some(outcome) => outcome?,
            None => self.query.hub.send(context, self.query.request(place)).await?,
        };
        self.query.check(&response)?;

        let next = response.headers().get_optional_string(&CONTINUATION);
        let Some(next) = next.filter(|next| !next.is_empty()) else {
            return Ok(PagerResult::Done {
                response: response.into(),
            });
        };
        let is_new = self.progress().give(&next, response.body())?;
        if is_new && self.query.reads_ahead {
            let ahead = Ahead::start(&self.query, &next, context);
            self.progress().ahead = Some(ahead);
        }
        let token = QueryToken::new(&self.query.text, self.query.page_size, next);
        Ok(PagerResult::More {
            response: response.into(),
            continuation: PagerContinuation::Token(token.to_string()),
        })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// Begins the page at `place`, and hands out what has been asked for ahead if it is this one.
    fn go_to(&mut self, place: Option<&str>) -> Result<Option<Ahead>> {
        if self.next.as_deref() != place {
            // The pager has been turned into one of pages, which begins again with the page that was current.
            self.asked.clear();
            self.empty = 0;
        }
        let ahead = self.ahead.take().filter(|ahead| Some(ahead.place.as_str()) == place);
        if self.asked.insert(hash(place)) {
            Ok(ahead)
        } else {
            Err(Error::with_message(
                ErrorKind::Other,
                "the hub leads back to a page that it gave before, so the query would never end",
            ))
        }
    }

    /// Notes where the hub says the next page begins. Returns whether it is a place where no page began before.
    fn give(&mut self, next: &str, body: &[u8]) -> Result<bool> {
        self.next = Some(next.to_owned());
        self.empty = if has_rows(body) { 0 } else { self.empty + 1 };
        if self.empty > MAX_EMPTY {
            return Err(Error::with_message_fn(ErrorKind::Other, || {
                format!("the hub gave {MAX_EMPTY} pages in a row without a row and says that there are more")
            }));
        }
        Ok(!self.asked.contains(&hash(Some(next))))
    }
}

/// The next page, on its way while the application works on the one before. Dropped, it is given up.
struct Ahead {
    place: String,
    answer: oneshot::Receiver<Result<RawResponse>>,
    task: SpawnedTask,
}

impl Ahead {
    fn start(query: &PagedQuery, place: &str, context: &Context<'static>) -> Self {
        let request = query.request(Some(place));
        let (hub, context) = (query.hub.clone(), context.clone());
        let (give, answer) = oneshot::channel();
        let fetch = async move {
            // Nobody listens any more if the query has been dropped in this moment.
            let _ = give.send(hub.send(&context, request).await);
        };
        Self {
            place: place.to_owned(),
            answer,
            task: get_async_runtime().spawn(Box::pin(fetch.in_current_span())),
        }
    }
}

/// `None` if the task was stopped by others, such as a runtime that shuts down.
impl Future for Ahead {
    type Output = Option<Result<RawResponse>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map(std::result::Result::ok)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn mistake(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::with_message(ErrorKind::DataConversion, text)
}

fn has_rows(json: &[u8]) -> bool {
    json.iter()
        .any(|byte| !byte.is_ascii_whitespace() && !b"[]".contains(byte))
}

fn hash(place: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    hasher.finish()
}

/// The published limit of the text.
const MAX_TEXT: usize = 8192;
/// A hub may look at many twins before it finds one, but not without end.
const MAX_EMPTY: u32 = 1000;
const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const MAX_ITEM_COUNT: HeaderName = HeaderName::from_static("x-ms-max-item-count");
const ITEM_TYPE: HeaderName = HeaderName::from_static("x-ms-item-type");

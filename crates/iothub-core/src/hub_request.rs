use std::{fmt, time::Duration};

use azure_core::{
    Result,
    http::{
        Body, Method, RawResponse, Request, Url,
        headers::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH},
    },
};
use serde::Serialize;

use crate::{CallLimits, HubError, IfMatch, OperationClass, call_limits::EffectiveLimits};

/// One request to a hub; [`HubPipeline::request`](crate::HubPipeline::request) makes it.
#[derive(Clone)]
pub struct HubRequest {
    pub(crate) inner: Request,
    pub(crate) class: OperationClass,
    pub(crate) refusal: Option<fn(&RawResponse) -> Option<HubError>>,
    head_timeout: Duration,
}

impl HubRequest {
    pub(crate) fn new(url: Url, method: Method) -> Self {
        let mut inner = Request::new(url, method);
        inner.insert_header(ACCEPT, "application/json");
        Self {
            inner,
            class: OperationClass::of(method),
            refusal: None,
            head_timeout: Duration::ZERO,
        }
    }

    /// Says whether the call may be made twice, where the method says it wrong: a query is a POST that reads.
    #[must_use]
    pub fn class(mut self, class: OperationClass) -> Self {
        self.class = class;
        self
    }

    /// Names what is a refusal although the hub answers with a success: that it knows nothing of a job, for one. It
    /// becomes an error like others, of the status that its code stands for.
    #[must_use]
    pub fn refused_if(mut self, refusal: fn(&RawResponse) -> Option<HubError>) -> Self {
        self.refusal = Some(refusal);
        self
    }

    /// Adds a parameter to the query, escaped.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.inner.url_mut().query_pairs_mut().append_pair(name, value);
        self
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<HeaderName>, value: impl Into<HeaderValue>) -> Self {
        self.inner.insert_header(name, value);
        self
    }

    /// Makes a write conditional.
    ///
    /// # Errors
    ///
    /// The tag is none; see [`IfMatch::to_header`].
    pub fn if_match(self, condition: &IfMatch) -> Result<Self> {
        Ok(self.header(IF_MATCH, condition.to_header()?))
    }

    /// Sets the body to `value` as JSON.
    ///
    /// # Errors
    ///
    /// `value` is not representable in JSON, such as a map whose keys are not strings.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self> {
        let json = serde_json::to_vec(value)?;
        Ok(self.body(json, "application/json; charset=utf-8"))
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>, content_type: &'static str) -> Self {
        self.inner.set_body(body);
        self.inner.insert_header(CONTENT_TYPE, content_type);
        self
    }

    /// Says that the hub may take this long to begin its answer. Each try waits as long, and the deadline of the call
    /// moves out as far, unless the caller has set limits for this call.
    #[must_use]
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.head_timeout = timeout;
        self
    }

    pub(crate) fn limits(&self, of_the_call: Option<&CallLimits>, of_the_client: &CallLimits) -> EffectiveLimits {
        let of_the_call = of_the_call.copied().unwrap_or_default();
        EffectiveLimits::new(&of_the_call, of_the_client, self.head_timeout)
    }
}

/// Without query values, headers and body, where secrets may be.
impl fmt::Debug for HubRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubRequest")
            .field("method", &self.inner.method())
            .field("path", &self.inner.url().path())
            .field("class", &self.class)
            .finish_non_exhaustive()
    }
}

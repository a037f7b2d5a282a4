use std::{borrow::Cow, env::consts, sync::Arc};

use async_trait::async_trait;
use azure_core::{
    Error, Result,
    error::ErrorKind,
    http::{
        ClientOptions, Context, Method, Pipeline, PipelineSendOptions, RawResponse, Request, RetryOptions, StatusCode,
        Transport, Url,
        headers::{HeaderValue, USER_AGENT},
        policies::{Policy, PolicyResult},
    },
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tracing::Instrument;

use crate::{
    CallLimits, CallReport, HubError, HubHost, HubRequest,
    retry::{Call, RetryPolicy, WatchedTransport},
};

/// How every client speaks HTTP with its hub.
///
/// A request goes through azure_core's pipeline: a request id and the user agent, the policies that the application
/// gave, then once for each try authorization, azure_core's log, and the transport. What comes back is a success or
/// an [`Error`] with [`HubError`] and [`CallFacts`](crate::CallFacts) inside.
///
/// # Repetition
///
/// azure_core's own retry does not ask whether a request may be made twice, so it is switched off, whatever
/// [`ClientOptions::retry`] says. In its place each request has an [`OperationClass`](crate::OperationClass):
///
/// | what happened | read | idempotent | not idempotent |
/// | --- | --- | --- | --- |
/// | no connection was made | again | again | again |
/// | 401 | once again, with a new token | once again | once again |
/// | 429 | again after seconds | again after seconds | again after seconds |
/// | the connection was lost, or no answer came in time | again | again | given up |
/// | the answer was cut off | again | given up | given up |
/// | 408, 500, 502, 504 | again | again | given up |
/// | 503 | again after seconds | again after seconds | given up |
/// | every other answer | given up | given up | given up |
///
/// A wait that the hub asks for is kept to; if it is longer than what is left of the deadline, the call ends at once.
/// [`CallLimits`] bound tries and time; timers are those of azure_core's async runtime. All clones of a pipeline share a budget of repetitions, which successes refill.
///
/// # What is expected of others
///
/// The transport reports [`ErrorKind::Connection`] only if no byte of a request was sent, [`ErrorKind::Io`] if nobody
/// knows, and any other kind for what would fail again, such as a certificate that is not trusted.
///
/// The authorization policy sees each answer before the retry does. On a 401 it forgets the token that it sent, if
/// that is still the one it would send next; the request then comes to it once more.
///
/// # Examples
///
/// ```no_run
/// # use std::sync::Arc;
/// use azure_core::http::{ClientOptions, Context, Method, Transport, policies::Policy};
/// use iothub_core::{HubPipeline, Product};
///
/// # async fn example(authorization: Arc<dyn Policy>, transport: Transport) -> iothub_core::Result<()> {
/// let product = Product { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
/// let options = ClientOptions { transport: Some(transport), ..ClientOptions::default() };
/// let hub = HubPipeline::new(product, "my-hub.azure-devices.net".parse()?, authorization, options)?;
///
/// let request = hub.request(Method::Get, &["devices", "lamp#1"])?;
/// let lamp = hub.send(&Context::new(), request).await?;
/// # let _ = lamp;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct HubPipeline {
    host: HubHost,
    api_version: Cow<'static, str>,
    limits: CallLimits,
    pipeline: Arc<Pipeline>,
}

/// What names a client to the hub, in the header `User-Agent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// The name of its crate.
    pub name: &'static str,
    /// The version of its crate.
    pub version: &'static str,
}

impl HubPipeline {
    /// Puts a pipeline together.
    ///
    /// # Errors
    ///
    /// `options` has no transport, or its application id is not 1 to 24 characters of an HTTP token.
    pub fn new(product: Product, host: HubHost, auth: Arc<dyn Policy>, mut options: ClientOptions) -> Result<Self> {
        let transport = options.transport.take().ok_or_else(|| {
            Error::with_message(
                ErrorKind::Other,
                "there is no HTTP transport: enable the feature `hyper`, or set `ClientOptions::transport`",
            )
        })?;
        options.transport = Some(Transport::with_policy(Arc::new(WatchedTransport(transport))));
        options.retry = RetryOptions::none();
        let application = options.user_agent.application_id.take();
        let user_agent = UserAgent::new(product, application.as_deref())?;
        options.per_call_policies.insert(0, Arc::new(user_agent));
        let per_try: Vec<Arc<dyn Policy>> = vec![Arc::new(RetryPolicy::default()), auth];
        let pipeline = Pipeline::new(
            Some(product.name),
            Some(product.version),
            options,
            Vec::new(),
            per_try,
            None,
        );
        Ok(Self {
            host,
            api_version: Cow::Borrowed(API_VERSION),
            limits: CallLimits::default(),
            pipeline: Arc::new(pipeline),
        })
    }

    /// The same pipeline with another version of the service's interface than 2021-04-12.
    #[must_use]
    pub fn with_api_version(mut self, version: impl Into<Cow<'static, str>>) -> Self {
        self.api_version = version.into();
        self
    }

    /// The same pipeline with other limits, for what calls leave open.
    #[must_use]
    pub fn with_limits(mut self, limits: CallLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The hub that it speaks with.
    pub fn host(&self) -> &HubHost {
        &self.host
    }

    /// Begins a request to a path, given by its segments. They are escaped, so any id can be one.
    ///
    /// # Errors
    ///
    /// A segment is empty, `.` or `..`. The last two are legal ids, but in a URL they mean something else even when
    /// they are escaped, so a request would reach another resource than the named.
    pub fn request(&self, method: Method, path: &[&str]) -> Result<HubRequest> {
        let mut url: Url = self.host.endpoint().clone();
        let mut escaped = String::new();
        for segment in path {
            if matches!(*segment, "" | "." | "..") {
                return Err(Error::with_message_fn(ErrorKind::DataConversion, || {
                    format!("{segment:?} cannot be named in a URL: it takes a text other than \"\", \".\" and \"..\"")
                }));
            }
            escaped.push('/');
            escaped.extend(utf8_percent_encode(segment, RESERVED));
        }
        url.set_path(&escaped);
        Ok(HubRequest::new(url, method).query("api-version", &self.api_version))
    }

    /// Sends a request, again where that helps and does no harm, and returns the answer if it is a success.
    ///
    /// The context may hold [`CallLimits`] for this call and a [`CallReport`] to be filled in.
    ///
    /// # Errors
    ///
    /// What the hub refused, with [`HubError`] inside; what the transport or the credential reported; the deadline.
    /// [`CallFacts`](crate::CallFacts) says how often it was tried and whether it may have taken effect.
    pub async fn send(&self, ctx: &Context<'_>, mut request: HubRequest) -> Result<RawResponse> {
        let limits = request.limits(ctx.value(), &self.limits);
        let call = Call::new(request.class, limits);
        let ctx = ctx.to_borrowed().with_value(Arc::clone(&call));
        let options = PipelineSendOptions {
            skip_checks: true,
            ..PipelineSendOptions::default()
        };
        let span =
            tracing::debug_span!("hub request", method = %request.inner.method(), path = request.inner.url().path());
        let sent = self
            .pipeline
            .send(&ctx, &mut request.inner, Some(options))
            .instrument(span);
        let outcome = sent.await.and_then(check).and_then(|response| {
            let Some(answer) = request.refusal.and_then(|refusal| refusal(&response)) else {
                return Ok(response);
            };
            let status = answer.code.status().unwrap_or(response.status());
            Err(refused(answer, status, response))
        });
        let facts = call.facts();
        if let Some(report) = ctx.value::<CallReport>() {
            report.ended(facts);
        }
        outcome.map_err(|error| match facts {
            Some(facts) => facts.attach(error),
            None => error,
        })
    }
}

/// Overwrites azure_core's, which would present every client as a part of Microsoft's SDK.
#[derive(Debug)]
struct UserAgent(HeaderValue);

impl UserAgent {
    fn new(product: Product, application: Option<&str>) -> Result<Self> {
        let Product { name, version } = product;
        let client = format!("{name}/{version} ({}; {})", consts::OS, consts::ARCH);
        let Some(application) = application else {
            return Ok(Self(client.into()));
        };
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if application.is_empty() || application.len() > 24 || !application.chars().all(is_token) {
            let shown: String = application.chars().take(48).collect();
            return Err(Error::with_message_fn(ErrorKind::DataConversion, || {
                format!("{shown:?} is not an application id: 1 to 24 of A-Z a-z 0-9 and !#$%&'*+-.^_`|~")
            }));
        }
        Ok(Self(format!("{application} {client}").into()))
    }
}

#[async_trait]
impl Policy for UserAgent {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        request.insert_header(USER_AGENT, self.0.clone());
        match next {
            [policy, rest @ ..] => policy.send(ctx, request, rest).await,
            [] => Err(Error::with_message(
                ErrorKind::Other,
                "no transport stands behind the user agent",
            )),
        }
    }
}

fn check(response: RawResponse) -> Result<RawResponse> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let answer = HubError::from_http(status, response.headers(), response.body());
    Err(refused(answer, status, response))
}

fn refused(answer: HubError, status: StatusCode, response: RawResponse) -> Error {
    let kind = ErrorKind::HttpResponse {
        status,
        error_code: Some(answer.code.as_str().to_owned()),
        raw_response: Some(Box::new(response)),
    };
    Error::new(kind, answer)
}

/// All but the unreserved characters of RFC 3986. A hub decodes each segment once.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const API_VERSION: &str = "2021-04-12";

#[cfg(test)]
mod tests {
    use azure_core::http::UserAgentOptions;

    use super::*;
    use crate::{CallFacts, HubErrorCode, testing::ScriptedHttp};

    /// The escaped forms were made with Python's `urllib.parse.quote(id, safe="-._~")`.
    #[tokio::test]
    async fn a_path_names_what_it_was_asked_to_name() {
        for (id, escaped) in [
            ("lamp", "lamp"),
            ("a%b?c#d", "a%25b%3Fc%23d"),
            ("a/b", "a%2Fb"),
            ("1+1=2", "1%2B1%3D2"),
            ("..a", "..a"),
            ("...", "..."),
            ("%2E%2E", "%252E%252E"),
            ("..%2f..", "..%252f.."),
            ("a\\b", "a%5Cb"),
            (
                "Az09-:.+%_#*?!(),=@;$'",
                "Az09-%3A.%2B%25_%23%2A%3F%21%28%29%2C%3D%40%3B%24%27",
            ),
            ("ü€😀", "%C3%BC%E2%82%AC%F0%9F%98%80"),
            ("\r\n\0", "%0D%0A%00"),
            ("~^", "~%5E"),
        ] {
            let http = ScriptedHttp::answering(StatusCode::Ok, "");
            let hub = hub(&http);
            let request = hub.request(Method::Get, &["devices", id, "modules"]).unwrap();
            hub.send(&Context::new(), request).await.unwrap();
            assert_eq!(
                http.seen(),
                [format!("GET /devices/{escaped}/modules?api-version=2021-04-12")]
            );
        }
    }

    #[test]
    fn what_a_url_cannot_name_is_refused() {
        let hub = hub(&ScriptedHttp::default());
        for id in ["", ".", ".."] {
            let error = hub.request(Method::Delete, &["devices", id]).unwrap_err();
            assert!(error.to_string().contains("cannot be named in a URL"), "{error}");
            assert_eq!(CallFacts::of(&error), None);
        }
    }

    #[tokio::test]
    async fn a_request_says_who_asks_for_what() -> Result<()> {
        let http = ScriptedHttp::answering(StatusCode::Ok, "");
        let hub = hub(&http).with_api_version("2020-09-30");
        let request = hub
            .request(Method::Post, &["devices", "query"])?
            .query("top", "1&2")
            .json("select")?;
        hub.send(&Context::new(), request.header("x-ms-max-item-count", "7"))
            .await?;

        let seen = &http.requests()[0];
        assert_eq!(seen.to_string(), "POST /devices/query?api-version=2020-09-30&top=1%262");
        assert_eq!(
            seen.url.as_str().split_once("/devices"),
            Some(("https://hub.example:8443", "/query?api-version=2020-09-30&top=1%262"))
        );
        assert_eq!(seen.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(seen.header("accept"), Some("application/json"));
        assert_eq!(seen.header("x-ms-max-item-count"), Some("7"));
        assert_eq!(&seen.body[..], b"\"select\"");
        let agent = seen.header("user-agent").unwrap();
        assert!(agent.starts_with("iothub-test/1.2.3 ("), "{agent}");
        Ok(())
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_that_says_what_the_hub_said() {
        let body = r#"{"Message":"ErrorCode:DeviceNotFound;no lamp","ExceptionMessage":"Tracking ID:T1"}"#;
        let http = ScriptedHttp::answering(StatusCode::NotFound, body);
        let hub = hub(&http);
        let request = hub.request(Method::Get, &["devices", "lamp"]).unwrap();
        let error = hub.send(&Context::new(), request).await.unwrap_err();

        assert_eq!(error.to_string(), "DeviceNotFound (404001): no lamp [tracking id T1]");
        assert_eq!(HubError::of(&error).unwrap().code, HubErrorCode::DeviceNotFound);
        let ErrorKind::HttpResponse {
            status,
            error_code,
            raw_response,
        } = error.kind()
        else {
            panic!("{:?}", error.kind());
        };
        assert_eq!(
            (*status, error_code.as_deref()),
            (StatusCode::NotFound, Some("DeviceNotFound"))
        );
        assert_eq!(raw_response.as_ref().unwrap().body().as_ref(), body.as_bytes());
    }

    #[test]
    fn without_a_transport_there_is_an_error_and_no_panic() {
        let error = pipeline(ClientOptions::default()).unwrap_err();
        assert!(error.to_string().contains("enable the feature `hyper`"), "{error}");
    }

    #[tokio::test]
    async fn an_application_names_itself() {
        let http = ScriptedHttp::answering(StatusCode::Ok, "");
        let with_id = |id: &str| ClientOptions {
            user_agent: UserAgentOptions {
                application_id: Some(id.to_owned()),
            },
            ..http.client_options()
        };
        let hub = pipeline(with_id("my-backend")).unwrap();
        hub.send(&Context::new(), hub.request(Method::Get, &["devices"]).unwrap())
            .await
            .unwrap();
        let agent = http.requests()[0].header("user-agent").unwrap().to_owned();
        assert!(agent.starts_with("my-backend iothub-test/1.2.3 ("), "{agent}");

        for bad in ["", "a b", "a\r\nb", "a-name-of-more-than-24-letters"] {
            let error = pipeline(with_id(bad)).unwrap_err();
            assert!(error.to_string().contains("is not an application id"), "{error}");
        }
    }

    #[test]
    fn a_request_does_not_print_what_may_be_secret() {
        let hub = hub(&ScriptedHttp::default());
        let request = hub.request(Method::Put, &["devices", "lamp"]).unwrap();
        let request = request
            .query("sig", "canary")
            .header("authorization", "canary")
            .json("canary")
            .unwrap();
        let printed = format!("{request:?}");
        assert!(
            printed.contains("/devices/lamp") && !printed.contains("canary"),
            "{printed}"
        );
    }

    fn hub(http: &ScriptedHttp) -> HubPipeline {
        pipeline(http.client_options()).unwrap()
    }

    fn pipeline(options: ClientOptions) -> Result<HubPipeline> {
        let product = Product {
            name: "iothub-test",
            version: "1.2.3",
        };
        HubPipeline::new(product, "hub.example:8443".parse()?, Arc::new(NoAuthorization), options)
    }

    #[derive(Debug)]
    struct NoAuthorization;

    #[async_trait]
    impl Policy for NoAuthorization {
        async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
            next[0].send(ctx, request, &next[1..]).await
        }
    }
}

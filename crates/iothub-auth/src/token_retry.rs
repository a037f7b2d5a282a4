use std::sync::Arc;

use async_trait::async_trait;
use azure_core::{
    Error, Result,
    error::ErrorKind,
    http::{
        AsyncRawResponse, Context, Request, StatusCode,
        headers::{Headers, RETRY_AFTER, RETRY_AFTER_MS, X_MS_RETRY_AFTER_MS},
        policies::{Policy, PolicyResult, get_retry_after},
    },
    sleep::sleep,
    time::{Duration, OffsetDateTime},
};
use futures::{
    FutureExt,
    future::{Either, select},
};

use serde_json::{Map, Value};

use crate::jitter::random_fraction;

/// Repeats token requests, which are safe to repeat, within bounds that a caller can wait for.
///
/// A refusal (400, 401, 403) comes back at once. A dead endpoint, 408, 429 and 5xx are tried four times at most, each
/// try for ten seconds at most; an endpoint that wants to be left alone for longer than a try would last is believed at
/// once. azure_core's own policy, which this replaces, tries nine times and sleeps for as long as `Retry-After` says.
#[derive(Clone, Debug)]
pub(crate) struct TokenRetry {
    first_wait: Duration,
    also: &'static [StatusCode],
    check: fn(&[u8]) -> std::result::Result<(), &'static str>,
}

impl TokenRetry {
    /// For Entra's token endpoint.
    pub(crate) fn of_an_authority() -> Self {
        Self {
            first_wait: Duration::milliseconds(400),
            also: &[],
            check: check_token,
        }
    }

    /// For a managed identity's endpoint, which answers 404 or 410 while it is being set up or updated.
    /// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#retry-guidance>
    pub(crate) fn of_a_managed_identity() -> Self {
        Self {
            first_wait: Duration::seconds(1),
            also: &[StatusCode::NotFound, StatusCode::Gone],
            check: |_| Ok(()),
        }
    }

    fn is_passing(&self, status: StatusCode) -> bool {
        PASSING.contains(&status) || self.also.contains(&status)
    }

    /// How long to wait before the next try, if there should be one.
    fn wait(&self, tries: u32, outcome: &PolicyResult) -> Option<Duration> {
        if tries >= MAX_TRIES {
            return None;
        }
        let asked = match outcome {
            Ok(response) if self.is_passing(response.status()) => retry_after(response.headers()),
            Ok(_) => return None,
            Err(error) if matches!(error.kind(), ErrorKind::Io | ErrorKind::Connection) => None,
            Err(_) => return None,
        };
        let own = self.first_wait * 2_i32.pow(tries - 1) * (0.5 + 0.5 * random_fraction());
        let wait = asked.map_or(own, |asked| asked.max(own));
        (wait <= MAX_WAIT).then_some(wait)
    }

    /// Gives back what the caller can read, and an error in place of the rest.
    ///
    /// An error page of a proxy or gateway is not the JSON that the caller expects; its status would be lost behind a
    /// complaint about its first letter.
    async fn readable(&self, response: AsyncRawResponse, request: &Request) -> PolicyResult {
        let (status, headers, body) = response.deconstruct();
        let body = within(TRY_TIMEOUT, body.collect().boxed()).await?;
        let origin = request.url().origin().ascii_serialization();
        let wrong = match status.is_success() {
            true => (self.check)(&body)
                .err()
                .map(|why| format!("but not with a token: {why}")),
            false => serde_json::from_slice::<Map<String, Value>>(&body).err().map(|_| {
                let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
                format!("and said {text:?}")
            }),
        };
        if let Some(wrong) = wrong {
            let kind = ErrorKind::HttpResponse {
                status,
                error_code: None,
                raw_response: None,
            };
            return Err(Error::with_message(
                kind,
                format!("{origin} answered {status}, {wrong}"),
            ));
        }
        Ok(AsyncRawResponse::from_bytes(status, headers, body))
    }
}

#[async_trait]
impl Policy for TokenRetry {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let [policy, rest @ ..] = next else {
            return Err(Error::with_message(
                ErrorKind::Other,
                "no transport stands behind the token request",
            ));
        };
        let mut tries = 1;
        loop {
            let outcome = within(TRY_TIMEOUT, policy.send(ctx, request, rest)).await;
            let Some(wait) = self.wait(tries, &outcome) else {
                return self.readable(outcome?, request).await;
            };
            sleep(wait).await;
            request.body_mut().reset().await?;
            tries += 1;
        }
    }
}

/// Gives up on a future after a time, with an error that counts as a lost connection.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = Result<T>> + Send + Unpin) -> Result<T> {
    match select(future, sleep(limit).boxed()).await {
        Either::Left((output, _)) => output,
        Either::Right(_) => Err(Error::with_message_fn(ErrorKind::Io, || {
            format!("no answer within {} seconds", limit.whole_seconds())
        })),
    }
}

fn retry_after(headers: &Headers) -> Option<Duration> {
    let names = [X_MS_RETRY_AFTER_MS, RETRY_AFTER_MS, RETRY_AFTER];
    get_retry_after(headers, OffsetDateTime::now_utc, &names).filter(|wait| !wait.is_negative())
}

/// azure_identity takes an object without a token for an empty token, and panics over a lifetime of a million years.
fn check_token(body: &[u8]) -> std::result::Result<(), &'static str> {
    let answer: Map<String, Value> = serde_json::from_slice(body).map_err(|_| "it is not a JSON object")?;
    if answer
        .get("access_token")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        return Err("`access_token` is missing");
    }
    let lifetime = answer.get("expires_in").and_then(Value::as_i64);
    match lifetime {
        Some(seconds) if (0..=MAX_TOKEN_LIFETIME).contains(&seconds) => Ok(()),
        _ => Err("`expires_in` is not a number of seconds up to ten years"),
    }
}

const PASSING: &[StatusCode] = &[
    StatusCode::RequestTimeout,
    StatusCode::TooManyRequests,
    StatusCode::InternalServerError,
    StatusCode::BadGateway,
    StatusCode::ServiceUnavailable,
    StatusCode::GatewayTimeout,
];
const MAX_TRIES: u32 = 4;
const MAX_TOKEN_LIFETIME: i64 = 10 * 366 * 24 * 3600;
const TRY_TIMEOUT: Duration = Duration::seconds(10);
const MAX_WAIT: Duration = Duration::seconds(10);

#[cfg(test)]
mod tests {
    use std::time::Duration as StdDuration;

    use azure_core::http::{ClientOptions, Method, Pipeline, PipelineSendOptions, RawResponse};
    use iothub_core::testing::{HttpAnswer, ScriptedHttp};
    use tokio::time::Instant;

    use super::*;
    use crate::{environment::Environment, token_client};

    async fn ask(retry: TokenRetry, http: &ScriptedHttp) -> Result<RawResponse> {
        let none = Environment::from_iter::<[(&str, &str); 0]>([]);
        let options: ClientOptions = token_client::for_tokens(http.client_options(), &none, retry).unwrap();
        let pipeline = Pipeline::new(None, None, options, vec![], vec![], None);
        let mut request = Request::new("https://login.example/t".parse().unwrap(), Method::Post);
        request.set_body("grant_type=client_credentials");
        let options = PipelineSendOptions {
            skip_checks: true,
            ..Default::default()
        };
        pipeline.send(&Context::new(), &mut request, Some(options)).await
    }

    fn answer(status: StatusCode) -> HttpAnswer {
        let body = match status {
            StatusCode::Ok => r#"{"access_token":"t","expires_in":3599}"#,
            _ => r#"{"error":"e"}"#,
        };
        HttpAnswer::new(status, body)
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_comes_back_at_once() {
        for status in [
            StatusCode::BadRequest,
            StatusCode::Unauthorized,
            StatusCode::Forbidden,
            StatusCode::NotFound,
        ] {
            let http = ScriptedHttp::always(answer(status));
            let got = ask(TokenRetry::of_an_authority(), &http).await.unwrap();
            assert_eq!((got.status(), http.seen().len()), (status, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_with_the_same_body() {
        for bad in [
            answer(StatusCode::ServiceUnavailable),
            HttpAnswer::Refused,
            HttpAnswer::Lost,
        ] {
            let http = ScriptedHttp::new([bad.clone(), bad, answer(StatusCode::Ok)]);
            let got = ask(TokenRetry::of_an_authority(), &http).await.unwrap();
            assert_eq!(got.status(), StatusCode::Ok);
            let bodies: Vec<_> = http.requests().into_iter().map(|it| it.body).collect();
            assert_eq!(bodies, ["grant_type=client_credentials"; 3]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_managed_identity_that_is_being_set_up_is_waited_for() {
        let http = ScriptedHttp::new([
            answer(StatusCode::Gone),
            answer(StatusCode::NotFound),
            answer(StatusCode::Ok),
        ]);
        let got = ask(TokenRetry::of_a_managed_identity(), &http).await.unwrap();
        assert_eq!((got.status(), http.seen().len()), (StatusCode::Ok, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_endpoint_fails_within_bounds() {
        for (dead, bound) in [(HttpAnswer::Refused, 3), (HttpAnswer::Silence, 43)] {
            let http = ScriptedHttp::always(dead);
            let started = Instant::now();
            assert!(ask(TokenRetry::of_an_authority(), &http).await.is_err());
            assert_eq!(http.seen().len(), 4);
            assert!(
                started.elapsed() <= StdDuration::from_secs(bound),
                "{:?}",
                started.elapsed()
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_kept_to_and_a_long_one_believed_at_once() {
        let busy = |after: &'static str| answer(StatusCode::TooManyRequests).with_header("retry-after", after);
        let http = ScriptedHttp::new([busy("7"), answer(StatusCode::Ok)]);
        let started = Instant::now();
        ask(TokenRetry::of_an_authority(), &http).await.unwrap();
        assert!(started.elapsed() >= StdDuration::from_secs(7));

        for long in ["86400", "99999999999"] {
            let http = ScriptedHttp::always(busy(long));
            let started = Instant::now();
            let got = ask(TokenRetry::of_an_authority(), &http).await.unwrap();
            assert_eq!((got.status(), http.seen().len()), (StatusCode::TooManyRequests, 1));
            assert_eq!(started.elapsed(), StdDuration::ZERO);
        }
        let http = ScriptedHttp::new([busy("-5"), busy("soon"), answer(StatusCode::Ok)]);
        assert_eq!(
            ask(TokenRetry::of_an_authority(), &http).await.unwrap().status(),
            StatusCode::Ok
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_page_keeps_its_status() {
        let page = HttpAnswer::new(StatusCode::BadGateway, "<html>proxy</html>");
        let error = ask(TokenRetry::of_an_authority(), &ScriptedHttp::always(page))
            .await
            .unwrap_err();
        assert_eq!(error.http_status(), Some(StatusCode::BadGateway));
        let text = error.to_string();
        assert!(
            text.contains("https://login.example") && text.contains("<html>"),
            "{text}"
        );
    }
}

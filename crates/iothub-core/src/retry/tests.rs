use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU32, Ordering},
};

use azure_core::{
    Result,
    http::{Method, RawResponse, StatusCode},
};
use tokio::time::Instant;

use super::*;
use crate::{
    CallLimits, CallReport, HubError, HubErrorCode, HubPipeline, Product,
    testing::{HttpAnswer, ScriptedHttp},
};

use HttpAnswer::{CutOff, Lost, NotTrusted, Refused, Silence, TooLarge};
use OperationClass::{Idempotent, NonIdempotent, Read};

/// How a call ends when `first` is what becomes of its first try and every further one succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is tried again, and succeeds.
    Again,
    /// The first try is the last, and the hub cannot have acted.
    Fails,
    /// The first try is the last, and the hub may have acted.
    FailsMaybeApplied,
}

use End::{Again, Fails, FailsMaybeApplied};

#[tokio::test(start_paused = true)]
async fn whether_a_request_is_repeated_depends_on_what_happened_and_on_what_it_does() {
    let answered = |status: u16| HttpAnswer::new(StatusCode::from(status), "");
    // What happens | to a read | to an idempotent write | to what must not happen twice
    let table = [
        (Refused, Again, Again, Again),
        (NotTrusted, Fails, Fails, Fails),
        (Lost, Again, Again, FailsMaybeApplied),
        (Silence, Again, Again, FailsMaybeApplied),
        (CutOff(StatusCode::Ok), Again, FailsMaybeApplied, FailsMaybeApplied),
        (TooLarge, Fails, FailsMaybeApplied, FailsMaybeApplied),
        (answered(301), Fails, Fails, Fails),
        (answered(302), Fails, Fails, Fails),
        (answered(307), Fails, Fails, Fails),
        (answered(308), Fails, Fails, Fails),
        (answered(400), Fails, Fails, Fails),
        (answered(401), Again, Again, Again),
        (answered(403), Fails, Fails, Fails),
        (answered(404), Fails, Fails, Fails),
        (answered(405), Fails, Fails, Fails),
        (answered(408), Again, Again, FailsMaybeApplied),
        (answered(409), Fails, Fails, Fails),
        (answered(410), Fails, Fails, Fails),
        (answered(412), Fails, Fails, Fails),
        (answered(413), Fails, Fails, Fails),
        (answered(415), Fails, Fails, Fails),
        (answered(418), Fails, Fails, Fails),
        (answered(429), Again, Again, Again),
        (answered(500), Again, Again, FailsMaybeApplied),
        (answered(501), Fails, Fails, Fails),
        (answered(502), Again, Again, FailsMaybeApplied),
        (answered(503), Again, Again, FailsMaybeApplied),
        (answered(504), Again, Again, FailsMaybeApplied),
        (answered(505), Fails, Fails, Fails),
    ];
    for (first, read, idempotent, non_idempotent) in table {
        for (class, expected) in [(Read, read), (Idempotent, idempotent), (NonIdempotent, non_idempotent)] {
            let http = ScriptedHttp::new([first.clone()]).and_then_always(answered(200));
            let outcome = call(&hub(&http), class).await;
            let end = match &outcome {
                Ok(_) => Again,
                Err(error) if facts(error).maybe_applied => FailsMaybeApplied,
                Err(_) => Fails,
            };
            assert_eq!(end, expected, "{first:?} of a {class:?}");
            let executions = if expected == Again { 2 } else { 1 };
            assert_eq!(http.seen().len(), executions, "{first:?} of a {class:?}");
            if let Err(error) = &outcome {
                assert_eq!(facts(error).attempts, 1, "{first:?} of a {class:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_our_own_earlier_try_says_so() {
    for (status, code) in [
        (404, "DeviceNotFound"),
        (409, "DeviceAlreadyExists"),
        (412, "PreconditionFailed"),
    ] {
        for (class, maybe_applied) in [(Read, false), (Idempotent, true)] {
            let refusal = HttpAnswer::new(StatusCode::from(status), "").with_header("iothub-errorcode", code);
            let http = ScriptedHttp::new([Lost, refusal]);
            let error = call(&hub(&http), class).await.unwrap_err();
            assert_eq!(HubError::of(&error).unwrap().code, HubErrorCode::from_name(code));
            assert_eq!(error.http_status().map(u16::from), Some(status));
            assert_eq!(
                (facts(&error).attempts, facts(&error).maybe_applied),
                (2, maybe_applied)
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_tried_nine_times() {
    let http = ScriptedHttp::always(Refused);
    let started = Instant::now();
    let error = call(&hub(&http), NonIdempotent).await.unwrap_err();

    assert_eq!((http.seen().len(), facts(&error).attempts), (9, 9));
    assert_eq!(
        (error.kind(), facts(&error).maybe_applied),
        (&ErrorKind::Connection, false)
    );
    // 0.2 s + 0.4 s + … + 25.6 s, half of which is left to chance.
    let waited = started.elapsed().as_secs_f64();
    assert!((25.5..=51.1).contains(&waited), "{waited}");
    assert!(error.to_string().ends_with("; tried 9 times"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn throttling_is_waited_out_in_seconds() {
    let http = ScriptedHttp::always(throttled());
    let started = Instant::now();
    let error = call(&hub(&http), NonIdempotent).await.unwrap_err();

    assert_eq!(HubError::of(&error).unwrap().code, HubErrorCode::ThrottlingException);
    // 5 s + 10 s + 20 s, a quarter more or less; 40 s more are beyond the deadline unless they all come out short.
    assert!((4..=5).contains(&http.seen().len()), "{}", http.seen().len());
    assert!(started.elapsed() > Duration::from_secs(26) && started.elapsed() < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_hub_asks_for_is_kept_to() {
    for (headers, least, most) in [
        (vec![("retry-after", "20")], 20.0, 24.0),
        (vec![("retry-after-ms", "20000"), ("retry-after", "1")], 20.0, 24.0),
        (vec![("x-ms-retry-after-ms", "20000")], 20.0, 24.0),
        (
            vec![
                ("retry-after", "Mon, 06 Nov 1995 08:49:20 GMT"),
                ("date", "Mon, 06 Nov 1995 08:49:00 GMT"),
            ],
            20.0,
            24.0,
        ),
        // Nothing sensible was asked for, and the schedule of throttling takes over.
        (vec![("retry-after", "0")], 3.75, 6.25),
        (vec![("retry-after", "-5")], 3.75, 6.25),
        (vec![("retry-after", "later")], 3.75, 6.25),
        (vec![("retry-after", "1, 2")], 3.75, 6.25),
    ] {
        let first = headers
            .iter()
            .fold(throttled(), |answer, (name, value)| answer.with_header(*name, *value));
        let http = ScriptedHttp::new([first, HttpAnswer::new(StatusCode::Ok, "")]);
        let started = Instant::now();
        call(&hub(&http), NonIdempotent).await.unwrap();
        let waited = started.elapsed().as_secs_f64();
        assert!((least..=most + 0.01).contains(&waited), "{headers:?}: {waited}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_deadline_is_not_begun() {
    for asked in ["86400", "100000000000000000000", "60"] {
        let http = ScriptedHttp::always(throttled().with_header("retry-after", asked));
        let started = Instant::now();
        let error = call(&hub(&http), Read).await.unwrap_err();

        assert_eq!(started.elapsed(), Duration::ZERO);
        assert!(HubError::of(&error).unwrap().code.is_throttling());
        assert!(facts(&error).retry_after >= Some(Duration::from_secs(60)));
        assert_eq!(facts(&error).attempts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_beyond_the_deadline() {
    let http = ScriptedHttp::always(Silence);
    let started = Instant::now();
    let error = call(&hub(&http), Idempotent).await.unwrap_err();

    assert_eq!(started.elapsed().as_secs(), 60);
    assert_eq!((error.kind(), facts(&error).attempts), (&ErrorKind::Io, 2));
    assert!(facts(&error).maybe_applied);
    assert!(is_timeout(&error));
    let message = error.to_string();
    assert!(
        message.starts_with("no answer within 60s; the try before failed: the hub sent no head"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_deadline_covers_the_token() {
    let http = ScriptedHttp::default();
    let auth = Authorization::new([Token::Never]);
    let started = Instant::now();
    let error = call(&hub_with(&http, auth), NonIdempotent).await.unwrap_err();

    assert_eq!(started.elapsed().as_secs(), 60);
    assert_eq!(
        (error.kind(), facts(&error).maybe_applied),
        (&ErrorKind::Connection, false)
    );
    assert_eq!(http.seen().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_breaks_before_the_request_is_sent_is_repeated_whatever_the_request_does() {
    let http = ScriptedHttp::answering(StatusCode::Ok, "");
    let auth = Authorization::new([Token::Breaks(ErrorKind::Io), Token::Fresh]);
    call(&hub_with(&http, auth), NonIdempotent).await.unwrap();
    assert_eq!(http.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_cannot_be_had_ends_the_call() {
    let http = ScriptedHttp::default();
    let auth = Authorization::new([Token::Breaks(ErrorKind::Credential)]);
    let error = call(&hub_with(&http, auth), Idempotent).await.unwrap_err();
    assert_eq!((error.kind(), facts(&error).attempts), (&ErrorKind::Credential, 1));
    assert_eq!(error.to_string(), "no token");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_once() {
    let refused = HttpAnswer::new(StatusCode::Unauthorized, "");
    let http = ScriptedHttp::always(refused);
    let auth = Authorization::new([]);
    let started = Instant::now();
    let error = call(&hub_with(&http, auth), NonIdempotent).await.unwrap_err();

    assert_eq!(error.http_status(), Some(StatusCode::Unauthorized));
    assert_eq!((facts(&error).attempts, facts(&error).maybe_applied), (2, false));
    assert_eq!(started.elapsed(), Duration::ZERO);
    let tokens: Vec<_> = http
        .requests()
        .iter()
        .map(|seen| seen.header("authorization").map(str::to_owned))
        .collect();
    assert_eq!(tokens, [Some("token 1".to_owned()), Some("token 2".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_sets_limits_for_one_call() {
    let none = CallLimits::default();
    let once = CallLimits { tries: Some(1), ..none };
    let soon = CallLimits {
        deadline: Some(Duration::from_secs(5)),
        ..none
    };
    let quick = CallLimits {
        head_timeout: Some(Duration::from_secs(1)),
        tries: Some(3),
        ..none
    };
    for (limits, attempts, seconds) in [(once, 1, 30), (soon, 1, 5), (quick, 3, 3)] {
        let http = ScriptedHttp::always(Silence);
        let hub = hub(&http);
        let started = Instant::now();
        let request = hub.request(Method::Get, &["devices"]).unwrap();
        let error = hub.send(&Context::new().with_value(limits), request).await.unwrap_err();
        assert_eq!(
            (facts(&error).attempts, started.elapsed().as_secs()),
            (attempts, seconds),
            "{limits:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_waited_for_where_it_is_expected() {
    let slow = HttpAnswer::new(StatusCode::Ok, "").after(Duration::from_secs(200));
    for (expected, succeeds) in [(210, true), (40, false)] {
        let http = ScriptedHttp::always(slow.clone());
        let hub = hub(&http);
        let request = hub.request(Method::Post, &["twins", "lamp", "methods"]).unwrap();
        let request = request.head_timeout(Duration::from_secs(expected));
        let outcome = hub.send(&Context::new(), request).await;
        assert_eq!((outcome.is_ok(), http.seen().len()), (succeeds, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_made_worse() {
    let http = ScriptedHttp::always(Refused);
    let hub = hub(&http);
    let calls = 10_000;
    for _ in 0..calls {
        call(&hub.clone(), Read).await.unwrap_err();
    }
    assert!(http.seen().len() <= calls + calls / 10, "{}", http.seen().len());
}

#[tokio::test(start_paused = true)]
async fn repetition_after_a_time_out_costs_twice_as_much() {
    for (what, repetitions) in [
        (Refused, 100),
        (Silence, 50),
        (HttpAnswer::new(StatusCode::GatewayTimeout, ""), 50),
    ] {
        let http = ScriptedHttp::always(what);
        let limits = CallLimits {
            tries: Some(2),
            ..CallLimits::default()
        };
        let hub = hub(&http).with_limits(limits);
        for _ in 0..200 {
            call(&hub, Read).await.unwrap_err();
        }
        assert_eq!(http.seen().len(), 200 + repetitions);
    }
}

#[tokio::test(start_paused = true)]
async fn success_pays_for_repetition() {
    let http = ScriptedHttp::always(Refused);
    let hub = hub(&http);
    for _ in 0..20 {
        call(&hub, Read).await.unwrap_err();
    }
    let before = http.seen().len();
    let http = http.and_then_always(HttpAnswer::new(StatusCode::Ok, ""));
    for _ in 0..5 {
        call(&hub, Read).await.unwrap();
    }
    let http = http.and_then_always(Refused);
    call(&hub, Read).await.unwrap_err();
    assert_eq!(http.seen().len() - before, 5 + 2);
}

#[tokio::test(start_paused = true)]
async fn a_report_tells_of_a_success() {
    let http = ScriptedHttp::new([Lost, HttpAnswer::new(StatusCode::Ok, "")]);
    let hub = hub(&http);
    let report = CallReport::default();
    assert_eq!(report.facts(), None);
    let request = hub.request(Method::Put, &["devices", "lamp"]).unwrap();
    hub.send(&Context::new().with_value(report.clone()), request)
        .await
        .unwrap();
    let expected = CallFacts {
        attempts: 2,
        ..CallFacts::default()
    };
    assert_eq!(report.facts(), Some(expected));
}

#[tokio::test(start_paused = true)]
async fn the_body_and_the_request_id_are_the_same_in_every_try() {
    let http = ScriptedHttp::new([Lost, HttpAnswer::new(StatusCode::Ok, "")]);
    let hub = hub(&http);
    let request = hub
        .request(Method::Put, &["devices", "lamp"])
        .unwrap()
        .json(&[1, 2])
        .unwrap();
    hub.send(&Context::new(), request).await.unwrap();
    let [first, second] = &http.requests()[..] else {
        panic!("two tries");
    };
    assert_eq!((&first.body[..], &second.body[..]), (&b"[1,2]"[..], &b"[1,2]"[..]));
    let id = first.header("x-ms-client-request-id");
    assert!(id.is_some_and(|id| id.len() == 36));
    assert_eq!(id, second.header("x-ms-client-request-id"));
}

async fn call(hub: &HubPipeline, class: OperationClass) -> Result<RawResponse> {
    let request = hub.request(Method::Post, &["devices", "lamp"])?.class(class);
    hub.send(&Context::new(), request).await
}

fn throttled() -> HttpAnswer {
    HttpAnswer::new(StatusCode::TooManyRequests, "").with_header("iothub-errorcode", "ThrottlingException")
}

fn facts(error: &Error) -> &CallFacts {
    CallFacts::of(error).expect("it came to a try")
}

fn hub(http: &ScriptedHttp) -> HubPipeline {
    hub_with(http, Authorization::new([]))
}

fn hub_with(http: &ScriptedHttp, auth: Authorization) -> HubPipeline {
    let product = Product {
        name: "test",
        version: "1.0.0",
    };
    let host = "hub.example".parse().unwrap();
    HubPipeline::new(product, host, Arc::new(auth), http.client_options()).unwrap()
}

/// An authorization policy that follows a script, and then gives a new token each time it is asked.
#[derive(Debug)]
struct Authorization {
    script: Mutex<VecDeque<Token>>,
    given: AtomicU32,
}

#[derive(Debug)]
enum Token {
    Fresh,
    Never,
    Breaks(ErrorKind),
}

impl Authorization {
    fn new(script: impl IntoIterator<Item = Token>) -> Self {
        Self {
            script: Mutex::new(script.into_iter().collect()),
            given: AtomicU32::new(0),
        }
    }
}

#[async_trait]
impl Policy for Authorization {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let token = self.script.lock().unwrap().pop_front().unwrap_or(Token::Fresh);
        match token {
            Token::Fresh => {
                let number = self.given.fetch_add(1, Ordering::Relaxed) + 1;
                request.insert_header("authorization", format!("token {number}"));
                pass_on(ctx, request, next).await
            }
            Token::Never => std::future::pending().await,
            Token::Breaks(kind) => Err(Error::with_message(kind, "no token")),
        }
    }
}

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use azure_core::{
    Error, Result,
    async_runtime::{SpawnedTask, get_async_runtime},
    credentials::{AccessToken, Secret, TokenCredential},
    error::ErrorKind,
    sleep::sleep,
    time::{Duration, OffsetDateTime},
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

use crate::clock::Clock;

/// The one token of a credential, fetched once for all who wait and renewed before it expires.
///
/// Clones share the token. Callers poll the request themselves, so that it outlives none of them and depends on no
/// runtime; only the renewal is a task, which the last clone takes with it.
#[derive(Clone)]
pub(crate) struct TokenCache {
    owner: Arc<Owner>,
}

impl TokenCache {
    pub(crate) fn new(credential: Arc<dyn TokenCredential>, scopes: Vec<String>, clock: Clock) -> Self {
        let tokens = Tokens {
            credential,
            scopes,
            clock,
            state: Mutex::default(),
        };
        Self {
            owner: Arc::new(Owner {
                tokens: Arc::new(tokens),
                renewal: Mutex::default(),
            }),
        }
    }

    /// A valid token: at once if there is one, else as soon as a request for it is answered.
    pub(crate) async fn token(&self) -> Result<AccessToken> {
        let found = self.owner.tokens.valid_or_flight();
        let token = match found {
            Ok(token) => token,
            Err(flight) => flight.await.map_err(SharedError::wrap)?,
        };
        self.owner.keep_renewing();
        Ok(token)
    }

    /// Drops the token if it is still the one that was refused.
    pub(crate) fn refused(&self, token: &Secret) {
        let mut state = self.owner.tokens.state();
        if state.cached.as_ref().is_some_and(|cached| cached.token.token == *token) {
            state.cached = None;
        }
    }
}

/// What the clones of a cache hold together. The renewal holds only `tokens`, and that weakly.
struct Owner {
    tokens: Arc<Tokens>,
    renewal: Mutex<Option<SpawnedTask>>,
}

impl Owner {
    fn keep_renewing(&self) {
        let Some(renewal) = Renewal::begin(&self.tokens) else {
            return;
        };
        let task = get_async_runtime().spawn(Box::pin(renewal.run()));
        *self.renewal.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let renewal = self.renewal.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = renewal.take() {
            task.abort();
        }
    }
}

struct Tokens {
    credential: Arc<dyn TokenCredential>,
    scopes: Vec<String>,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cached: Option<Cached>,
    /// The request under way. Those who wait own it, so that it stops when the last of them gives up.
    flight: Option<WeakShared<BoxFuture<'static, Landing>>>,
    /// The renewal that runs, if one does, by its number.
    renewal: Option<u64>,
    renewals: u64,
}

#[derive(Clone)]
struct Cached {
    token: AccessToken,
    renew_on: OffsetDateTime,
}

type Flight = Shared<BoxFuture<'static, Landing>>;
type Landing = std::result::Result<AccessToken, Arc<Error>>;

impl Tokens {
    fn valid_or_flight(self: &Arc<Self>) -> std::result::Result<AccessToken, Flight> {
        let mut state = self.state();
        match self.valid(&state) {
            Some(cached) => Ok(cached.token.clone()),
            None => Err(self.flight(&mut state)),
        }
    }

    fn valid<'a>(&self, state: &'a State) -> Option<&'a Cached> {
        let now = self.clock.now();
        state.cached.as_ref().filter(|cached| cached.token.expires_on > now)
    }

    /// The request under way, or a new one.
    fn flight(self: &Arc<Self>, state: &mut State) -> Flight {
        if let Some(flight) = state.flight.as_ref().and_then(WeakShared::upgrade) {
            return flight;
        }
        let tokens = self.clone();
        let flight = async move {
            let scopes: Vec<&str> = tokens.scopes.iter().map(String::as_str).collect();
            let answer = tokens.credential.get_token(&scopes, None).await;
            tokens.land(answer)
        }
        .boxed()
        .shared();
        state.flight = flight.downgrade();
        flight
    }

    fn land(&self, answer: Result<AccessToken>) -> Landing {
        let now = self.clock.now();
        let mut state = self.state();
        state.flight = None;
        let token = answer.map_err(Arc::new)?;
        let fifth: Duration = (token.expires_on - now) / 5_i32;
        let lead = fifth.clamp(Duration::ZERO, RENEW_BEFORE_EXPIRY);
        state.cached = Some(Cached {
            token: token.clone(),
            renew_on: token.expires_on - lead,
        });
        Ok(token)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews the token of a cache until there is none to renew: it was refused, or expired before an attempt succeeded.
/// Whoever fetches the next begins the next renewal.
struct Renewal {
    tokens: Weak<Tokens>,
    number: u64,
}

impl Renewal {
    /// `None` if one runs already.
    fn begin(tokens: &Arc<Tokens>) -> Option<Self> {
        let mut state = tokens.state();
        if state.renewal.is_some() {
            return None;
        }
        state.renewals += 1;
        state.renewal = Some(state.renewals);
        Some(Self {
            tokens: Arc::downgrade(tokens),
            number: state.renewals,
        })
    }

    async fn run(self) {
        let mut failed = false;
        while let Some(wait) = self.wait(failed) {
            sleep(wait).await;
            let Some((before, flight)) = self.flight() else {
                return;
            };
            // A credential with a cache of its own may answer with the token that we have. That renews nothing.
            failed = match flight.await {
                Ok(token) => token.expires_on <= before,
                Err(error) => {
                    tracing::warn!(%error, "a token could not be renewed; the old one is still valid");
                    true
                }
            };
        }
    }

    /// How long until the next attempt. Once there is no token the renewal is over, which is decided under the same
    /// lock as whether it runs: a token that is fetched right after finds it gone and begins another.
    fn wait(&self, failed: bool) -> Option<Duration> {
        let tokens = self.tokens.upgrade()?;
        let now = tokens.clock.now();
        let mut state = tokens.state();
        let Some(cached) = tokens.valid(&state) else {
            self.end(&mut state);
            return None;
        };
        let tenth: Duration = (cached.token.expires_on - now) / 10_i32;
        let wait = match failed {
            true => tenth.min(MAX_RETRY_WAIT),
            false => cached.renew_on - now,
        };
        Some(wait.max(MIN_WAIT))
    }

    fn flight(&self) -> Option<(OffsetDateTime, Flight)> {
        let tokens = self.tokens.upgrade()?;
        let mut state = tokens.state();
        let Some(expires_on) = tokens.valid(&state).map(|cached| cached.token.expires_on) else {
            self.end(&mut state);
            return None;
        };
        Some((expires_on, tokens.flight(&mut state)))
    }

    fn end(&self, state: &mut State) {
        if state.renewal == Some(self.number) {
            state.renewal = None;
        }
    }
}

/// A runtime that is shut down drops the task in the middle; the next call begins another on its own runtime.
impl Drop for Renewal {
    fn drop(&mut self) {
        if let Some(tokens) = self.tokens.upgrade() {
            self.end(&mut tokens.state());
        }
    }
}

/// One failure for all who waited for it. Whatever its kind was, it is the credential's: a connection that was lost on
/// the way to a token says nothing about the request that the token was for.
#[derive(Debug)]
struct SharedError(Arc<Error>);

impl SharedError {
    fn wrap(error: Arc<Error>) -> Error {
        Error::new(ErrorKind::Credential, Self(error))
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SharedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

const RENEW_BEFORE_EXPIRY: Duration = Duration::minutes(5);
const MAX_RETRY_WAIT: Duration = Duration::seconds(30);
/// Keeps the ever shorter tenths before an expiry, and tokens that live for moments, from becoming a busy loop.
const MIN_WAIT: Duration = Duration::seconds(1);

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration as StdDuration,
    };

    use async_trait::async_trait;
    use azure_core::credentials::TokenRequestOptions;
    use futures::future::join_all;
    use tokio::time::{Instant, advance, sleep as tokio_sleep, timeout};

    use super::*;

    /// Answers with what it was given, one after another, each after `delay`.
    #[derive(Debug)]
    struct Source {
        clock: Clock,
        delay: StdDuration,
        answers: Mutex<VecDeque<Answer>>,
        asked: Mutex<Vec<OffsetDateTime>>,
        busy: AtomicUsize,
    }

    #[derive(Clone, Debug)]
    enum Answer {
        Token(&'static str, Duration),
        /// Expires at a fixed time, as a token from an inner cache does.
        Same(&'static str, OffsetDateTime),
        Failure(&'static str),
    }
    use Answer::*;

    #[async_trait]
    impl TokenCredential for Source {
        async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> Result<AccessToken> {
            self.asked.lock().unwrap().push(self.clock.now());
            assert_eq!(self.busy.fetch_add(1, Ordering::SeqCst), 0, "two requests at once");
            let _done = Done(&self.busy);
            tokio_sleep(self.delay).await;
            let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Failure("exhausted"));
            match answer {
                Token(text, lifetime) => Ok(AccessToken::new(text, self.clock.now() + lifetime)),
                Same(text, expires_on) => Ok(AccessToken::new(text, expires_on)),
                Failure(text) => Err(Error::with_message(ErrorKind::Io, text)),
            }
        }
    }

    struct Done<'a>(&'a AtomicUsize);

    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    impl Source {
        fn asked(&self) -> usize {
            self.asked.lock().unwrap().len()
        }

        /// When it was asked, in seconds since the start.
        fn times(&self) -> Vec<i64> {
            let asked = self.asked.lock().unwrap();
            asked.iter().map(|at| (*at - start()).whole_seconds()).collect()
        }
    }

    fn start() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap()
    }

    fn cache(answers: impl IntoIterator<Item = Answer>) -> (TokenCache, Arc<Source>) {
        let clock = Clock::following_tokio(start());
        let source = Arc::new(Source {
            clock: clock.clone(),
            delay: StdDuration::from_millis(200),
            answers: Mutex::new(answers.into_iter().collect()),
            asked: Mutex::default(),
            busy: AtomicUsize::new(0),
        });
        (TokenCache::new(source.clone(), vec!["scope".to_owned()], clock), source)
    }

    async fn text(cache: &TokenCache) -> String {
        cache.token().await.unwrap().token.secret().to_owned()
    }

    async fn pass(seconds: u64) {
        tokio_sleep(StdDuration::from_secs(seconds)).await;
    }

    const HOUR: Duration = Duration::hours(1);

    #[tokio::test(start_paused = true)]
    async fn fifty_callers_wait_for_one_request() {
        let (cache, source) = cache([Token("a", HOUR)]);
        let tokens = join_all((0..50).map(|_| text(&cache))).await;
        assert!(tokens.iter().all(|token| token == "a"));
        assert_eq!(source.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn fifty_callers_share_one_failure_and_the_next_asks_again() {
        let (cache, source) = cache([Failure("AADSTS1: no"), Token("a", HOUR)]);
        let failures = join_all((0..50).map(|_| cache.token())).await;
        for failure in failures {
            let error = failure.unwrap_err();
            assert_eq!(
                (error.to_string().as_str(), error.kind()),
                ("AADSTS1: no", &ErrorKind::Credential)
            );
        }
        assert_eq!(source.asked(), 1);
        assert_eq!(text(&cache).await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn the_token_is_renewed_in_the_background_five_minutes_before_it_expires() {
        let (cache, source) = cache([Token("a", HOUR), Token("b", HOUR)]);
        assert_eq!(text(&cache).await, "a");
        pass(54 * 60).await;
        assert_eq!(source.times(), [0]);
        pass(2 * 60).await;
        assert_eq!(source.times(), [0, 55 * 60]);
        let before = Instant::now();
        assert_eq!(text(&cache).await, "b");
        assert_eq!(before.elapsed(), StdDuration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_renewal_under_way() {
        let (cache, source) = cache([Token("a", HOUR), Token("b", HOUR)]);
        text(&cache).await;
        while source.asked() < 2 {
            advance(StdDuration::from_millis(100)).await;
            tokio::task::yield_now().await;
        }
        let before = Instant::now();
        assert_eq!(text(&cache).await, "a");
        assert_eq!(before.elapsed(), StdDuration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_token_is_renewed_when_four_fifths_are_over() {
        let (cache, source) = cache(vec![Token("a", Duration::minutes(1)); 61]);
        text(&cache).await;
        for _ in 0..(60 * 48) {
            pass(1).await;
            let before = Instant::now();
            assert_eq!(text(&cache).await, "a");
            assert_eq!(before.elapsed(), StdDuration::ZERO);
        }
        assert!((59..=61).contains(&source.asked()), "{}", source.asked());
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_fails_is_repeated_and_reaches_no_caller() {
        let failures = std::iter::repeat_n(Failure("503"), 4);
        let (cache, source) = cache([Token("a", HOUR)].into_iter().chain(failures).chain([Token("b", HOUR)]));
        text(&cache).await;
        for _ in 0..(59 * 60) {
            pass(1).await;
            text(&cache).await;
        }
        assert_eq!(text(&cache).await, "b");
        // 30 s apart, as long as a tenth of what is left of five minutes is about that.
        let times = source.times();
        assert_eq!(times.len(), 6);
        assert_eq!(times[1], 3300);
        let gaps: Vec<i64> = times[1..].windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (18..=30).contains(gap)), "{gaps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_stays_down_is_not_asked_in_a_busy_loop() {
        let (cache, source) = cache([Token("a", HOUR)]);
        text(&cache).await;
        pass(2 * 3600).await;
        let renewals = source.asked() - 1;
        assert!((10..80).contains(&renewals), "{renewals}");
        assert!(
            source.times().iter().all(|at| *at <= 3600),
            "renewals ended with the token"
        );
        assert_eq!(cache.token().await.unwrap_err().to_string(), "exhausted");
    }

    #[tokio::test(start_paused = true)]
    async fn a_credential_that_answers_from_its_own_cache_is_asked_again() {
        let expires_on = start() + HOUR;
        let same = [Same("a", expires_on), Same("a", expires_on), Same("a", expires_on)];
        let (cache, source) = cache(same.into_iter().chain([Token("b", HOUR)]));
        text(&cache).await;
        pass(58 * 60).await;
        assert_eq!(text(&cache).await, "b");
        let times = source.times();
        assert_eq!(times[1], 3300);
        assert!((3325..3335).contains(&times[2]), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_dropped_only_while_it_is_the_current_one() {
        let (cache, source) = cache([Token("a", HOUR), Token("b", HOUR), Token("c", HOUR)]);
        text(&cache).await;
        cache.refused(&Secret::new("a"));
        assert_eq!(text(&cache).await, "b");
        // A slow caller brings its 401 for the first token after the second was fetched.
        cache.refused(&Secret::new("a"));
        assert_eq!(text(&cache).await, "b");
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_fetched_after_a_refusal_is_renewed_too() {
        let (cache, source) = cache([Token("a", HOUR), Token("b", HOUR), Token("c", HOUR)]);
        text(&cache).await;
        pass(60).await;
        cache.refused(&Secret::new("a"));
        text(&cache).await;
        pass(3600).await;
        assert_eq!(text(&cache).await, "c");
        assert_eq!(source.asked(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_renewal_ends_with_the_last_clone() {
        let (cache, source) = cache([Token("a", HOUR), Token("b", HOUR)]);
        let clone = cache.clone();
        text(&cache).await;
        drop(cache);
        pass(10).await;
        assert_eq!(text(&clone).await, "a");
        drop(clone);
        pass(3600).await;
        assert_eq!(source.asked(), 1);
        assert_eq!(Arc::strong_count(&source), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_a_renewal_ends_with_the_last_clone() {
        let (cache, source) = cache([Token("a", HOUR), Token("b", HOUR)]);
        text(&cache).await;
        while source.asked() < 2 {
            advance(StdDuration::from_millis(100)).await;
            tokio::task::yield_now().await;
        }
        drop(cache);
        tokio::task::yield_now().await;
        assert_eq!(source.busy.load(Ordering::SeqCst), 0);
        assert_eq!(Arc::strong_count(&source), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_nobody_waits_for_any_more_is_given_up() {
        let (cache, source) = cache([Token("a", HOUR)]);
        let waited = timeout(StdDuration::from_millis(50), cache.token()).await;
        assert!(waited.is_err());
        assert_eq!(source.busy.load(Ordering::SeqCst), 0);
        assert_eq!(text(&cache).await, "a");
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_takes_nothing_from_those_who_still_wait() {
        let (cache, source) = cache([Token("a", HOUR)]);
        let (gave_up, waited) = tokio::join!(timeout(StdDuration::from_millis(50), cache.token()), text(&cache));
        assert!(gave_up.is_err());
        assert_eq!(waited, "a");
        assert_eq!(source.asked(), 1);
    }

    #[test]
    fn renewal_goes_on_after_the_runtime_it_began_on_is_gone() {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap()
        };
        let first = runtime();
        let (cache, source) = first.block_on(async {
            let (cache, source) = cache([Token("a", HOUR), Token("b", HOUR)]);
            text(&cache).await;
            (cache, source)
        });
        drop(first);
        assert_eq!(cache.owner.tokens.state().renewal, None);
        runtime().block_on(async {
            text(&cache).await;
            assert!(cache.owner.tokens.state().renewal.is_some());
        });
        assert_eq!(source.asked(), 1);
    }
}

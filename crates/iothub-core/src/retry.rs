use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

#[cfg(not(test))]
use std::time::Instant;
// Tests turn the clock instead of waiting for it.
#[cfg(test)]
use tokio::time::Instant;

use async_trait::async_trait;
use azure_core::{
    Error,
    error::ErrorKind,
    http::{
        AsyncRawResponse, Context, Request,
        policies::{Policy, PolicyResult},
    },
    time::OffsetDateTime,
};

use crate::{
    CallFacts, OperationClass,
    call_limits::EffectiveLimits,
    deadline::{Deadline, sleep},
    schedule::chance,
};

mod budget;
mod retry_after;
mod verdict;
mod watched_transport;

use budget::RetryBudget;
use retry_after::retry_after;
use verdict::{Next, Verdict, is_timeout};
pub(crate) use watched_transport::WatchedTransport;
use watched_transport::{Progress, TryProgress};

/// The policy that repeats requests.
///
/// It stands before authorization, so that each try gets a token that is valid then and the time to fetch one counts
/// against the deadline.
#[derive(Debug, Default)]
pub(crate) struct RetryPolicy {
    budget: RetryBudget,
}

/// One call: what it is, and how it went. It travels in the context.
#[derive(Debug)]
pub(crate) struct Call {
    class: OperationClass,
    limits: EffectiveLimits,
    facts: Mutex<Option<CallFacts>>,
}

impl Call {
    pub(crate) fn new(class: OperationClass, limits: EffectiveLimits) -> Arc<Self> {
        let facts = Mutex::default();
        Arc::new(Self { class, limits, facts })
    }

    /// How it went; `None` if it did not come to a try.
    pub(crate) fn facts(&self) -> Option<CallFacts> {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self, facts: CallFacts) {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
    }
}

#[async_trait]
impl Policy for RetryPolicy {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let Some(call) = ctx.value::<Arc<Call>>() else {
            return pass_on(ctx, request, next).await;
        };
        let mut tries = Tries::new(call, &self.budget);
        let outcome = tries.make(ctx, request, next).await;
        if matches!(&outcome, Ok(response) if response.status().is_success()) {
            self.budget.earn();
            tries.facts.maybe_applied = false;
        }
        call.ended(tries.facts);
        outcome
    }
}

/// The tries of one call.
struct Tries<'a> {
    call: &'a Call,
    budget: &'a RetryBudget,
    started: Instant,
    facts: CallFacts,
    sent: bool,
    reauthorized: bool,
}

impl<'a> Tries<'a> {
    fn new(call: &'a Call, budget: &'a RetryBudget) -> Self {
        Self {
            call,
            budget,
            started: Instant::now(),
            facts: CallFacts {
                attempts: 0,
                ..CallFacts::default()
            },
            sent: false,
            reauthorized: false,
        }
    }

    async fn make(&mut self, ctx: &Context<'_>, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let mut deadline = Deadline::after(self.call.limits.deadline);
        let mut failed_before = None;
        loop {
            self.facts.attempts = self.facts.attempts.saturating_add(1);
            let progress = Arc::new(TryProgress::default());
            let ctx = ctx.clone().with_value(Arc::clone(&progress));
            let outcome = deadline.bound(pass_on(&ctx, request, next)).await;
            self.sent |= progress.get() != Progress::Preparing;

            let Some(outcome) = outcome else {
                self.facts.maybe_applied |= self.writes() && progress.get() != Progress::Preparing;
                return Err(self.out_of_time(failed_before));
            };
            let verdict = self.judge(&outcome, progress.get());
            let Some(wait) = self.wait_before_next(verdict.next, &outcome) else {
                return outcome;
            };
            let failure = outcome.map_or_else(|error| error.to_string(), |response| answered(&response));
            tracing::debug!(attempt = self.facts.attempts, ?wait, failure, "trying again");
            failed_before = Some(failure);
            sleep(wait).await;
            request.body_mut().reset().await?;
        }
    }

    fn judge(&mut self, outcome: &PolicyResult, progress: Progress) -> Verdict {
        let class = self.call.class;
        let verdict = match outcome {
            Ok(response) => Verdict::of_status(response.status(), class),
            Err(error) => Verdict::of_error(error, progress, class),
        };
        self.facts.maybe_applied |= verdict.ambiguous && self.writes();
        self.facts.retry_after = match outcome {
            Ok(response) => retry_after(response.headers(), OffsetDateTime::now_utc()),
            Err(_) => None,
        };
        verdict
    }

    /// How long to wait before another try; `None` if there is to be none.
    fn wait_before_next(&mut self, next: Next, outcome: &PolicyResult) -> Option<Duration> {
        if self.facts.attempts >= self.call.limits.tries {
            return None;
        }
        let wait = match next {
            Next::Done => return None,
            Next::Reauthorize if self.reauthorized => return None,
            Next::Reauthorize => Duration::ZERO,
            Next::Wait(schedule) => {
                let delay = schedule.delay(self.facts.attempts - 1, chance());
                delay.max(self.facts.retry_after.map_or(Duration::ZERO, spread))
            }
        };
        let remaining = self.call.limits.deadline.saturating_sub(self.started.elapsed());
        if wait >= remaining || !self.budget.pay(cost(outcome)) {
            return None;
        }
        self.reauthorized |= next == Next::Reauthorize;
        Some(wait)
    }

    fn writes(&self) -> bool {
        self.call.class != OperationClass::Read
    }

    fn out_of_time(&self, failed_before: Option<String>) -> Error {
        // The kind tells whether a repetition is safe, as it does for the errors of a transport.
        let kind = if self.sent {
            ErrorKind::Io
        } else {
            ErrorKind::Connection
        };
        let deadline = self.call.limits.deadline;
        Error::with_error_fn(kind, io::Error::from(io::ErrorKind::TimedOut), || match failed_before {
            Some(failure) => format!("no answer within {deadline:?}; the try before failed: {failure}"),
            None => format!("no answer within {deadline:?}"),
        })
    }
}

async fn pass_on(ctx: &Context<'_>, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
    let [policy, rest @ ..] = next else {
        return Err(Error::with_message(
            ErrorKind::Other,
            "no transport stands behind the retry policy",
        ));
    };
    policy.send(ctx, request, rest).await
}

/// The wait that the hub asked for and up to a fifth more, so that those it asked do not come back all at once.
fn spread(asked: Duration) -> Duration {
    asked.saturating_add(asked.min(A_DAY).mul_f64(0.2 * chance()))
}

fn cost(outcome: &PolicyResult) -> u32 {
    let timeout = match outcome {
        Ok(response) => matches!(u16::from(response.status()), 408 | 504),
        Err(error) => is_timeout(error),
    };
    if timeout {
        budget::RETRY_AFTER_TIMEOUT
    } else {
        budget::RETRY
    }
}

fn answered(response: &AsyncRawResponse) -> String {
    format!("the hub answered {}", response.status())
}

const A_DAY: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests;

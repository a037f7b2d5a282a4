use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use azure_core::async_runtime::{TaskFuture, get_async_runtime};
use futures::future::{Either, select};

/// The moment at which a call gives up: one timer for all of its steps, and none for what need not wait.
pub(crate) struct Deadline {
    time: Duration,
    begun: Instant,
    timer: Option<TaskFuture>,
}

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        Self {
            time,
            begun: Instant::now(),
            timer: None,
        }
    }

    /// What `future` resolves to, or `None` if the deadline comes first. Nothing is begun after it.
    pub(crate) async fn bound<F: Future>(&mut self, future: F) -> Option<F::Output> {
        if left(self.time, self.begun).is_zero() {
            return None;
        }
        match select(pin!(future), self).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { time, begun, timer } = &mut *self;
        let timer = timer.get_or_insert_with(|| sleep(left(*time, *begun)));
        timer.as_mut().poll(cx)
    }
}

/// What is left of a time. The first tenth may pass before that counts: mostly it is the moment between making a call and
/// waiting for it, and a runtime has a clock of its own.
fn left(time: Duration, begun: Instant) -> Duration {
    match begun.elapsed() {
        passed if passed < time / 10 => time,
        passed => time.saturating_sub(passed),
    }
}

/// What `future` resolves to, or `None` if that takes longer than `time`.
pub(crate) async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    Deadline::after(time).bound(future).await
}

/// A sleep that takes any duration: a month stands for all that is longer.
pub(crate) fn sleep(time: Duration) -> TaskFuture {
    let time = time.min(A_MONTH).try_into().unwrap_or_default();
    get_async_runtime().sleep(time)
}

const A_MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_is_begun_when_time_is_over() {
        assert_eq!(Deadline::after(Duration::ZERO).bound(ready(1)).await, None);
        assert_eq!(Deadline::after(Duration::from_secs(1)).bound(ready(1)).await, Some(1));
    }
}

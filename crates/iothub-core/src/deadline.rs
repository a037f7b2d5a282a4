use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use azure_core::async_runtime::{TaskFuture, get_async_runtime};
use futures::future::{Either, select};

/// The moment at which a call gives up: one timer for all of its steps, and none for what need not wait.
pub(crate) struct Deadline {
    due: Instant,
    timer: Option<TaskFuture>,
}

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        Self {
            due: Instant::now() + time.min(A_MONTH),
            timer: None,
        }
    }

    /// What `future` resolves to, or `None` if the deadline comes first. Nothing is begun after it.
    pub(crate) async fn bound<F: Future>(&mut self, future: F) -> Option<F::Output> {
        if self.due <= Instant::now() {
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
        let Self { due, timer } = &mut *self;
        let timer = timer.get_or_insert_with(|| sleep(due.saturating_duration_since(Instant::now())));
        timer.as_mut().poll(cx)
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

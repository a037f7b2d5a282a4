use std::sync::Arc;

use tokio::sync::Notify;

/// A connection, for those who answer what comes over it and may end it. Clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    leave: Notify,
    broken: Arc<Notify>,
}

impl Line {
    /// Takes no further requests, and answers those that are under way.
    pub(crate) fn leave(&self) {
        self.0.leave.notify_one();
    }

    /// Who is told breaks the connection, without a word.
    pub(crate) fn breaker(&self) -> &Arc<Notify> {
        &self.0.broken
    }

    pub(super) async fn told_to_leave(&self) {
        self.0.leave.notified().await;
    }

    pub(super) fn broken(&self) -> impl Future<Output = ()> + Send + use<> {
        let broken = Arc::clone(&self.0.broken);
        async move { broken.notified().await }
    }
}

use std::sync::Arc;

use tokio::sync::Notify;

/// A connection, for those who answer what comes over it and may end it. Clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub(super) left: Arc<Notify>,
    pub(super) broken: Arc<Notify>,
}

impl Line {
    /// Takes no further requests, and answers those that are under way.
    pub(crate) fn leave(&self) {
        self.left.notify_one();
    }

    /// Who is told breaks the connection, without a word.
    pub(crate) fn breaker(&self) -> &Arc<Notify> {
        &self.broken
    }
}

use std::{future::Future, time::Duration};

use azure_core::{Error, Result, error::ErrorKind};

/// Gives `step` up after `limit`. Every step that is limited so comes before anything that could have an effect.
pub(crate) async fn within<F: Future>(limit: Duration, what: impl FnOnce() -> String, step: F) -> Result<F::Output> {
    tokio::time::timeout(limit, step).await.map_err(|_| {
        Error::with_message_fn(ErrorKind::Connection, || {
            format!("{} took longer than {limit:?}", what())
        })
    })
}

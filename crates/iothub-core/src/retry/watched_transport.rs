use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use async_trait::async_trait;
use azure_core::{
    Error,
    error::ErrorKind,
    http::{
        Context, Request, Transport,
        policies::{Policy, PolicyResult},
    },
};

use super::Call;
use crate::deadline::within;

/// The transport, with a time-out for the head of the answer and a note of how far a try got.
#[derive(Debug)]
pub(crate) struct WatchedTransport(pub(crate) Transport);

/// How far one try got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The transport has nothing: the credential is asked for a token.
    Preparing,
    /// The transport has the request.
    Sent,
    /// The head of an answer is there.
    Answered,
}

#[derive(Debug, Default)]
pub(super) struct TryProgress(AtomicU8);

impl TryProgress {
    pub(super) fn get(&self) -> Progress {
        match self.0.load(Ordering::Relaxed) {
            0 => Progress::Preparing,
            1 => Progress::Sent,
            _ => Progress::Answered,
        }
    }

    fn reached(&self, progress: Progress) {
        self.0.store(progress as u8, Ordering::Relaxed);
    }
}

#[async_trait]
impl Policy for WatchedTransport {
    async fn send(&self, ctx: &Context, request: &mut Request, _: &[Arc<dyn Policy>]) -> PolicyResult {
        let (Some(call), Some(progress)) = (ctx.value::<Arc<Call>>(), ctx.value::<Arc<TryProgress>>()) else {
            return self.0.send(ctx, request).await;
        };
        progress.reached(Progress::Sent);
        let timeout = call.limits.head_timeout;
        let response = within(timeout, self.0.send(ctx, request)).await;
        let response = response.unwrap_or_else(|| {
            Err(Error::with_error_fn(
                ErrorKind::Io,
                io::Error::from(io::ErrorKind::TimedOut),
                || format!("the hub sent no head of an answer within {timeout:?}"),
            ))
        })?;
        progress.reached(Progress::Answered);
        Ok(response)
    }
}

use std::{fmt, sync::Arc};

use azure_core::time::OffsetDateTime;

/// What time it is: the system's clock, or in tests one that follows paused time.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    pub(crate) fn now(&self) -> OffsetDateTime {
        (self.0)()
    }

    /// A clock that shows `start` now and goes on with tokio's time, paused or not.
    #[cfg(test)]
    pub(crate) fn following_tokio(start: OffsetDateTime) -> Self {
        let begin = tokio::time::Instant::now();
        Self(Arc::new(move || start + begin.elapsed()))
    }

    #[cfg(test)]
    pub(crate) fn showing(time: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(time))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(OffsetDateTime::now_utc))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

//! The job client against a local hub on real sockets.
#![expect(clippy::unwrap_used, reason = "a test that fails panics, and so do its helpers")]

mod fleet;
mod hub;
mod proxy;
mod queries;
mod refusals;
mod scheduling;

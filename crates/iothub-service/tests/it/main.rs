//! Stories against a local hub, over real TLS.
#![expect(clippy::unwrap_used, reason = "a test that fails panics, and so do its helpers")]

mod faults;
mod hub;
mod messages;
mod refusals;

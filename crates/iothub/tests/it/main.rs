//! Scenarios that cross crates, against the emulator over real TLS.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, and so do its helpers")]

mod entra;
mod hub;
mod jobs;
mod mqtt;
mod shared_access;

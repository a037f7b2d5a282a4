//! The registry client against a local hub on real sockets.
#![expect(clippy::unwrap_used, reason = "a test that fails panics, and so do its helpers")]

mod devices;
mod faults;
mod hub;
mod refusals;
mod secrets;

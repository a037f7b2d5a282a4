//! The transport against a peer of the test's own, over real sockets.
#![expect(clippy::unwrap_used, reason = "a test that fails panics, and so do its helpers")]

mod certificates;
mod connecting;
mod contract;
mod nesting;
mod peer;
mod receiving;
mod sending;
mod web_socket;

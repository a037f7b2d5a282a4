//! The transport against small real servers on loopback.
#![cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#![expect(clippy::unwrap_used, reason = "a test that fails panics, and so do its helpers")]

mod certificates;
mod connections;
mod exchanges;
mod limits;
mod proxies;
mod server;

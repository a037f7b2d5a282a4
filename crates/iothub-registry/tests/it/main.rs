//! The registry client against a local hub on real sockets.
#![expect(clippy::unwrap_used, reason = "a test that fails panics, and so do its helpers")]

mod bulk;
mod configurations;
mod desired;
mod devices;
mod edge;
mod faults;
mod hub;
mod ids;
mod import_export;
mod keys;
mod modules;
mod queries;
mod refusals;
mod secrets;
mod statistics;
mod twins;
mod x509;

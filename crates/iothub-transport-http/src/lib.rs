//! azure_core's `HttpClient` over hyper and rustls.
#![doc = include_str!("../README.md")]

mod connector;
pub mod dial;
mod fault;
mod hyper_transport;
mod options;
mod plain_http;
mod request;
mod response;

pub use dial::{Proxy, TlsVersion};
pub use hyper_transport::HyperTransport;
pub use options::HyperOptions;

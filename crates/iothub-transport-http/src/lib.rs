//! azure_core's `HttpClient` over hyper and rustls.
#![doc = include_str!("../README.md")]

mod connector;
mod fault;
mod hyper_transport;
mod options;
mod plain_http;
mod proxy;
mod request;
mod response;
mod tls;
mod tunnel;

pub use hyper_transport::HyperTransport;
pub use options::{HyperOptions, TlsVersion};
pub use proxy::Proxy;

#![doc = include_str!("../README.md")]

mod attach_watch;
mod byte_stream;
mod connection;
mod dial;
mod end;
mod fault;
mod frames;
mod message;
mod options;
mod outbox;
mod proxy;
mod receiver;
mod sender;
mod tls;
mod transport;
mod tunnel;
mod value;
mod web_socket;
mod wire;
#[cfg(test)]
mod wire_samples;
mod within;

pub use options::{AmqpOptions, Carrier, TlsVersion};
pub use proxy::Proxy;
pub use transport::Fe2o3Transport;

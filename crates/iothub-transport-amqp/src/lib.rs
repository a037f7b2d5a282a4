#![doc = include_str!("../README.md")]

mod attach_watch;
mod byte_stream;
mod connection;
mod end;
mod fault;
mod frames;
mod inbound;
mod message;
mod options;
mod outbox;
mod receiver;
mod sender;
mod transport;
mod value;
mod walk;
mod web_socket;
mod wire;
#[cfg(test)]
mod wire_samples;
mod within;

pub use iothub_transport_http::{Proxy, TlsVersion};
pub use options::{AmqpOptions, Carrier};
pub use transport::Fe2o3Transport;

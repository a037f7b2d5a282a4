//! The AMQP 1.0 door: a small server engine, and the nodes that a peer can attach to.
//!
//! The engine is of our own because it has to do what Microsoft's clients rely on and general servers do not: delivery
//! tags of sixteen bytes, `accepted` in answer to every outcome, attaches without a source, connections without a
//! security layer. It also shares no line with the AMQP stack of the clients that are tested against it.
//!
//! From the outside in: [`connection`] has the socket and the sessions, [`session`] the links and the windows, [`link`]
//! credit and settlement. A link ends in a [`node`], found by its address in the [`directory`]; `$cbs` and the addresses
//! of messages are such nodes, and a new address is a new node and a line in the directory. Below lie the performatives,
//! and below those the type system ([`value`], [`decode`], [`encode`]).

mod address;
mod cbs;
mod composite;
mod condition;
mod connection;
mod decode;
mod device;
mod device_bound;
mod device_message;
mod directory;
mod encode;
mod error;
mod event_hub;
mod format;
mod frame;
mod handshake;
mod injected;
mod link;
mod message;
mod node;
mod nonsense;
mod outbox;
mod outcome;
mod pairs;
mod peer;
mod performative;
mod replies;
mod sasl;
mod service_bound;
mod session;
mod value;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use connection::serve;

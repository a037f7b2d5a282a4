//! The MQTT 3.1.1 door, for devices and modules. It translates and decides nothing.
//!
//! From the outside in: [`connection`] has the socket and ends it, [`admission`] reads who a CONNECT is from,
//! [`conversation`] turns packets into calls of the hub and what the hub has for the device into packets. Names of topics
//! are in [`topic`] and [`property_bag`], and below lies the codec ([`packet`], [`decode`], [`encode`], [`reader`]).
//!
//! The codec is of our own because a hub speaks a small part of MQTT and has to be strict about it, and so that it shares
//! no line with the clients that are tested against it.

mod admission;
mod answers;
mod connection;
mod conversation;
mod decode;
mod encode;
mod packet;
mod property_bag;
mod reader;
mod topic;
mod user_name;

pub(crate) use connection::serve;
// The other end of the codec, for devices that are built in.
pub(crate) use packet::{Connect, ConnectCode, Delivery, Packet, Publish, Qos, Subscribe};
pub(crate) use reader::{PacketReader, ReadError};

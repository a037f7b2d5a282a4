//! The transport against a peer of the test's own, over real sockets.

mod certificates;
mod connecting;
mod peer;
mod receiving;
mod sending;
mod web_socket;

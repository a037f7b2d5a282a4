//! The registry client against a local hub on real sockets.

mod devices;
mod faults;
mod hub;
mod refusals;

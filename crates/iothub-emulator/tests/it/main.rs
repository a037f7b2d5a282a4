//! The emulator over its sockets, asked by a bare HTTP client that knows nothing of this project's clients.

mod binary;
mod client;
mod errors;
mod faults;
mod identities;
mod web_socket;

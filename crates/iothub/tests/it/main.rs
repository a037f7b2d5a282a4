//! Scenarios that cross crates, against the emulator over real TLS.

mod entra;
mod hub;
mod shared_access;

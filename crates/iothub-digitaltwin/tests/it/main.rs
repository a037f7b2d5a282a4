//! DigitalTwinClient against the emulator, over real TLS.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, and so do its helpers")]

mod controller;
mod credentials;
mod faults;
mod hub;
mod proxy;
mod thermostat;

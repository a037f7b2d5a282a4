//! Stories against a local hub, over real TLS.
#![expect(clippy::unwrap_used, reason = "a test that fails panics, and so do its helpers")]

mod amqp_device;
mod amqp_devices;
mod faults;
mod feedback;
mod file_notifications;
mod hub;
mod messages;
mod methods;
mod network;
mod nonsense;
mod openings;
mod proxies;
mod refusals;
mod traffic;
mod under_load;

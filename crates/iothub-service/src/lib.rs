#![doc = include_str!("../README.md")]

mod ack;
mod client;
mod cloud_to_device_message;
mod options;
mod sent;
mod target;

pub use ack::Ack;
pub use client::ServiceClient;
pub use cloud_to_device_message::CloudToDeviceMessage;
pub use options::{MessageIds, SendAllOptions, SendOptions, ServiceClientOptions, WarmUpOptions};
pub use sent::Sent;
pub use target::Target;

#![doc = include_str!("../README.md")]

mod basic_digital_twin;
mod client;
mod command;
mod command_response;
mod digital_twin;
mod digital_twin_id;
mod json_patch;
mod options;
#[cfg(test)]
mod scripted;

/// What digital twins are made of, whatever their model.
pub mod models {
    pub use crate::basic_digital_twin::{BasicComponent, BasicDigitalTwin, ComponentMetadata, DigitalTwinMetadata};
    pub use iothub_core::models::{JsonText, WritableProperty};
}

pub use client::DigitalTwinClient;
pub use command::Command;
pub use command_response::CommandResponse;
pub use digital_twin::{DigitalTwin, UpdatedDigitalTwin};
pub use digital_twin_id::DigitalTwinId;
pub use iothub_core::IfMatch;
pub use json_patch::JsonPatch;
pub use options::{DigitalTwinClientOptions, GetDigitalTwinOptions, InvokeCommandOptions, UpdateDigitalTwinOptions};

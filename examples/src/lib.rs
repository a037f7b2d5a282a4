//! What the examples share: a hub to try things on, ids to try them with, and a way to say what went wrong.

mod container;
mod failure;
mod id;
mod plug_and_play;
mod stage;

pub use container::Container;
pub use failure::Failure;
pub use id::new_id;
pub use plug_and_play::{CONTROLLER, THERMOSTAT, plug_in_controller, plug_in_thermostat};
pub use stage::Stage;

/// The program in the README of the project.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

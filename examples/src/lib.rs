//! What the examples share: a hub to try things on, and a way to say what went wrong.

mod container;
mod failure;
mod stage;

pub use container::Container;
pub use failure::Failure;
pub use stage::Stage;

/// The program in the README of the project.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

//! What `cargo xtask codegen` writes. Never edited: to change it, change `xtask/spec/hub-service.yaml`.

mod enums;
mod models;

pub use enums::*;
pub use models::*;

//! What applications see of iothub-core.

mod twin;
mod wire;

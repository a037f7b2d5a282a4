//! What applications see of iothub-core.

// Helpers of tests may unwrap like tests; the lint recognizes them by the attribute.
#[cfg(test)]
mod twin;
#[cfg(test)]
mod wire;

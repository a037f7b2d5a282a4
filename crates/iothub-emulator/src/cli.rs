//! What is the binary's alone: its arguments, and what it tells whoever started it.

pub(crate) mod arguments;
pub(crate) mod banner;
pub(crate) mod interruption;
pub(crate) mod ready;
pub(crate) mod state;
pub(crate) mod temporary_directory;

//! What the credentials send, over a scripted wire and to a local hub on real sockets.
#![expect(clippy::unwrap_used, reason = "a test that fails panics, and so do its helpers")]

mod default_azure_credential;
mod emulator;
mod entra;
mod managed_identity;
mod redaction;
mod wire;

//! What the credentials send, over a scripted wire.

mod default_azure_credential;
mod entra;
mod managed_identity;
mod redaction;
mod wire;

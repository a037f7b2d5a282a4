use azure_core::{fmt::SafeDebug, http::ClientMethodOptions};

/// Options for [`RegistryClient::regenerate_keys`](crate::RegistryClient::regenerate_keys).
#[derive(Clone, Default, SafeDebug)]
pub struct RegenerateKeysOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

use azure_core::{fmt::SafeDebug, http::ClientMethodOptions};
use iothub_core::IfMatch;

/// Options for [`RegistryClient::get_twin`](crate::RegistryClient::get_twin) and
/// [`try_get_twin`](crate::RegistryClient::try_get_twin).
#[derive(Clone, Default, SafeDebug)]
pub struct GetTwinOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::update_twin`](crate::RegistryClient::update_twin).
#[derive(Clone, Default, SafeDebug)]
pub struct UpdateTwinOptions<'a> {
    /// Which version of the twin may be changed. `None` merges into whatever is there.
    pub if_match: Option<IfMatch>,
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::replace_twin`](crate::RegistryClient::replace_twin).
#[derive(Clone, Default, SafeDebug)]
pub struct ReplaceTwinOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::modify_twin`](crate::RegistryClient::modify_twin).
#[derive(Clone, Default, SafeDebug)]
pub struct ModifyTwinOptions<'a> {
    /// How often it is tried while others are faster. `None` is 10 times.
    pub rounds: Option<u32>,
    /// Customizes each of the calls that it makes; limits hold for each of them, not for all together.
    pub method_options: ClientMethodOptions<'a>,
}

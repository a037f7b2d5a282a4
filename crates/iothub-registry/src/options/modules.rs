use azure_core::{fmt::SafeDebug, http::ClientMethodOptions};
use iothub_core::IfMatch;

/// Options for [`RegistryClient::create_module`](crate::RegistryClient::create_module).
#[derive(Clone, Default, SafeDebug)]
pub struct CreateModuleOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::get_module`](crate::RegistryClient::get_module) and
/// [`try_get_module`](crate::RegistryClient::try_get_module).
#[derive(Clone, Default, SafeDebug)]
pub struct GetModuleOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::list_modules`](crate::RegistryClient::list_modules).
#[derive(Clone, Default, SafeDebug)]
pub struct ListModulesOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::update_module`](crate::RegistryClient::update_module).
#[derive(Clone, Default, SafeDebug)]
pub struct UpdateModuleOptions<'a> {
    /// Which version may be replaced. `None` is the one that was read: the tag in the identity.
    pub if_match: Option<IfMatch>,
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::modify_module`](crate::RegistryClient::modify_module).
#[derive(Clone, Default, SafeDebug)]
pub struct ModifyModuleOptions<'a> {
    /// How often it is read and written at most while others write in between. `None` is 10 times.
    pub rounds: Option<u32>,
    /// Customizes each of the calls that it makes; limits hold for each of them, not for all together.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::delete_module`](crate::RegistryClient::delete_module).
#[derive(Clone, Default, SafeDebug)]
pub struct DeleteModuleOptions<'a> {
    /// Which version may be deleted. `None` deletes whatever is there.
    pub if_match: Option<IfMatch>,
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

use azure_core::{fmt::SafeDebug, http::ClientMethodOptions};
use iothub_core::IfMatch;

/// Options for [`RegistryClient::create_configuration`](crate::RegistryClient::create_configuration).
#[derive(Clone, Default, SafeDebug)]
pub struct CreateConfigurationOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::get_configuration`](crate::RegistryClient::get_configuration) and
/// [`try_get_configuration`](crate::RegistryClient::try_get_configuration).
#[derive(Clone, Default, SafeDebug)]
pub struct GetConfigurationOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::list_configurations`](crate::RegistryClient::list_configurations).
#[derive(Clone, Default, SafeDebug)]
pub struct ListConfigurationsOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::update_configuration`](crate::RegistryClient::update_configuration).
#[derive(Clone, Default, SafeDebug)]
pub struct UpdateConfigurationOptions<'a> {
    /// Which version may be replaced. `None` is the one that was read: the tag in the configuration.
    pub if_match: Option<IfMatch>,
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::delete_configuration`](crate::RegistryClient::delete_configuration).
#[derive(Clone, Default, SafeDebug)]
pub struct DeleteConfigurationOptions<'a> {
    /// Which version may be deleted. `None` deletes whatever is there.
    pub if_match: Option<IfMatch>,
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::apply_configuration_content`](crate::RegistryClient::apply_configuration_content).
#[derive(Clone, Default, SafeDebug)]
pub struct ApplyConfigurationContentOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::test_configuration_queries`](crate::RegistryClient::test_configuration_queries).
#[derive(Clone, Default, SafeDebug)]
pub struct TestConfigurationQueriesOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

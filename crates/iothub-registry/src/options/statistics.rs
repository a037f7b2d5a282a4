use azure_core::{fmt::SafeDebug, http::ClientMethodOptions};

/// Options for [`RegistryClient::get_statistics`](crate::RegistryClient::get_statistics).
#[derive(Clone, Default, SafeDebug)]
pub struct GetStatisticsOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::get_service_statistics`](crate::RegistryClient::get_service_statistics).
#[derive(Clone, Default, SafeDebug)]
pub struct GetServiceStatisticsOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

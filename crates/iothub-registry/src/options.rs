use azure_core::{
    fmt::SafeDebug,
    http::{ClientMethodOptions, ClientOptions},
};
use iothub_core::{CallLimits, IfMatch};

/// Options for [`RegistryClient::new`](crate::RegistryClient::new).
#[derive(Clone, Debug, Default)]
pub struct RegistryClientOptions {
    /// How long a call may take and how often it may be tried. One call is given its own in its context.
    pub limits: CallLimits,
    /// Transport, policies, application id. Without a transport, the one of the feature `hyper` is used, and its
    /// connections are shared with the other clients of the process. The retry options are not used: see
    /// [`HubPipeline`](iothub_core::HubPipeline) for when a call is repeated.
    pub client_options: ClientOptions,
}

/// Options for [`RegistryClient::create_device`](crate::RegistryClient::create_device).
#[derive(Clone, Default, SafeDebug)]
pub struct CreateDeviceOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::get_device`](crate::RegistryClient::get_device) and
/// [`try_get_device`](crate::RegistryClient::try_get_device).
#[derive(Clone, Default, SafeDebug)]
pub struct GetDeviceOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::update_device`](crate::RegistryClient::update_device).
#[derive(Clone, Default, SafeDebug)]
pub struct UpdateDeviceOptions<'a> {
    /// Which version may be replaced. `None` is the one that was read: the tag in the identity.
    pub if_match: Option<IfMatch>,
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::delete_device`](crate::RegistryClient::delete_device).
#[derive(Clone, Default, SafeDebug)]
pub struct DeleteDeviceOptions<'a> {
    /// Which version may be deleted. `None` deletes whatever is there.
    pub if_match: Option<IfMatch>,
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

use std::time::Duration;

use azure_core::{fmt::SafeDebug, http::ClientMethodOptions};

/// Options for [`RegistryClient::create_device_with_twin`](crate::RegistryClient::create_device_with_twin).
#[derive(Clone, Default, SafeDebug)]
pub struct CreateDeviceWithTwinOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::create_devices`](crate::RegistryClient::create_devices).
#[derive(Clone, Default, SafeDebug)]
pub struct CreateDevicesOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::update_devices`](crate::RegistryClient::update_devices).
#[derive(Clone, Default, SafeDebug)]
pub struct UpdateDevicesOptions<'a> {
    /// Replaces whatever versions are there. Without it, each device is replaced only in the version that was read,
    /// which the tag in its identity names.
    pub unconditional: bool,
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::delete_devices`](crate::RegistryClient::delete_devices).
#[derive(Clone, Default, SafeDebug)]
pub struct DeleteDevicesOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::update_twins`](crate::RegistryClient::update_twins).
#[derive(Clone, Default, SafeDebug)]
pub struct UpdateTwinsOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::bulk_call`](crate::RegistryClient::bulk_call).
#[derive(Clone, Default, SafeDebug)]
pub struct BulkCallOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`RegistryClient::bulk`](crate::RegistryClient::bulk).
#[derive(Clone, Default, SafeDebug)]
pub struct BulkOptions<'a> {
    /// How many calls may be under way at once. `None` is 4. Fewer are while the hub asks for less traffic.
    pub calls_in_flight: Option<usize>,
    /// How many operations one call holds at most, 1 to 100. `None` is 100. Smaller calls lose less when one is lost.
    pub operations_per_call: Option<usize>,
    /// How long the operations of one call wait for a hub that throttles, before they are given up. `None` is 10
    /// minutes. It comes after the deadline of each call, within which the client waits anyway.
    pub patience: Option<Duration>,
    /// Customizes each of the calls that it makes; limits hold for each of them, not for all together.
    pub method_options: ClientMethodOptions<'a>,
}

mod bulk;
mod configurations;
mod import_export;
mod keys;
mod modules;
mod queries;
mod statistics;
mod twins;

use azure_core::{
    fmt::SafeDebug,
    http::{ClientMethodOptions, ClientOptions},
};
use iothub_core::{CallLimits, IfMatch};

pub use self::{
    bulk::*, configurations::*, import_export::*, keys::*, modules::*, queries::*, statistics::*, twins::*,
};

/// Options for [`RegistryClient::new`](crate::RegistryClient::new).
#[derive(Clone, Debug, Default)]
pub struct RegistryClientOptions {
    /// Which version of the service's interface to speak, such as `2021-04-12`, which is what `None` means. The client
    /// is made for this one; another is for trying what a newer one adds, and the hub refuses one that it does not know.
    pub api_version: Option<String>,
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

/// Options for [`RegistryClient::modify_device`](crate::RegistryClient::modify_device).
#[derive(Clone, Default, SafeDebug)]
pub struct ModifyDeviceOptions<'a> {
    /// How often it is read and written at most while others write in between. `None` is 10 times.
    pub rounds: Option<u32>,
    /// Customizes each of the calls that it makes; limits hold for each of them, not for all together.
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

use azure_core::{
    fmt::SafeDebug,
    http::{ClientMethodOptions, ClientOptions},
};
use iothub_core::{CallLimits, IfMatch};

/// Options for [`DigitalTwinClient::new`](crate::DigitalTwinClient::new).
#[derive(Clone, Debug, Default)]
pub struct DigitalTwinClientOptions {
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

/// Options for [`DigitalTwinClient::get_digital_twin`](crate::DigitalTwinClient::get_digital_twin).
#[derive(Clone, Default, SafeDebug)]
pub struct GetDigitalTwinOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`DigitalTwinClient::update_digital_twin`](crate::DigitalTwinClient::update_digital_twin).
#[derive(Clone, Default, SafeDebug)]
#[doc(alias = "DigitalTwinUpdateRequestOptions")]
pub struct UpdateDigitalTwinOptions<'a> {
    /// Update only while the twin is in this version. `None` updates whatever is there.
    pub if_match: Option<IfMatch>,
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`DigitalTwinClient::invoke_command`](crate::DigitalTwinClient::invoke_command). The timeouts are in the
/// [`Command`](crate::Command).
#[derive(Clone, Default, SafeDebug)]
#[doc(alias = "DigitalTwinInvokeCommandRequestOptions")]
pub struct InvokeCommandOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

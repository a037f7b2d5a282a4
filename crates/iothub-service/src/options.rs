use std::{num::NonZeroUsize, sync::Arc};

use azure_core::{fmt::SafeDebug, http::ClientMethodOptions};
use iothub_core::{CallLimits, amqp::AmqpTransport};

/// Options for [`ServiceClient::new`](crate::ServiceClient::new).
#[derive(Clone, Debug, Default)]
pub struct ServiceClientOptions {
    /// How long a call may take and how often it may be tried. One call is given its own in its context.
    pub limits: CallLimits,
    /// What carries AMQP. Without it, the transport of the feature `fe2o3` is used, over TLS to port 5671.
    ///
    /// That transport over a WebSocket to port 443, through a proxy, or with a root certificate of your own, is made with
    /// `iothub_transport_amqp::Fe2o3Transport::new` and passed in here.
    #[doc(alias = "TransportType")]
    pub amqp_transport: Option<Arc<dyn AmqpTransport>>,
    /// Which messages are given an id. Without a word, none.
    #[doc(alias = "SdkAssignsMessageId")]
    pub message_ids: MessageIds,
    /// Who uses this client, of up to 24 characters. It is part of what the hub is told about the client.
    pub application_id: Option<String>,
}

/// Who gives messages their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageIds {
    /// The application, to those that need one. Feedback names a message by its id only.
    #[default]
    #[doc(alias = "SdkAssignsMessageId.Never")]
    AsGiven,
    /// The client, to those that have none: a random UUID.
    #[doc(alias = "SdkAssignsMessageId.WhenUnset")]
    Generated,
}

/// Options for [`ServiceClient::send`](crate::ServiceClient::send).
#[derive(Clone, Default, SafeDebug)]
pub struct SendOptions<'a> {
    /// Whether to send again when the connection breaks before the hub has answered. The device may then get the
    /// message twice, with the same message id; one is generated if there is none. Without this, such a call fails with
    /// [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied).
    pub at_least_once: bool,
    /// Customizes this one call, by [`CallLimits`] in its context.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`ServiceClient::send_all`](crate::ServiceClient::send_all).
#[derive(Clone, Debug, Default)]
pub struct SendAllOptions {
    /// How many messages may be under way at a time, 500 unless set. It bounds memory: messages wait in the stream
    /// that they come from.
    pub window: Option<NonZeroUsize>,
    /// As in [`SendOptions::at_least_once`], for each message.
    pub at_least_once: bool,
    /// The limits of each message. Its deadline begins when its turn comes.
    pub limits: CallLimits,
}

/// Options for [`ServiceClient::warm_up`](crate::ServiceClient::warm_up).
#[derive(Clone, Default, SafeDebug)]
pub struct WarmUpOptions<'a> {
    /// Customizes this one call, by [`CallLimits`] in its context.
    pub method_options: ClientMethodOptions<'a>,
}

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use azure_core::{
    fmt::SafeDebug,
    http::{ClientMethodOptions, ClientOptions},
};
use iothub_core::{CallLimits, amqp::AmqpTransport};

use crate::AmqpCarrier;

/// Options for [`ServiceClient::new`](crate::ServiceClient::new).
#[derive(Clone, Debug, Default)]
pub struct ServiceClientOptions {
    /// How long a call may take and how often it may be tried. One call is given its own in its context.
    pub limits: CallLimits,
    /// What carries AMQP, for the transport of the feature `fe2o3`. TLS unless set.
    #[doc(alias = "TransportType")]
    pub amqp_carrier: AmqpCarrier,
    /// The AMQP transport. Without it, the one of the feature `fe2o3` is used, as
    /// [`amqp_carrier`](Self::amqp_carrier) says; with it, that says nothing.
    ///
    /// One through a proxy of your choice, or with a root certificate of your own, is made with
    /// `iothub_transport_amqp::Fe2o3Transport::new` and passed in here.
    pub amqp_transport: Option<Arc<dyn AmqpTransport>>,
    /// HTTP transport, policies. Without a transport, the one of the feature `hyper` is used, and its connections are
    /// shared with the other clients of the process. The retry options are not used: see
    /// [`HubPipeline`](iothub_core::HubPipeline) for when a call is repeated.
    pub client_options: ClientOptions,
    /// Which messages are given an id. Without a word, none.
    #[doc(alias = "SdkAssignsMessageId")]
    pub message_ids: MessageIds,
    /// Who uses this client, of up to 24 characters. It is part of what the hub is told about the client, over AMQP and,
    /// unless [`client_options`](Self::client_options) say something else, over HTTPS.
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

/// Options for [`ServiceClient::send_and_confirm`](crate::ServiceClient::send_and_confirm).
#[derive(Clone, Default, SafeDebug)]
pub struct SendAndConfirmOptions<'a> {
    /// As in [`SendOptions::at_least_once`].
    pub at_least_once: bool,
    /// How long to wait for feedback once the hub has stored the message, one minute unless set. For a device that may
    /// be away it should be what is left until the message expires, and 15 seconds more.
    pub confirm_timeout: Option<Duration>,
    /// Customizes this one call, by [`CallLimits`] in its context. They are for the sending.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`ServiceClient::feedback`](crate::ServiceClient::feedback).
#[derive(Clone, Debug, Default)]
pub struct FeedbackOptions {
    /// How many batches the hub may send before earlier ones are settled, 100 unless set. It bounds memory. Streams that
    /// share a link have the credit that the first of them asked for.
    pub credit: Option<NonZeroU32>,
}

/// Options for [`ServiceClient::file_notifications`](crate::ServiceClient::file_notifications).
#[derive(Clone, Debug, Default)]
pub struct FileNotificationOptions {
    /// As in [`FeedbackOptions::credit`].
    pub credit: Option<NonZeroU32>,
}

/// Options for [`ServiceClient::receive_feedback`](crate::ServiceClient::receive_feedback).
#[derive(Clone, Default, SafeDebug)]
pub struct ReceiveFeedbackOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`ServiceClient::invoke_method`](crate::ServiceClient::invoke_method).
#[derive(Clone, Default, SafeDebug)]
pub struct InvokeMethodOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`ServiceClient::purge_message_queue`](crate::ServiceClient::purge_message_queue).
#[derive(Clone, Default, SafeDebug)]
pub struct PurgeMessageQueueOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`ServiceClient::get_service_statistics`](crate::ServiceClient::get_service_statistics).
#[derive(Clone, Default, SafeDebug)]
pub struct GetServiceStatisticsOptions<'a> {
    /// Customizes this one call.
    pub method_options: ClientMethodOptions<'a>,
}

/// Options for [`ServiceClient::warm_up`](crate::ServiceClient::warm_up).
#[derive(Clone, Default, SafeDebug)]
pub struct WarmUpOptions<'a> {
    /// Customizes this one call, by [`CallLimits`] in its context.
    pub method_options: ClientMethodOptions<'a>,
}

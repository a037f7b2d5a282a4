#![doc = include_str!("../README.md")]

mod ack;
mod amqp_carrier;
#[cfg(feature = "fe2o3")]
mod auto_transport;
mod client;
mod cloud_to_device_message;
mod confirmed;
mod default_transport;
mod deliveries;
mod delivery;
mod feedback_batch;
mod intake;
mod options;
mod receiver_status;
mod sent;
mod target;

pub use ack::Ack;
pub use amqp_carrier::AmqpCarrier;
pub use client::ServiceClient;
pub use cloud_to_device_message::CloudToDeviceMessage;
pub use confirmed::Confirmed;
pub use deliveries::Deliveries;
pub use delivery::Delivery;
pub use feedback_batch::FeedbackBatch;
pub use options::{
    FeedbackOptions, FileNotificationOptions, GetServiceStatisticsOptions, InvokeMethodOptions, MessageIds,
    PurgeMessageQueueOptions, ReceiveFeedbackOptions, SendAllOptions, SendAndConfirmOptions, SendOptions,
    ServiceClientOptions, WarmUpOptions,
};
pub use receiver_status::{ReceiverState, ReceiverStatus, ReceiverWatch};
pub use sent::Sent;
pub use target::Target;

/// What this client sends and receives, of what all clients have in common.
pub mod models {
    pub use iothub_core::models::{
        DirectMethodRequest, DirectMethodResponse, FeedbackRecord, FeedbackStatus, FileNotification, JsonText,
        PurgeMessageQueueResult, ServiceStatistics,
    };
}

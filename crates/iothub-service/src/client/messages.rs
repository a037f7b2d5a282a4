use std::{num::NonZeroUsize, pin::pin, time::Duration};

use azure_core::{
    Error,
    async_runtime::get_async_runtime,
    error::ErrorKind,
    http::{Method, Response},
};
use futures::{
    Stream, StreamExt,
    future::{Either, select},
};
use iothub_core::{
    CallFacts, DeviceId, OperationClass, Result,
    amqp::{self, HubReceipt, HubSender},
    models::PurgeMessageQueueResult,
};
use uuid::Uuid;

use super::ServiceClient;
use crate::{
    Ack, CloudToDeviceMessage, Confirmed, MessageIds, PurgeMessageQueueOptions, SendAllOptions, SendAndConfirmOptions,
    SendOptions, Sent, Target, intake::Wanted,
};

/// Cloud-to-device messages.
impl ServiceClient {
    /// Sends a message, and waits until the hub has stored it for the device.
    ///
    /// That says nothing of the device: [`Ack`](crate::Ack) is for that. Whether a message that failed may be there all
    /// the same, [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied) tells.
    ///
    /// # Errors
    ///
    /// - [`HubErrorCode::DeviceNotFound`](iothub_core::HubErrorCode::DeviceNotFound).
    /// - [`HubErrorCode::DeviceMaximumQueueDepthExceeded`](iothub_core::HubErrorCode::DeviceMaximumQueueDepthExceeded)
    ///   if 50 messages wait for the device already.
    /// - [`HubErrorCode::MessageTooLarge`](iothub_core::HubErrorCode::MessageTooLarge), before anything is sent.
    /// - [`HubErrorCode::ThrottlingException`](iothub_core::HubErrorCode::ThrottlingException) if the deadline is too
    ///   near to wait as long as the hub wants.
    /// - [`ErrorKind::Credential`] if the hub does not take the credential, or there is no token to be had.
    /// - [`ErrorKind::Connection`] if the hub could not be reached in time.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_core::{CallFacts, HubError, HubErrorCode};
    /// use iothub_service::{CloudToDeviceMessage, ServiceClient, Target};
    ///
    /// # async fn example(service: ServiceClient, lamp: Target) -> iothub_core::Result<()> {
    /// match service.send(&lamp, CloudToDeviceMessage::new("on"), None).await {
    ///     Ok(_) => println!("stored"),
    ///     Err(error) => match HubError::of(&error).map(|hub| &hub.code) {
    ///         Some(HubErrorCode::DeviceMaximumQueueDepthExceeded) => println!("the lamp has been away for long"),
    ///         _ if CallFacts::of(&error).is_some_and(|facts| facts.maybe_applied) => println!("perhaps stored"),
    ///         _ => return Err(error),
    ///     },
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "SendAsync")]
    pub async fn send(
        &self,
        target: &Target,
        message: CloudToDeviceMessage,
        options: Option<SendOptions<'_>>,
    ) -> Result<Sent> {
        let options = options.unwrap_or_default();
        let amqp_options = amqp::SendOptions {
            limits: self.limits_of(&options.method_options.context),
            at_least_once: options.at_least_once,
        };
        let under_way = hand_over(&self.devicebound, self.message_ids, target, message, amqp_options).await?;
        under_way.settled().await
    }

    /// Sends messages as they come, many at a time, and yields what became of each in their order.
    ///
    /// The hub gets them in the same order, over one link. A message that fails does not stop those after it. Nothing is
    /// sent unless the returned stream is polled; dropping it leaves those under way to the hub.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use futures::{StreamExt, stream};
    /// use iothub_service::{CloudToDeviceMessage, ServiceClient, Target};
    ///
    /// # async fn example(service: ServiceClient, lamps: Vec<Target>) {
    /// let messages = stream::iter(lamps).map(|lamp| (lamp, CloudToDeviceMessage::new("off")));
    /// let mut results = std::pin::pin!(service.send_all(messages, None));
    /// while let Some(result) = results.next().await {
    ///     if let Err(error) = result {
    ///         eprintln!("a lamp stays on: {error}");
    ///     }
    /// }
    /// # }
    /// ```
    pub fn send_all<S>(&self, messages: S, options: Option<SendAllOptions>) -> impl Stream<Item = Result<Sent>> + use<S>
    where
        S: Stream<Item = (Target, CloudToDeviceMessage)>,
    {
        let SendAllOptions {
            window,
            at_least_once,
            limits,
        } = options.unwrap_or_default();
        let options = amqp::SendOptions {
            limits: limits.or(self.limits),
            at_least_once,
        };
        let (link, message_ids) = (self.devicebound.clone(), self.message_ids);
        messages
            .then(move |(target, message)| {
                let (link, options) = (link.clone(), options.clone());
                async move { hand_over(&link, message_ids, &target, message, options).await }
            })
            .map(async |handed_over| handed_over?.settled().await)
            .buffered(window.map_or(WINDOW, NonZeroUsize::get))
    }

    /// Sends a message, and waits until the hub tells what became of it.
    ///
    /// The hub tells up to 15 seconds after the device has completed or rejected the message, or after it has expired.
    /// A message without an id is given one, and [`Ack::Full`] whatever it said. What became of it is in the answer: that
    /// the device rejected it is no error of this call.
    ///
    /// # With others who read feedback
    ///
    /// A hub has one queue of feedback for all backends. Within a client and its clones nothing gets lost: streams of
    /// [`feedback`](Self::feedback) still yield every batch, the records awaited here included, and such a stream has to
    /// be there if records of other messages matter, since a batch is taken from the queue as a whole. Without a stream,
    /// a batch that tells of other messages as well is given back when the last of these calls has ended, and counts as
    /// delivered once more. What another process takes from the queue does not come here, and this call then ends with
    /// an error.
    ///
    /// # Errors
    ///
    /// - As for [`send`](Self::send).
    /// - [`ErrorKind::Io`] if the message is stored, but nothing was heard of it in time.
    /// - What the hub says if it refuses the receiving link.
    ///
    /// In the last two cases [`CallFacts::maybe_applied`] is true.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use iothub_core::models::FeedbackStatus;
    /// use iothub_service::{CloudToDeviceMessage, ServiceClient, Target};
    /// use time::OffsetDateTime;
    ///
    /// # async fn example(service: ServiceClient, lamp: Target) -> iothub_core::Result<()> {
    /// let message = CloudToDeviceMessage {
    ///     expiry_time: Some(OffsetDateTime::now_utc() + Duration::from_secs(30)),
    ///     ..CloudToDeviceMessage::new("on")
    /// };
    /// let confirmed = service.send_and_confirm(&lamp, message, None).await?;
    /// match confirmed.record.status {
    ///     FeedbackStatus::Success => println!("the lamp is on"),
    ///     other => println!("the lamp is off: {}", other.as_str()),
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn send_and_confirm(
        &self,
        target: &Target,
        mut message: CloudToDeviceMessage,
        options: Option<SendAndConfirmOptions<'_>>,
    ) -> Result<Confirmed> {
        let options = options.unwrap_or_default();
        let patience = options.confirm_timeout.unwrap_or(CONFIRM_TIMEOUT);
        if patience.is_zero() {
            return Err(Error::with_message(
                ErrorKind::Other,
                "a confirm timeout of zero leaves no time to hear of the message; `send` waits for nothing",
            ));
        }
        let message_id = message
            .message_id
            .get_or_insert_with(|| Uuid::new_v4().to_string())
            .clone();
        message.ack = Ack::Full;
        let amqp_options = amqp::SendOptions {
            limits: self.limits_of(&options.method_options.context),
            at_least_once: options.at_least_once,
        };
        // Before it is sent, since the device may be faster than we are.
        let mut confirmation = self.feedback.confirmation(Wanted {
            message_id: message_id.clone(),
            device_id: target.device_id().to_string(),
        })?;
        let under_way = hand_over(&self.devicebound, self.message_ids, target, message, amqp_options).await?;
        let sent = under_way.settled().await?;
        let stored = CallFacts {
            attempts: sent.attempts,
            maybe_applied: true,
            ..CallFacts::default()
        };
        let sleep = get_async_runtime().sleep(patience.try_into().unwrap_or(azure_core::time::Duration::MAX));
        let failed = match select(&mut confirmation.record, pin!(sleep)).await {
            Either::Left((Ok(Ok(record)), _)) => return Ok(Confirmed { sent, record }),
            Either::Left((Ok(Err(error)), _)) => error,
            Either::Left((Err(_), _)) => Error::with_message(
                ErrorKind::Io,
                format!("the message {message_id:?} is stored, and the task that waited for its feedback ended"),
            ),
            Either::Right(_) => Error::with_message(
                ErrorKind::Io,
                format!("the message {message_id:?} is stored, and the hub told nothing of it within {patience:?}"),
            ),
        };
        Err(stored.attach(failed))
    }

    /// Deletes the messages that wait for a device, and says how many they were.
    ///
    /// Those who asked for feedback are told that they were purged. It is not repeated if the answer is lost, since it
    /// would then count others.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::DeviceNotFound`](iothub_core::HubErrorCode::DeviceNotFound).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(service: iothub_service::ServiceClient) -> iothub_core::Result<()> {
    /// let purged = service.purge_message_queue(&"lamp".parse()?, None).await?.into_model()?;
    /// println!("{} messages are gone", purged.total_messages_purged);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "PurgeMessageQueueAsync")]
    pub async fn purge_message_queue(
        &self,
        device: &DeviceId,
        options: Option<PurgeMessageQueueOptions<'_>>,
    ) -> Result<Response<PurgeMessageQueueResult>> {
        let options = options.unwrap_or_default();
        let hub = self.http()?;
        let request = hub
            .request(Method::Delete, &["devices", device.as_str(), "commands"])?
            .class(OperationClass::NonIdempotent);
        let response = hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }
}

async fn hand_over(
    link: &HubSender,
    message_ids: MessageIds,
    target: &Target,
    mut message: CloudToDeviceMessage,
    options: amqp::SendOptions,
) -> Result<UnderWay> {
    // Without an id nobody could tell a message that was sent twice from two.
    if message.message_id.is_none() && (options.at_least_once || message_ids == MessageIds::Generated) {
        message.message_id = Some(Uuid::new_v4().to_string());
    }
    let message_id = message.message_id.clone();
    let receipt = link.send(message.into_amqp(target)?, options).await?;
    Ok(UnderWay { message_id, receipt })
}

/// A message that the hub has and has not settled.
struct UnderWay {
    message_id: Option<String>,
    receipt: HubReceipt,
}

impl UnderWay {
    async fn settled(self) -> Result<Sent> {
        let sent = self.receipt.await?;
        Ok(Sent {
            message_id: self.message_id,
            attempts: sent.attempts,
        })
    }
}

/// Enough for a hub 100 ms away to take 5,000 messages a second.
const WINDOW: usize = 500;

/// The hub may keep a record for 15 seconds before it tells.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(60);

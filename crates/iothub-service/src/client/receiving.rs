use std::{num::NonZeroU32, sync::Arc};

use azure_core::{
    Error,
    error::ErrorKind,
    http::{
        Method, StatusCode,
        headers::{HeaderName, Headers},
    },
};
use iothub_core::{Result, models::FileNotification};

use super::ServiceClient;
use crate::{
    Deliveries, Delivery, FeedbackBatch, FeedbackOptions, FileNotificationOptions, ReceiveFeedbackOptions,
    intake::{CREDIT, Intake},
};

/// What the hub tells the backend.
impl ServiceClient {
    /// What became of messages that were sent with an [`Ack`](crate::Ack), as the hub tells it, without end.
    ///
    /// The hub collects records, and tells when it has 64 or 15 seconds after the last. A batch may come twice; see
    /// [`Deliveries`] for this and for who gets which.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use futures::StreamExt;
    ///
    /// # async fn example(service: iothub_service::ServiceClient) -> iothub_core::Result<()> {
    /// let mut feedback = service.feedback(None);
    /// while let Some(batch) = feedback.next().await {
    ///     let batch = batch?;
    ///     for record in &batch.records {
    ///         println!("{} to {}: {}", record.original_message_id, record.device_id, record.status.as_str());
    ///     }
    ///     batch.complete().await?;
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetFeedbackReceiver")]
    #[doc(alias = "getFeedbackReceiver")]
    pub fn feedback(&self, options: Option<FeedbackOptions>) -> Deliveries<FeedbackBatch> {
        let FeedbackOptions { credit } = options.unwrap_or_default();
        Deliveries::new(Arc::clone(&self.feedback), credit_of(credit), Intake::listen)
    }

    /// Which files devices have uploaded, as the hub tells it, without end.
    ///
    /// The hub tells only if file notifications are switched on for it. One may come twice; see [`Deliveries`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use futures::StreamExt;
    ///
    /// # async fn example(service: iothub_service::ServiceClient) -> iothub_core::Result<()> {
    /// let mut files = service.file_notifications(None);
    /// while let Some(file) = files.next().await {
    ///     let file = file?;
    ///     println!("{} has uploaded {} of {} bytes", file.device_id, file.blob_name, file.blob_size);
    ///     file.complete().await?;
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetFileNotificationReceiver")]
    #[doc(alias = "getFileNotificationReceiver")]
    pub fn file_notifications(&self, options: Option<FileNotificationOptions>) -> Deliveries<FileNotification> {
        let FileNotificationOptions { credit } = options.unwrap_or_default();
        Deliveries::new(Arc::clone(&self.file_notifications), credit_of(credit), Intake::listen)
    }

    /// Receives one batch of feedback over HTTPS, or `None` if there is none now.
    ///
    /// For networks that let no AMQP through, not even in a WebSocket; otherwise [`feedback`](Self::feedback) is told at
    /// once and need not ask. A batch whose answer gets lost on the way is locked for a minute and then comes again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DataConversion`] if the hub sent something that is no feedback. It comes again.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(service: iothub_service::ServiceClient) -> iothub_core::Result<()> {
    /// while let Some(batch) = service.receive_feedback(None).await? {
    ///     println!("heard of {} messages", batch.records.len());
    ///     batch.complete().await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn receive_feedback(
        &self,
        options: Option<ReceiveFeedbackOptions<'_>>,
    ) -> Result<Option<Delivery<FeedbackBatch>>> {
        let options = options.unwrap_or_default();
        let hub = self.http()?;
        let request = hub.request(Method::Get, &["messages", "serviceBound", "feedback"])?;
        let response = hub.send(&options.method_options.context, request).await?;
        if response.status() == StatusCode::NoContent {
            return Ok(None);
        }
        let token = lock_token(response.headers()).ok_or_else(|| {
            Error::with_message(
                ErrorKind::DataConversion,
                "the hub sent feedback without the lock token by which to settle it, so that it comes again",
            )
        })?;
        let batch = FeedbackBatch::read(response.body())?;
        Ok(Some(Delivery::over_http(batch, hub.clone(), token)))
    }
}

fn credit_of(credit: Option<NonZeroU32>) -> u32 {
    credit.map_or(CREDIT, NonZeroU32::get)
}

/// Where it stands is documented for the queues of devices only: in both of these headers.
fn lock_token(headers: &Headers) -> Option<String> {
    let names = [
        HeaderName::from_static("etag"),
        HeaderName::from_static("iothub-messagelocktoken"),
    ];
    let token = names.iter().find_map(|name| headers.get_optional_str(name))?;
    Some(token.trim_matches('"').to_owned())
}

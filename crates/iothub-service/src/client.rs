use std::{num::NonZeroUsize, sync::Arc};

use azure_core::{Error, error::ErrorKind, http::Context};
use futures::{Stream, StreamExt};
use iothub_auth::{ConnectionString, Credential};
use iothub_core::{
    CallLimits, HubHost, Result,
    amqp::{self, AmqpTransport, AmqpValue, HubConnection, HubConnectionOptions, HubReceipt, HubSender, SenderLink},
};
use uuid::Uuid;

use crate::{
    CloudToDeviceMessage, MessageIds, SendAllOptions, SendOptions, Sent, ServiceClientOptions, Target, WarmUpOptions,
};

/// Sends cloud-to-device messages.
///
/// Cheap to clone; clones share one connection, which is opened at the first call and mends itself. It is dropped with
/// the last clone. The credential needs the permission *ServiceConnect*; with Microsoft Entra ID, the role *IoT Hub Data
/// Contributor*.
///
/// # Examples
///
/// ```no_run
/// use iothub_service::{CloudToDeviceMessage, ServiceClient, Target};
///
/// # async fn example(connection_string: &str) -> iothub_core::Result<()> {
/// let service = ServiceClient::from_connection_string(connection_string, None)?;
///
/// let lamp = Target::Device("lamp".parse()?);
/// let sent = service.send(&lamp, CloudToDeviceMessage::new("on"), None).await?;
/// println!("stored at the {}. try", sent.attempts);
/// # Ok(()) }
/// ```
#[doc(alias = "MessagesClient")]
#[doc(alias = "MessagingClient")]
#[derive(Clone, Debug)]
pub struct ServiceClient {
    connection: HubConnection,
    devicebound: HubSender,
    limits: CallLimits,
    message_ids: MessageIds,
}

impl ServiceClient {
    /// A client for `host`. It connects to nothing yet.
    ///
    /// # Errors
    ///
    /// The options have no transport and the feature `fe2o3` is off, or the platform has no root certificates to check
    /// the hub's with; or the application id is not one.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use iothub_auth::DefaultAzureCredential;
    /// use iothub_core::CallLimits;
    /// use iothub_service::{MessageIds, ServiceClient, ServiceClientOptions};
    ///
    /// # fn example() -> iothub_core::Result<()> {
    /// let credential = DefaultAzureCredential::new(None)?;
    /// let options = ServiceClientOptions {
    ///     limits: CallLimits { deadline: Some(Duration::from_secs(10)), ..CallLimits::default() },
    ///     message_ids: MessageIds::Generated,
    ///     ..ServiceClientOptions::default()
    /// };
    /// let service = ServiceClient::new("my-hub.azure-devices.net".parse()?, credential, Some(options))?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "Create")]
    pub fn new(
        host: HubHost,
        credential: impl Into<Credential>,
        options: Option<ServiceClientOptions>,
    ) -> Result<Self> {
        let ServiceClientOptions {
            limits,
            amqp_transport,
            message_ids,
            application_id,
        } = options.unwrap_or_default();
        let version = client_version(application_id.as_deref())?;
        let transport = match amqp_transport {
            Some(transport) => transport,
            None => default_transport()?,
        };
        let tokens = credential.into().cbs_tokens(&host);
        let connection = HubConnection::new(host, transport, tokens, HubConnectionOptions::default());
        let devicebound = connection.sender(SenderLink {
            address: DEVICEBOUND.to_owned(),
            properties: vec![(CLIENT_VERSION.to_owned(), AmqpValue::String(version))],
        });
        Ok(Self {
            connection,
            devicebound,
            limits,
            message_ids,
        })
    }

    /// A client for the hub of a connection string, which names a shared access policy and holds its key.
    ///
    /// # Errors
    ///
    /// `text` is not the connection string of a hub, and as [`new`](Self::new).
    #[doc(alias = "CreateFromConnectionString")]
    #[doc(alias = "fromConnectionString")]
    pub fn from_connection_string(text: &str, options: Option<ServiceClientOptions>) -> Result<Self> {
        let ConnectionString { host, credential, .. } = text.parse()?;
        Self::new(host, credential, options)
    }

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
        self.hand_over(target, message, amqp_options).await?.settled().await
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
        let client = self.clone();
        messages
            .then(move |(target, message)| {
                let (client, options) = (client.clone(), options.clone());
                async move { client.hand_over(&target, message, options).await }
            })
            .map(async |handed_over| handed_over?.settled().await)
            .buffered(window.map_or(WINDOW, NonZeroUsize::get))
    }

    /// Connects and authorizes now, so that the first message does not pay for it.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    #[doc(alias = "OpenAsync")]
    pub async fn warm_up(&self, options: Option<WarmUpOptions<'_>>) -> Result<()> {
        let options = options.unwrap_or_default();
        self.devicebound
            .warm_up(self.limits_of(&options.method_options.context))
            .await
    }

    /// Ends the connection in order, for all clones. Calls that are under way fail, and later ones are refused.
    ///
    /// Not needed to free resources: dropping the last clone does that. Closing twice is the same as once.
    ///
    /// # Errors
    ///
    /// The hub did not say goodbye in time; the connection is gone all the same.
    #[doc(alias = "CloseAsync")]
    pub async fn close(&self) -> Result<()> {
        self.connection.close().await
    }

    async fn hand_over(
        &self,
        target: &Target,
        mut message: CloudToDeviceMessage,
        options: amqp::SendOptions,
    ) -> Result<UnderWay> {
        // Without an id nobody could tell a message that was sent twice from two.
        if message.message_id.is_none() && (options.at_least_once || self.message_ids == MessageIds::Generated) {
            message.message_id = Some(Uuid::new_v4().to_string());
        }
        let message_id = message.message_id.clone();
        let receipt = self.devicebound.send(message.into_amqp(target)?, options).await?;
        Ok(UnderWay { message_id, receipt })
    }

    fn limits_of(&self, context: &Context<'_>) -> CallLimits {
        let call = context.value::<CallLimits>().copied().unwrap_or_default();
        call.or(self.limits)
    }
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

/// What the hub is told about this client.
fn client_version(application_id: Option<&str>) -> Result<String> {
    let product = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
    match application_id {
        None => Ok(product.to_owned()),
        Some(id) if (1..=MAX_APPLICATION_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(format!("{id} {product}"))
        }
        Some(id) => Err(Error::with_message(
            ErrorKind::DataConversion,
            format!("{id:?} is not an application id: 1 to {MAX_APPLICATION_ID} visible ASCII characters, no space"),
        )),
    }
}

#[cfg(feature = "fe2o3")]
fn default_transport() -> Result<Arc<dyn AmqpTransport>> {
    let options = iothub_transport_amqp::AmqpOptions::default();
    Ok(Arc::new(iothub_transport_amqp::Fe2o3Transport::new(options)?))
}

#[cfg(not(feature = "fe2o3"))]
fn default_transport() -> Result<Arc<dyn AmqpTransport>> {
    Err(Error::with_message(
        ErrorKind::Other,
        "no AMQP transport: set `ServiceClientOptions::amqp_transport`, or turn on the feature `fe2o3` of iothub-service",
    ))
}

const DEVICEBOUND: &str = "/messages/devicebound";
const CLIENT_VERSION: &str = "com.microsoft:client-version";
const MAX_APPLICATION_ID: usize = 24;

/// Enough for a hub 100 ms away to take 5,000 messages a second.
const WINDOW: usize = 500;

#[cfg(test)]
mod tests;

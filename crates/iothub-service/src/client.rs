use std::sync::Arc;

use azure_core::{
    Error,
    error::ErrorKind,
    http::{ClientOptions, Context},
};
use iothub_auth::{ConnectionString, Credential};
use iothub_core::{
    CallLimits, HubHost, HubPipeline, Product, Result,
    amqp::{AmqpValue, HubConnection, HubConnectionOptions, HubSender, SenderLink},
    models::FileNotification,
};

use crate::{
    AmqpCarrier, FeedbackBatch, MessageIds, ServiceClientOptions, WarmUpOptions, amqp_carrier::CarrierInUse,
    default_transport::default_transport, intake::Intake,
};

mod messages;
mod methods;
mod receiving;
mod statistics;

/// What a backend says to its devices, and hears of them.
///
/// Messages, feedback and file notifications travel over one AMQP connection, direct methods and the rest over HTTPS.
///
/// Cheap to clone; clones share the connection, which is opened at the first call and mends itself. It is dropped with
/// the last clone and the last stream. The credential needs the permission *ServiceConnect*; with Microsoft Entra ID,
/// the role *IoT Hub Data Contributor*.
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
    /// `None` without an HTTP transport.
    hub: Option<HubPipeline>,
    connection: HubConnection,
    devicebound: HubSender,
    feedback: Arc<Intake<FeedbackBatch>>,
    file_notifications: Arc<Intake<FileNotification>>,
    carrier: CarrierInUse,
    limits: CallLimits,
    message_ids: MessageIds,
}

impl ServiceClient {
    /// A client for `host`. It connects to nothing yet.
    ///
    /// # Errors
    ///
    /// The options have no AMQP transport and the feature `fe2o3` is off, or the platform has no root certificates to
    /// check the hub's with; or the application id is not one. Without an HTTP transport only the calls that need one
    /// fail.
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
            amqp_carrier,
            amqp_transport,
            client_options,
            message_ids,
            application_id,
        } = options.unwrap_or_default();
        let version = client_version(application_id.as_deref())?;
        let carrier = CarrierInUse::default();
        let transport = match amqp_transport {
            Some(transport) => transport,
            None => default_transport(amqp_carrier, &carrier)?,
        };
        let credential = credential.into();
        let hub = pipeline(&host, &credential, client_options, application_id)?;
        let tokens = credential.cbs_tokens(&host);
        let connection = HubConnection::new(host, transport, tokens, HubConnectionOptions::default());
        let properties = vec![(CLIENT_VERSION.to_owned(), AmqpValue::String(version))];
        let devicebound = connection.sender(SenderLink {
            address: DEVICEBOUND.to_owned(),
            properties: properties.clone(),
        });
        Ok(Self {
            hub: hub.map(|hub| hub.with_limits(limits)),
            feedback: Arc::new(Intake::new(connection.clone(), properties.clone())),
            file_notifications: Arc::new(Intake::new(connection.clone(), properties)),
            connection,
            devicebound,
            carrier,
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

    /// What carries AMQP to the hub at present, or did last. With [`AmqpCarrier::Auto`] this is how to see which it has
    /// come to.
    ///
    /// `None` as long as it is not decided, and with a transport of your own.
    pub fn amqp_carrier(&self) -> Option<AmqpCarrier> {
        self.carrier.get()
    }

    /// Ends the connection in order, for all clones. Messages that are under way fail, streams end, and later calls are
    /// refused.
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

    /// The way to the hub over HTTPS.
    fn http(&self) -> Result<&HubPipeline> {
        self.connection.check_open()?;
        self.hub.as_ref().ok_or_else(|| {
            Error::with_message(
                ErrorKind::Other,
                "no HTTP transport: set `transport` in `ServiceClientOptions::client_options`, or turn on the feature \
                 `hyper` of iothub-service",
            )
        })
    }

    fn limits_of(&self, context: &Context<'_>) -> CallLimits {
        let call = context.value::<CallLimits>().copied().unwrap_or_default();
        call.or(self.limits)
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

/// The way to the hub over HTTPS, if there is an HTTP transport.
fn pipeline(
    host: &HubHost,
    credential: &Credential,
    mut options: ClientOptions,
    application_id: Option<String>,
) -> Result<Option<HubPipeline>> {
    if options.transport.is_none() && cfg!(not(feature = "hyper")) {
        return Ok(None);
    }
    options.user_agent.application_id = options.user_agent.application_id.or(application_id);
    credential.pipeline(PRODUCT, host.clone(), options).map(Some)
}

const PRODUCT: Product = Product {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
};
const DEVICEBOUND: &str = "/messages/devicebound";
const CLIENT_VERSION: &str = "com.microsoft:client-version";
const MAX_APPLICATION_ID: usize = 24;

#[cfg(test)]
mod tests;

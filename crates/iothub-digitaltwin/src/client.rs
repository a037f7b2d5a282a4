use iothub_auth::{ConnectionString, Credential};
use iothub_core::{HubHost, HubPipeline, Product, Result};

use crate::DigitalTwinClientOptions;

mod commands;
mod twins;

/// Plug and Play devices of a hub, by the words of their model.
///
/// Cheap to clone; clones share connections and tokens. There is nothing to open or close. The credential needs the
/// permission *ServiceConnect*; with Microsoft Entra ID, the role *IoT Hub Twin Contributor*, and
/// [commands](Self::invoke_command) are refused.
///
/// # Examples
///
/// ```no_run
/// use iothub_digitaltwin::{DigitalTwinClient, models::BasicDigitalTwin};
///
/// # async fn example(connection_string: &str) -> iothub_core::Result<()> {
/// let twins = DigitalTwinClient::from_connection_string(connection_string, None)?;
///
/// let twin: BasicDigitalTwin = twins.get_digital_twin(&"thermostat-7".parse()?, None).await?.parse()?;
/// println!("{} follows {:?}", twin.id, twin.metadata.model_id);
/// # Ok(()) }
/// ```
#[doc(alias = "DigitalTwinsClient")]
#[derive(Clone, Debug)]
pub struct DigitalTwinClient {
    hub: HubPipeline,
    shows_entra: bool,
}

impl DigitalTwinClient {
    /// A client for the digital twins of `host`. It sends nothing yet.
    ///
    /// # Errors
    ///
    /// The options have no transport and the feature `hyper` is off, or the platform has no root certificates to check
    /// the hub's with; or the application id in the options is not one.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use iothub_auth::SharedAccessKey;
    /// use iothub_core::CallLimits;
    /// use iothub_digitaltwin::{DigitalTwinClient, DigitalTwinClientOptions};
    ///
    /// # fn example(key: SharedAccessKey) -> iothub_core::Result<()> {
    /// let options = DigitalTwinClientOptions {
    ///     limits: CallLimits { deadline: Some(Duration::from_secs(10)), ..CallLimits::default() },
    ///     ..DigitalTwinClientOptions::default()
    /// };
    /// let twins = DigitalTwinClient::new("my-hub.azure-devices.net".parse()?, key, Some(options))?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "Create")]
    pub fn new(
        host: HubHost,
        credential: impl Into<Credential>,
        options: Option<DigitalTwinClientOptions>,
    ) -> Result<Self> {
        let DigitalTwinClientOptions {
            api_version,
            limits,
            client_options,
        } = options.unwrap_or_default();
        let credential = credential.into();
        let hub = credential.pipeline(PRODUCT, host, client_options)?.with_limits(limits);
        Ok(Self {
            hub: match api_version {
                Some(version) => hub.with_api_version(version),
                None => hub,
            },
            shows_entra: matches!(credential, Credential::Entra(_)),
        })
    }

    /// A client for the hub of a connection string, which names a shared access policy and holds its key.
    ///
    /// # Errors
    ///
    /// `text` is not the connection string of a hub, and as [`new`](Self::new).
    #[doc(alias = "CreateFromConnectionString")]
    #[doc(alias = "fromConnectionString")]
    pub fn from_connection_string(text: &str, options: Option<DigitalTwinClientOptions>) -> Result<Self> {
        let ConnectionString { host, credential, .. } = text.parse()?;
        Self::new(host, credential, options)
    }
}

const PRODUCT: Product = Product {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
};

use iothub_auth::{ConnectionString, Credential};
use iothub_core::{HubHost, HubPipeline, Product, Result};

use crate::RegistryClientOptions;

mod bulk;
mod bulk_stream;
mod configurations;
mod devices;
mod import_export;
mod keys;
mod modules;
mod parts;
mod queries;
mod race;
mod statistics;
mod twins;

/// The registry of a hub: which devices there are, and how each proves who it is.
///
/// Cheap to clone; clones share connections and tokens. There is nothing to open or close. The credential needs the
/// permission *RegistryRead* to read and *RegistryReadWrite* to write; with Microsoft Entra ID, the role *IoT Hub
/// Registry Contributor*.
///
/// # Examples
///
/// ```no_run
/// use iothub_registry::{RegistryClient, models::Device};
///
/// # async fn example(connection_string: &str) -> iothub_core::Result<()> {
/// let registry = RegistryClient::from_connection_string(connection_string, None)?;
///
/// let lamp = registry.create_device(&Device::new("lamp".parse()?), None).await?.into_model()?;
/// println!("{} is {:?}", lamp.device_id, lamp.status);
/// # Ok(()) }
/// ```
#[doc(alias = "RegistryManager")]
#[doc(alias = "Registry")]
#[doc(alias = "DevicesClient")]
#[derive(Clone, Debug)]
pub struct RegistryClient {
    hub: HubPipeline,
}

impl RegistryClient {
    /// A client for the registry of `host`. It sends nothing yet.
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
    /// use iothub_auth::DefaultAzureCredential;
    /// use iothub_core::CallLimits;
    /// use iothub_registry::{RegistryClient, RegistryClientOptions};
    ///
    /// # fn example() -> iothub_core::Result<()> {
    /// let credential = DefaultAzureCredential::new(None)?;
    /// let options = RegistryClientOptions {
    ///     limits: CallLimits { deadline: Some(Duration::from_secs(10)), ..CallLimits::default() },
    ///     ..RegistryClientOptions::default()
    /// };
    /// let registry = RegistryClient::new("my-hub.azure-devices.net".parse()?, credential, Some(options))?;
    /// # Ok(()) }
    /// ```
    pub fn new(
        host: HubHost,
        credential: impl Into<Credential>,
        options: Option<RegistryClientOptions>,
    ) -> Result<Self> {
        let RegistryClientOptions {
            api_version,
            limits,
            client_options,
        } = options.unwrap_or_default();
        let hub = credential
            .into()
            .pipeline(PRODUCT, host, client_options)?
            .with_limits(limits);
        Ok(Self {
            hub: match api_version {
                Some(version) => hub.with_api_version(version),
                None => hub,
            },
        })
    }

    /// A client for the hub of a connection string, which names a shared access policy and holds its key.
    ///
    /// # Errors
    ///
    /// `text` is not the connection string of a hub, and as [`new`](Self::new).
    #[doc(alias = "CreateFromConnectionString")]
    #[doc(alias = "fromConnectionString")]
    pub fn from_connection_string(text: &str, options: Option<RegistryClientOptions>) -> Result<Self> {
        let ConnectionString { host, credential, .. } = text.parse()?;
        Self::new(host, credential, options)
    }
}

const PRODUCT: Product = Product {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
};

#[cfg(test)]
mod tests {
    use azure_core::http::StatusCode;
    use iothub_auth::SharedAccessKey;
    use iothub_core::testing::{HttpAnswer, ScriptedHttp};

    use super::*;

    #[tokio::test]
    async fn a_client_speaks_the_version_that_it_was_made_with() -> Result<()> {
        for (asked, spoken) in [(None, "2021-04-12"), (Some("2030-01-01-preview"), "2030-01-01-preview")] {
            let http = ScriptedHttp::always(HttpAnswer::new(StatusCode::Ok, "[]"));
            let options = RegistryClientOptions {
                api_version: asked.map(str::to_owned),
                client_options: http.client_options(),
                ..RegistryClientOptions::default()
            };
            let key = SharedAccessKey::new("owner", "bm90LWEtcmVhbC1rZXktanVzdC1mb3ItdGhlLXRlc3Q=")?;
            let registry = RegistryClient::new("hub.example".parse()?, key, Some(options))?;

            registry.clone().list_jobs(None).await?;
            registry.list_configurations(None).await?;

            let paths = ["GET /jobs", "GET /configurations"];
            let expected = paths.map(|path| format!("{path}?api-version={spoken}"));
            assert_eq!(http.seen(), expected);
        }
        Ok(())
    }
}

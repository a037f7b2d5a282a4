use std::{collections::HashMap, path::Path, sync::Arc};

use azure_core::{Bytes, cloud::CustomConfiguration, error::ErrorKind, http::ClientOptions};
use iothub::{
    ConnectionString, Credential, DefaultAzureCredential, DeviceId, Error, HubHost, Result,
    auth::Environment,
    digitaltwin::{DigitalTwinClient, DigitalTwinClientOptions},
    jobs::{JobClient, JobClientOptions},
    registry::{RegistryClient, RegistryClientOptions},
    service::{ServiceClient, ServiceClientOptions},
};
use iothub_emulator::{Device, Emulator, EmulatorOptions};
use iothub_transport_amqp::{AmqpOptions, Carrier, Fe2o3Transport};
use iothub_transport_http::{HyperOptions, HyperTransport};
use tempfile::TempDir;

use crate::Container;

/// A hub, and what reaches it: a real one, or the emulator in this process.
///
/// The two differ in the host, in the root of trust and in where settings come from, and in nothing else.
#[derive(Debug)]
pub struct Stage {
    /// Where the hub is.
    pub host: HubHost,
    /// Somebody who may do everything.
    pub credential: Credential,
    /// The emulator, if it is not a real hub.
    pub emulator: Option<Emulator>,
    http: HyperTransport,
    roots: Vec<Bytes>,
    settings: Option<HashMap<String, String>>,
    // Removed at the end: the emulator keeps its certificates and token files in it.
    _folder: Option<TempDir>,
}

impl Stage {
    /// The hub that the command line and the environment ask for:
    ///
    /// - `--hub HOST`: that one, with `DefaultAzureCredential`;
    /// - `IOTHUB_CONNECTION_STRING`: the hub of that;
    /// - neither: the emulator.
    pub async fn open() -> Result<Self> {
        let mut arguments = std::env::args().skip_while(|argument| argument != "--hub");
        if let (Some(_), Some(host)) = (arguments.next(), arguments.next()) {
            return Self::azure(host.parse()?);
        }
        if let Ok(text) = std::env::var("IOTHUB_CONNECTION_STRING") {
            let ConnectionString { host, credential, .. } = text.parse()?;
            return Self::real(host, credential);
        }
        Self::emulator().await
    }

    /// A hub in Azure. Credentials take their settings from the environment of this process.
    pub fn azure(host: HubHost) -> Result<Self> {
        Self::real(host, DefaultAzureCredential::new(None)?.into())
    }

    fn real(host: HubHost, credential: Credential) -> Result<Self> {
        Ok(Self {
            host,
            credential,
            emulator: None,
            http: HyperTransport::shared()?,
            roots: Vec::new(),
            settings: None,
            _folder: None,
        })
    }

    /// A hub in this process, on free ports, with a root certificate made for it and a tenant that knows one app.
    pub async fn emulator() -> Result<Self> {
        let folder = TempDir::new().map_err(|error| Error::new(ErrorKind::Io, error))?;
        let data_dir = Some(folder.path().to_owned());
        let emulator = Emulator::start(EmulatorOptions {
            data_dir,
            // The directory is for the files of apps, and goes with the example.
            ephemeral: true,
            ..Default::default()
        })
        .await?;
        let roots = vec![Bytes::from(emulator.root_certificate().to_owned())];
        let options = HyperOptions {
            extra_roots: roots.clone(),
            ..Default::default()
        };
        let owner = emulator.connection_string("iothubowner").unwrap_or_default();
        let ConnectionString { credential, .. } = owner.parse()?;
        Ok(Self {
            host: emulator.host().clone(),
            credential,
            http: HyperTransport::new(options)?,
            roots,
            settings: Some(settings_of(&emulator)),
            emulator: Some(emulator),
            _folder: Some(folder),
        })
    }

    /// The registry of the hub.
    pub fn registry(&self) -> Result<RegistryClient> {
        let options = RegistryClientOptions {
            client_options: self.client_options(),
            ..Default::default()
        };
        RegistryClient::new(self.host.clone(), self.credential.clone(), Some(options))
    }

    /// The scheduled jobs of the hub.
    pub fn jobs(&self) -> Result<JobClient> {
        let options = JobClientOptions {
            client_options: self.client_options(),
            ..Default::default()
        };
        JobClient::new(self.host.clone(), self.credential.clone(), Some(options))
    }

    /// What talks to the devices of the hub.
    pub fn service(&self, carrier: Carrier) -> Result<ServiceClient> {
        let options = ServiceClientOptions {
            amqp_transport: Some(Arc::new(self.amqp(carrier)?)),
            client_options: self.client_options(),
            ..Default::default()
        };
        ServiceClient::new(self.host.clone(), self.credential.clone(), Some(options))
    }

    /// What knows the devices of the hub by their models.
    pub fn digital_twins(&self) -> Result<DigitalTwinClient> {
        let options = DigitalTwinClientOptions {
            client_options: self.client_options(),
            ..Default::default()
        };
        DigitalTwinClient::new(self.host.clone(), self.credential.clone(), Some(options))
    }

    /// The other end: a device of the emulator, in this process. A real hub has to have a real one.
    pub fn device(&self, id: &DeviceId) -> Result<Option<Device>> {
        let emulator = self.emulator.as_ref();
        emulator.map(|emulator| emulator.device(id.as_str())).transpose()
    }

    /// A blob container for jobs: `IOTHUB_CONTAINER_URI` with its signature for a real hub, one of the emulator's else.
    pub fn container(&self) -> Result<Container> {
        let signed = match &self.emulator {
            Some(emulator) => emulator.blob_container("examples")?.sas_uri(),
            None => self.setting("IOTHUB_CONTAINER_URI")?,
        };
        Container::new(&signed, self.client_options())
    }

    /// The environment that credentials read.
    pub fn environment(&self) -> Environment {
        match &self.settings {
            Some(settings) => settings.clone().into_iter().collect(),
            None => Environment::process(),
        }
    }

    /// One setting of it.
    pub fn setting(&self, name: &str) -> Result<String> {
        let value = match &self.settings {
            Some(settings) => settings.get(name).cloned(),
            None => std::env::var(name).ok(),
        };
        value.ok_or_else(|| Error::with_message(ErrorKind::Other, format!("{name} is not set")))
    }

    /// Options that make a client trust the hub. Clones share one pool of connections.
    pub fn client_options(&self) -> ClientOptions {
        ClientOptions {
            transport: Some(self.http.clone().into()),
            ..Default::default()
        }
    }

    /// Options that make a credential trust the authority, and ask it for tokens rather than the public cloud.
    pub fn token_options(&self) -> ClientOptions {
        let cloud = self.settings.as_ref().map(|settings| {
            let mut emulator = CustomConfiguration::default();
            emulator.authority_host = settings["AZURE_AUTHORITY_HOST"].clone();
            Arc::new(emulator.into())
        });
        ClientOptions {
            cloud,
            ..self.client_options()
        }
    }

    /// Certificates of authorities to trust besides the platform's: the emulator's, if it is the hub.
    pub fn roots(&self) -> &[Bytes] {
        &self.roots
    }

    /// An AMQP transport that trusts the hub.
    pub fn amqp(&self, carrier: Carrier) -> Result<Fe2o3Transport> {
        Fe2o3Transport::new(AmqpOptions {
            carrier,
            extra_roots: self.roots.clone(),
            ..Default::default()
        })
    }
}

/// What somebody who set up the app in Azure would have put into the environment.
fn settings_of(emulator: &Emulator) -> HashMap<String, String> {
    let entra = emulator.entra();
    let app = entra.application();
    let file = |path: Option<&Path>| path.unwrap_or("".as_ref()).display().to_string();
    let settings = [
        ("AZURE_AUTHORITY_HOST", entra.authority()),
        ("AZURE_TENANT_ID", entra.tenant_id().to_owned()),
        ("AZURE_CLIENT_ID", app.client_id().to_owned()),
        ("AZURE_CLIENT_SECRET", app.client_secret().to_owned()),
        ("AZURE_CLIENT_CERTIFICATE_PATH", file(entra.pkcs12_file())),
        (
            "AZURE_CLIENT_CERTIFICATE_PASSWORD",
            app.certificate_password().to_owned(),
        ),
        ("AZURE_FEDERATED_TOKEN_FILE", file(entra.federated_token_file())),
        ("IDENTITY_ENDPOINT", entra.identity_endpoint()),
        ("IDENTITY_HEADER", entra.identity_header().to_owned()),
    ];
    settings.map(|(name, value)| (name.to_owned(), value)).into()
}

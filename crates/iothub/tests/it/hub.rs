use std::{collections::HashMap, sync::Arc};

use azure_core::http::ClientOptions;
use iothub::{
    Credential, Error, HubError, HubErrorCode, Result,
    auth::{DefaultAzureCredential, DefaultAzureCredentialOptions, Environment},
    models::Device,
    registry::{RegistryClient, RegistryClientOptions},
    service::{CloudToDeviceMessage, Sent, ServiceClient, ServiceClientOptions, Target},
};
use iothub_emulator::{AmqpEvent, Emulator, EmulatorOptions, EntraOptions, Event};
use iothub_transport_amqp::{AmqpOptions, Carrier, Fe2o3Transport};
use iothub_transport_http::{HyperOptions, HyperTransport};

/// A local hub with a lamp, and whatever a backend needs to reach it.
pub(crate) struct Hub {
    pub(crate) emulator: Emulator,
    http: HyperTransport,
}

/// A backend: both clients of one credential.
pub(crate) struct Backend {
    pub(crate) registry: RegistryClient,
    pub(crate) service: ServiceClient,
}

impl Hub {
    pub(crate) async fn with_a_lamp() -> Self {
        Self::with_a_lamp_and(EntraOptions::default()).await
    }

    pub(crate) async fn with_a_lamp_and(entra: EntraOptions) -> Self {
        let options = EmulatorOptions {
            entra,
            ..Default::default()
        };
        let emulator = Emulator::start(options).await.unwrap();
        let options = HyperOptions {
            extra_roots: vec![root(&emulator)],
            ..Default::default()
        };
        let http = HyperTransport::new(options).unwrap();
        let hub = Self { emulator, http };
        let text = hub.emulator.connection_string("iothubowner").unwrap();
        let owner = RegistryClient::from_connection_string(&text, Some(hub.registry_options())).unwrap();
        owner
            .create_device(&Device::new("lamp".parse().unwrap()), None)
            .await
            .unwrap();
        hub
    }

    /// What `DefaultAzureCredential` makes of the app's secret in the environment.
    pub(crate) fn app(&self) -> Credential {
        let entra = self.emulator.entra();
        let environment: Environment = HashMap::from([
            ("AZURE_AUTHORITY_HOST", entra.authority()),
            ("AZURE_TENANT_ID", entra.tenant_id().to_owned()),
            ("AZURE_CLIENT_ID", entra.application().client_id().to_owned()),
            ("AZURE_CLIENT_SECRET", entra.application().client_secret().to_owned()),
        ])
        .into_iter()
        .collect();
        let client_options = self.client_options();
        let options = DefaultAzureCredentialOptions {
            environment,
            client_options,
            ..Default::default()
        };
        DefaultAzureCredential::new(Some(options)).unwrap().into()
    }

    pub(crate) fn backend(&self, credential: impl Into<Credential>, carrier: Carrier) -> Backend {
        let (host, credential) = (self.emulator.host(), credential.into());
        let options = Some(self.registry_options());
        let registry = RegistryClient::new(host.clone(), credential.clone(), options).unwrap();
        let amqp = AmqpOptions {
            carrier,
            extra_roots: vec![root(&self.emulator)],
            ..Default::default()
        };
        let options = ServiceClientOptions {
            amqp_transport: Some(Arc::new(Fe2o3Transport::new(amqp).unwrap())),
            client_options: self.client_options(),
            ..Default::default()
        };
        let service = ServiceClient::new(host.clone(), credential, Some(options)).unwrap();
        Backend { registry, service }
    }

    /// How often something happened on AMQP connections.
    pub(crate) fn happened(&self, is_it: impl Fn(&AmqpEvent) -> bool) -> usize {
        let journal = self.emulator.journal();
        journal.count(|event| matches!(event, Event::Amqp { event, .. } if is_it(event)))
    }

    /// How often somebody showed the hub a token, good or bad.
    pub(crate) fn tokens_shown(&self) -> usize {
        let requests = self
            .emulator
            .journal()
            .count(|event| matches!(event, Event::Request { .. }));
        requests + self.happened(|event| matches!(event, AmqpEvent::TokenPut { .. }))
    }

    fn registry_options(&self) -> RegistryClientOptions {
        RegistryClientOptions {
            client_options: self.client_options(),
            ..Default::default()
        }
    }

    pub(crate) fn client_options(&self) -> ClientOptions {
        ClientOptions {
            transport: Some(self.http.clone().into()),
            ..Default::default()
        }
    }
}

impl Backend {
    pub(crate) async fn read(&self) -> Result<Device> {
        self.registry.get_device(&"lamp".parse()?, None).await?.into_model()
    }

    pub(crate) async fn switch_on(&self) -> Result<Sent> {
        let lamp = Target::Device("lamp".parse()?);
        self.service.send(&lamp, CloudToDeviceMessage::new("on"), None).await
    }
}

pub(crate) fn code(error: &Error) -> Option<&HubErrorCode> {
    HubError::of(error).map(|hub| &hub.code)
}

fn root(emulator: &Emulator) -> azure_core::Bytes {
    emulator.root_certificate().to_owned().into()
}

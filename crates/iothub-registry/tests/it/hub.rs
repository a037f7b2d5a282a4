use azure_core::http::ClientOptions;
use iothub_core::{
    CallLimits, Error, HubError, HubErrorCode, Result,
    models::{Device, Twin},
};
use iothub_emulator::{Emulator, EmulatorOptions, Event, Operation};
use iothub_registry::{IfMatch, RegistryClient, RegistryClientOptions, UpdateDeviceOptions, models::DeviceStatus};
use iothub_transport_http::{HyperOptions, HyperTransport};

/// A local hub and the client of its owner.
pub(crate) struct Hub {
    pub(crate) emulator: Emulator,
    pub(crate) registry: RegistryClient,
}

impl Hub {
    pub(crate) async fn empty() -> Self {
        let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
        let registry = client(&emulator, "iothubowner", CallLimits::default());
        Self { emulator, registry }
    }

    pub(crate) async fn with_devices<const N: usize>(ids: [&str; N]) -> Self {
        let hub = Self::empty().await;
        for id in ids {
            let device = Device::new(id.parse().unwrap());
            hub.registry.create_device(&device, None).await.unwrap();
        }
        hub
    }

    pub(crate) async fn device(&self, id: &str) -> Result<Device> {
        self.registry.get_device(&id.parse()?, None).await?.into_model()
    }

    pub(crate) async fn twin(&self, id: &str) -> Result<Twin> {
        self.registry.get_twin(&id.parse()?, None).await?.into_model()
    }

    /// Another client changes an identity.
    pub(crate) async fn somebody_disables(&self, id: &str) -> Result<()> {
        let mut device = self.device(id).await?;
        device.status = DeviceStatus::Disabled;
        let anyway = UpdateDeviceOptions {
            if_match: Some(IfMatch::Any),
            ..UpdateDeviceOptions::default()
        };
        self.registry.update_device(&device, Some(anyway)).await?;
        Ok(())
    }

    /// A client that shows the key of another policy.
    pub(crate) fn registry_of(&self, policy: &str) -> RegistryClient {
        client(&self.emulator, policy, CallLimits::default())
    }

    /// A client that tries once.
    pub(crate) fn impatient_registry(&self) -> RegistryClient {
        let limits = CallLimits {
            tries: Some(1),
            ..CallLimits::default()
        };
        client(&self.emulator, "iothubowner", limits)
    }

    /// What the hub has really done to a device.
    pub(crate) fn executed(&self, wanted: Operation, id: &str) -> usize {
        let is_it =
            |event: &Event| matches!(event, Event::Executed { operation, on } if *operation == wanted && on == id);
        self.emulator.journal().count(is_it)
    }
}

/// Options with a transport that trusts this emulator.
pub(crate) fn options(emulator: &Emulator) -> RegistryClientOptions {
    let transport = HyperTransport::new(HyperOptions {
        extra_roots: vec![emulator.root_certificate().to_owned().into()],
        ..HyperOptions::default()
    });
    RegistryClientOptions {
        client_options: ClientOptions {
            transport: Some(transport.unwrap().into()),
            ..ClientOptions::default()
        },
        ..RegistryClientOptions::default()
    }
}

pub(crate) fn code(error: &Error) -> Option<&HubErrorCode> {
    HubError::of(error).map(|hub| &hub.code)
}

fn client(emulator: &Emulator, policy: &str, limits: CallLimits) -> RegistryClient {
    let text = emulator.connection_string(policy).unwrap();
    let options = RegistryClientOptions {
        limits,
        ..options(emulator)
    };
    RegistryClient::from_connection_string(&text, Some(options)).unwrap()
}

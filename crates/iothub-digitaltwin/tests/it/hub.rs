use std::time::Duration;

use azure_core::http::ClientOptions;
use iothub_auth::{ConnectionString, Credential};
use iothub_core::{CallFacts, Error, HubError, HubErrorCode, Result};
use iothub_digitaltwin::{
    Command, CommandResponse, DigitalTwinClient, DigitalTwinClientOptions, DigitalTwinId, JsonPatch,
    UpdatedDigitalTwin, models::BasicDigitalTwin,
};
use iothub_emulator::{DesiredChange, DesiredChanges, Device, Emulator, EmulatorOptions, Event};
use iothub_transport_http::{HyperOptions, HyperTransport, Proxy};
use serde_json::Value;
use tempfile::TempDir;

/// A local hub with one Plug and Play device, and a client for its digital twin.
pub(crate) struct Hub {
    pub(crate) emulator: Emulator,
    pub(crate) device: Device,
    pub(crate) twins: DigitalTwinClient,
    pub(crate) id: DigitalTwinId,
    _folder: TempDir,
}

impl Hub {
    /// The device follows `model`.
    pub(crate) async fn with_a_device(model: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let emulator = Emulator::start(EmulatorOptions {
            data_dir: Some(folder.path().to_owned()),
            ..Default::default()
        });
        let emulator = emulator.await.unwrap();
        let device = emulator.add_device("device").unwrap();
        device.announce_model(model).unwrap();
        let twins = client(&emulator, key(&emulator, "service"), Proxy::default());
        Self {
            emulator,
            device,
            twins,
            id: "device".parse().unwrap(),
            _folder: folder,
        }
    }

    /// The same client for somebody else.
    pub(crate) fn twins_of(&self, credential: impl Into<Credential>) -> DigitalTwinClient {
        client(&self.emulator, credential, Proxy::default())
    }

    pub(crate) fn twins_through(&self, proxy: Proxy) -> DigitalTwinClient {
        client(&self.emulator, key(&self.emulator, "service"), proxy)
    }

    pub(crate) async fn twin(&self) -> Result<BasicDigitalTwin> {
        self.twins.get_digital_twin(&self.id, None).await?.parse()
    }

    pub(crate) async fn update(&self, patch: &JsonPatch) -> Result<UpdatedDigitalTwin> {
        self.twins.update_digital_twin(&self.id, patch, None).await
    }

    pub(crate) async fn invoke(&self, command: &Command) -> Result<CommandResponse> {
        soon("the answer", self.twins.invoke_command(&self.id, command, None)).await
    }

    /// How often the device was asked to run something.
    pub(crate) fn runs(&self) -> usize {
        self.emulator
            .journal()
            .count(|event| matches!(event, Event::MethodInvoked { .. }))
    }

    /// Options that make a client or credential trust the emulator.
    pub(crate) fn client_options(&self) -> ClientOptions {
        client_options(&self.emulator, Proxy::default())
    }
}

/// What the device hears of next.
pub(crate) async fn heard(changes: &mut DesiredChanges) -> (u64, Value) {
    let DesiredChange { version, patch, .. } = soon("a change", changes.recv()).await.expect("the device is connected");
    (version, serde_json::from_str(&patch).unwrap())
}

pub(crate) fn key(emulator: &Emulator, policy: &str) -> Credential {
    let ConnectionString { credential, .. } = emulator.connection_string(policy).unwrap().parse().unwrap();
    credential
}

pub(crate) fn code(error: &Error) -> Option<&HubErrorCode> {
    HubError::of(error).map(|hub| &hub.code)
}

pub(crate) fn maybe_applied(error: &Error) -> bool {
    CallFacts::of(error)
        .expect("every error of a call has facts")
        .maybe_applied
}

/// What is awaited comes, or the test fails: a story has no other deadline.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(Duration::from_secs(60), future).await;
    result.unwrap_or_else(|_| panic!("{what}: not within a minute"))
}

fn client(emulator: &Emulator, credential: impl Into<Credential>, proxy: Proxy) -> DigitalTwinClient {
    let options = DigitalTwinClientOptions {
        client_options: client_options(emulator, proxy),
        ..Default::default()
    };
    DigitalTwinClient::new(emulator.host().clone(), credential, Some(options)).unwrap()
}

fn client_options(emulator: &Emulator, proxy: Proxy) -> ClientOptions {
    let options = HyperOptions {
        extra_roots: vec![emulator.root_certificate().to_owned().into()],
        proxy,
        ..HyperOptions::default()
    };
    ClientOptions {
        transport: Some(HyperTransport::new(options).unwrap().into()),
        ..ClientOptions::default()
    }
}

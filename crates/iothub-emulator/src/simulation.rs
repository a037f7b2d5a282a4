//! Built-in devices that speak MQTT over real sockets, so that a hub has life in it.

mod simulated_device;

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use azure_core::error::{ErrorKind, ResultExt};
use iothub_core::{DeviceId, Error, Result};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use self::simulated_device::SimulatedDevice;
use crate::hub::{Hub, Target};

/// Devices that run until this is dropped; see [`Emulator::simulate`](crate::Emulator::simulate).
pub struct Simulation {
    fleet: Arc<Fleet>,
    devices: JoinSet<()>,
}

/// What the devices of a simulation share.
struct Fleet {
    hub: Hub,
    address: SocketAddr,
    name: ServerName<'static>,
    tls: TlsConnector,
    interval: Duration,
    /// A handshake costs more than everything after it, so that only some are made at once.
    handshakes: Semaphore,
    connected: AtomicUsize,
    changed: Notify,
}

impl Simulation {
    /// Makes the devices that are not there, and sets all going.
    pub(crate) fn start(
        hub: &Hub,
        address: SocketAddr,
        root_certificate: &str,
        count: usize,
        interval: Duration,
    ) -> Result<Self> {
        if interval.is_zero() {
            let text = "simulated devices wait for some time between two messages, and not for none";
            return Err(Error::with_message(ErrorKind::Other, text));
        }
        let fleet = Arc::new(Fleet {
            hub: hub.clone(),
            address,
            name: ServerName::try_from(hub.name().to_owned())
                .with_context(ErrorKind::Other, "the hub's name is none that certificates have")?,
            tls: connector(root_certificate)?,
            interval,
            handshakes: Semaphore::new(HANDSHAKES),
            connected: AtomicUsize::new(0),
            changed: Notify::new(),
        });
        let mut devices = JoinSet::new();
        for number in 1..=count {
            let id: DeviceId = format!("simulated-{number:04}").parse()?;
            hub.add_device(&id)?;
            let device = SimulatedDevice::new(Arc::clone(&fleet), Target::Device(id));
            devices.spawn(device.live());
        }
        Ok(Self { fleet, devices })
    }

    /// How many devices it has.
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// How many of them are connected now.
    pub fn connected(&self) -> usize {
        self.fleet.connected.load(Ordering::Acquire)
    }

    /// Returns when all of them are connected.
    pub async fn all_connected(&self) {
        loop {
            let changed = self.fleet.changed.notified();
            tokio::pin!(changed);
            // Registered before the count is read, so that the last device is not missed.
            changed.as_mut().enable();
            if self.connected() == self.devices() {
                return;
            }
            changed.await;
        }
    }
}

impl Fleet {
    fn count(&self, came: bool) {
        if came {
            self.connected.fetch_add(1, Ordering::AcqRel);
        } else {
            self.connected.fetch_sub(1, Ordering::AcqRel);
        }
        self.changed.notify_waiters();
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("devices", &self.devices())
            .field("connected", &self.connected())
            .finish_non_exhaustive()
    }
}

fn connector(root_certificate: &str) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    CertificateDer::from_pem_slice(root_certificate.as_bytes())
        .with_context(ErrorKind::DataConversion, "reading the root certificate")
        .and_then(|root| {
            roots
                .add(root)
                .with_context(ErrorKind::DataConversion, "trusting the root certificate")
        })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .with_context(ErrorKind::Other, "setting up TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

const HANDSHAKES: usize = 32;

use std::{
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use azure_core::error::{ErrorKind, ResultExt};
use iothub_core::{Error, HubHost, ModuleId, Result};
use tokio::task::JoinSet;
use tracing::debug;

use crate::{
    BlobContainer, Device, EmulatorOptions, Simulation, TelemetryEvent,
    acceptor::{accept, encrypted, plain, presented},
    amqp,
    blob::{Account, BlobClient, Containers, DeviceFiles, ForeignFiles},
    entra::{Entra, door},
    http::{self, Rooms},
    hub::{Clock, Door, Faults, Hub, Journal, Target, authentication::Key, policy},
    listener::{listen, port},
    management::{self, Management},
    mqtt,
    state::State,
    stop::Stopper,
    store::{Store, Storing, transfer},
    tls::{CertificateAuthority, Encryption},
    transfer::Dispatcher,
};

/// A hub in this process, on real sockets with real TLS.
///
/// It ends with this value: dropping it closes every connection at once, [`shutdown`](Self::shutdown) lets requests
/// under way finish.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> iothub_core::Result<()> {
/// use iothub_emulator::{Emulator, EmulatorOptions};
///
/// let emulator = Emulator::start(EmulatorOptions::default()).await?;
/// let text = emulator.connection_string("service").unwrap_or_default();
/// assert!(text.starts_with("HostName=localhost:"));
/// assert!(emulator.root_certificate().starts_with("-----BEGIN CERTIFICATE-----"));
/// emulator.shutdown().await;
/// # Ok(()) }
/// ```
pub struct Emulator {
    hub: Hub,
    entra: Entra,
    account: Account,
    host: HubHost,
    mqtts_address: SocketAddr,
    root_certificate: String,
    data_dir: Option<PathBuf>,
    /// Where the management API is, and the token for it.
    management: Option<(SocketAddr, String)>,
    state: State,
    stopping: Stopper,
    doors: JoinSet<()>,
    /// Dropped last: what is done until then is stored.
    _storing: Option<Storing>,
}

impl Emulator {
    /// Starts a hub and returns when every door is open.
    ///
    /// # Errors
    ///
    /// An option cannot be right, a port is taken or not allowed, or the data directory cannot be read and written.
    pub async fn start(options: EmulatorOptions) -> Result<Self> {
        options.check()?;
        let data_dir = options.data_dir.as_deref();
        if let Some(directory) = data_dir {
            fs::create_dir_all(directory)
                .with_context_fn(ErrorKind::Io, || format!("making {}", directory.display()))?;
        }
        let authority = match data_dir {
            Some(directory) => CertificateAuthority::in_directory(directory)?,
            None => CertificateAuthority::generate()?,
        };
        let https = listen(options.bind, options.https_port, "https_port").await?;
        let amqps = listen(options.bind, options.amqps_port, "amqps_port").await?;
        let mqtts = listen(options.bind, options.mqtts_port, "mqtts_port").await?;
        let tokens = listen(options.bind, options.entra.port, "entra.port").await?;
        // It gives tokens to whoever is on this machine, so it is never for others.
        let loopback = if options.bind.is_loopback() {
            options.bind
        } else {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        };
        let identities = listen(loopback, options.entra.identity_port, "entra.identity_port").await?;
        let management = match options.management_port {
            Some(port) => Some(listen(loopback, port, "management_port").await?),
            None => None,
        };
        let host: HubHost = format!("{}:{}", options.host, port(&https)?).parse()?;
        let host = host.with_amqps_port(port(&amqps)?);
        let policies = policy::open(data_dir, &options.hub.policies)?;
        let hub = Hub::with_options(names(host.name()), policies, options.hub);
        let state = State {
            containers: Containers::new(hub.changes())?,
            hub: hub.clone(),
        };
        let storing = match data_dir.filter(|_| !options.ephemeral) {
            Some(directory) => {
                let store = Store::open(directory, &state)?;
                if let Some(file) = options.seed.as_deref().filter(|_| store.is_new()) {
                    transfer::seed(&state, file)?;
                }
                Some(store.start()?)
            }
            None => {
                if let Some(file) = &options.seed {
                    transfer::seed(&state, file)?;
                }
                None
            }
        };
        hub.provision()?;
        hub.serve_amqps_at(host.amqps_port());
        let doors = (port(&tokens)?, SocketAddr::new(loopback, port(&identities)?));
        let entra = Entra::open(options.entra, &hub, doors, options.data_dir.clone()).await?;
        hub.verify_bearer_with(Box::new(entra.clone()));
        for authority in &options.device_authorities {
            hub.trust_device_authority(authority)?;
        }

        let stopping = Stopper::new();
        let mut doors = JoinSet::new();
        let (clockwork, stop) = (hub.clone().keep_time(), stopping.listener());
        doors.spawn(async move {
            tokio::select! {
                () = clockwork => {}
                () = stop.requested() => {}
            }
        });
        let (engine, stop) = (hub.clone().work_on_jobs(), stopping.listener());
        doors.spawn(async move {
            tokio::select! {
                () = engine => {}
                () = stop.requested() => {}
            }
        });
        let authority = Arc::new(authority);
        let tls = Encryption::new(&authority, host.name(), &[b"h2", b"http/1.1"])?;
        let account = Account::new(
            &format!("https://{host}"),
            &hub,
            entra.clone(),
            state.containers.clone(),
        );
        let client = BlobClient::new(authority.certificate_pem());
        hub.keep_files_in(match &options.file_uploads {
            None => Box::new(DeviceFiles::new(account.clone())),
            Some(foreign) => {
                let files = ForeignFiles::new(foreign, client.clone(), hub.clock().clone());
                let unusable = |error| Error::with_message(ErrorKind::Other, format!("file_uploads: {error}"));
                Box::new(files.map_err(unusable)?)
            }
        });
        let (dispatcher, worker) = Dispatcher::new(hub.clone(), entra.clone(), client);
        doors.spawn(worker.work(stopping.listener()));
        let rooms = Rooms {
            hub: hub.clone(),
            dispatcher,
            account: account.clone(),
        };
        let (secure, at_fault) = (encrypted(&tls), Some(hub.clone()));
        doors.spawn(accept(
            https,
            secure,
            at_fault.clone(),
            stopping.listener(),
            move |stream, stop| {
                let certificates = presented(&stream);
                http::serve(stream, certificates, rooms.clone(), stop)
            },
        ));
        let (secure, inside) = (encrypted(&tls), entra.clone());
        doors.spawn(accept(
            tokens,
            secure,
            None,
            stopping.listener(),
            move |stream, stop| door::serve_tokens(stream, inside.clone(), stop),
        ));
        let inside = entra.clone();
        doors.spawn(accept(
            identities,
            plain,
            None,
            stopping.listener(),
            move |stream, stop| door::serve_identities(stream, inside.clone(), stop),
        ));
        let management = match management {
            None => None,
            Some(listener) => {
                let inside = Management {
                    hub: hub.clone(),
                    token: Key::generated()?.to_base64(),
                };
                let reached = (SocketAddr::new(loopback, port(&listener)?), inside.token.clone());
                let secure = encrypted(&tls);
                doors.spawn(accept(
                    listener,
                    secure,
                    None,
                    stopping.listener(),
                    move |stream, stop| management::serve(stream, inside.clone(), stop),
                ));
                Some(reached)
            }
        };
        let tls = Encryption::new(&authority, host.name(), &[])?;
        let inside = hub.clone();
        doors.spawn(accept(
            amqps,
            encrypted(&tls),
            at_fault.clone(),
            stopping.listener(),
            move |stream, stop| {
                let certificates = presented(&stream);
                amqp::serve(stream, certificates, inside.clone(), Door::Amqp, stop)
            },
        ));
        let mqtts_address = SocketAddr::new(options.bind, port(&mqtts)?);
        let inside = hub.clone();
        doors.spawn(accept(
            mqtts,
            encrypted(&tls),
            at_fault,
            stopping.listener(),
            move |stream, stop| {
                let certificates = presented(&stream);
                mqtt::serve(stream, certificates, inside.clone(), Door::Mqtt, stop)
            },
        ));
        Ok(Self {
            hub,
            entra,
            account,
            host,
            mqtts_address,
            root_certificate: authority.certificate_pem().to_owned(),
            data_dir: options.data_dir,
            management,
            state,
            stopping,
            doors,
            _storing: storing,
        })
    }

    /// Where clients of services find the hub: its name and both ports.
    pub fn host(&self) -> &HubHost {
        &self.host
    }

    /// Where devices find the hub that speak MQTT over TLS.
    pub fn mqtts_port(&self) -> u16 {
        self.mqtts_address.port()
    }

    /// Connects `count` built-in devices over MQTT, with TLS and tokens as any other, to show what a hub with life in it
    /// looks like. Their ids are `simulated-0001` and so on; those that do not exist are made.
    ///
    /// Each sends a message every `interval`, such as `{"temperature":21.4,"count":7}`, answers every method with its
    /// name and payload, and reports the desired properties that it is given. The desired property `telemetryInterval`
    /// is the time between its messages, in seconds. They go on until the simulation is dropped, through restarts of
    /// their connections.
    ///
    /// # Errors
    ///
    /// The interval is zero, or the host of the hub is no name that a certificate can have.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> iothub_core::Result<()> {
    /// use std::time::Duration;
    ///
    /// use iothub_emulator::{Emulator, EmulatorOptions};
    ///
    /// let emulator = Emulator::start(EmulatorOptions::default()).await?;
    /// let simulation = emulator.simulate(3, Duration::from_secs(10))?;
    /// simulation.all_connected().await;
    /// assert_eq!(simulation.connected(), 3);
    /// # Ok(()) }
    /// ```
    pub fn simulate(&self, count: usize, interval: Duration) -> Result<Simulation> {
        let mut address = self.mqtts_address;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        Simulation::start(&self.hub, address, &self.root_certificate, count, interval)
    }

    /// The certificate of the authority that signed every certificate of this emulator, in PEM.
    pub fn root_certificate(&self) -> &str {
        &self.root_certificate
    }

    /// Where the root certificate lies, if there is a data directory.
    pub fn root_certificate_file(&self) -> Option<PathBuf> {
        Some(self.data_dir.as_deref()?.join("ca.pem"))
    }

    /// The connection string of a shared access policy: `iothubowner`, `service`, `device`, `registryRead` or
    /// `registryReadWrite`. `None` if there is no such policy.
    ///
    /// It holds a key. The port of HTTPS stands behind the host name unless it is 443.
    pub fn connection_string(&self, policy: &str) -> Option<String> {
        let policy = self.hub.policies().iter().find(|known| known.name == policy)?;
        let (name, key) = (&policy.name, policy.primary.to_base64());
        Some(format!(
            "HostName={};SharedAccessKeyName={name};SharedAccessKey={key}",
            self.host
        ))
    }

    /// The connection string of the built-in endpoint, for clients of Event Hubs that read what devices send: with the
    /// policy `service`.
    ///
    /// It holds a key. The port of AMQP stands behind the host name unless it is 5671; not every client looks there.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> iothub_core::Result<()> {
    /// # use iothub_emulator::{Emulator, EmulatorOptions};
    /// let emulator = Emulator::start(EmulatorOptions::default()).await?;
    /// let text = emulator.event_hub_connection_string().unwrap_or_default();
    /// assert!(text.starts_with("Endpoint=sb://localhost"));
    /// assert!(text.ends_with(";EntityPath=iothub-ehub-localhost"));
    /// # Ok(()) }
    /// ```
    pub fn event_hub_connection_string(&self) -> Option<String> {
        let policy = self.hub.policies().iter().find(|known| known.name == "service")?;
        let port = match self.host.amqps_port() {
            5671 => String::new(),
            port => format!(":{port}"),
        };
        Some(format!(
            "Endpoint=sb://{}{port}/;SharedAccessKeyName={};SharedAccessKey={};EntityPath={}",
            self.host.name(),
            policy.name,
            policy.primary.to_base64(),
            self.hub.event_hub()
        ))
    }

    /// A device in this process. Its identity may be there already or come later.
    ///
    /// # Errors
    ///
    /// `id` is not the id of a device.
    pub fn device(&self, id: &str) -> Result<Device> {
        Ok(Device::new(self.hub.clone(), Target::Device(id.parse()?)))
    }

    /// A module in this process. Its identity may be there already or come later.
    ///
    /// # Errors
    ///
    /// The ids are not those of a device and a module.
    pub fn module(&self, device: &str, module: &str) -> Result<Device> {
        let id = ModuleId::new(device.parse()?, module)?;
        Ok(Device::new(self.hub.clone(), Target::Module(id)))
    }

    /// What devices have sent, by partition and there in the order in which it came. A day of it is kept at most, and
    /// 25 000 messages a partition.
    pub fn telemetry(&self) -> Vec<Arc<TelemetryEvent>> {
        self.hub.telemetry().events()
    }

    /// A container in the storage account of this emulator, made if it is not there.
    ///
    /// # Errors
    ///
    /// `name` does not follow the rules for containers: 3 to 63 lower-case letters, digits and single hyphens.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> iothub_core::Result<()> {
    /// # use iothub_emulator::{Emulator, EmulatorOptions};
    /// let emulator = Emulator::start(EmulatorOptions::default()).await?;
    /// let exports = emulator.blob_container("exports")?;
    /// exports.write_blob("hello.txt", "hello");
    /// assert_eq!(exports.blobs(), ["hello.txt"]);
    /// assert!(exports.sas_uri().starts_with(&exports.uri()));
    /// # Ok(()) }
    /// ```
    pub fn blob_container(&self, name: &str) -> Result<BlobContainer> {
        BlobContainer::open(self.account.clone(), name)
    }

    /// The connection string of the storage account, for libraries of Azure Storage that sign by themselves.
    ///
    /// It holds a key.
    pub fn storage_connection_string(&self) -> String {
        self.account.connection_string()
    }

    /// Makes a device with generated keys, unless it exists already.
    ///
    /// # Errors
    ///
    /// `id` is not the id of a device.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> iothub_core::Result<()> {
    /// use iothub_emulator::{Emulator, EmulatorOptions};
    ///
    /// let emulator = Emulator::start(EmulatorOptions::default()).await?;
    /// let lamp = emulator.add_device("lamp")?;
    /// assert_eq!(lamp.report(r#"{"on":true}"#)?, 2);
    /// # Ok(()) }
    /// ```
    pub fn add_device(&self, id: &str) -> Result<Device> {
        let id = id.parse()?;
        self.hub.add_device(&id)?;
        self.hub.wait_until_persisted()?;
        Ok(Device::new(self.hub.clone(), Target::Device(id)))
    }

    /// The connection string of a device or module, with its primary key. `None` if it does not exist, is disabled, or
    /// has no keys.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> iothub_core::Result<()> {
    /// use iothub_emulator::{Emulator, EmulatorOptions};
    ///
    /// let emulator = Emulator::start(EmulatorOptions::default()).await?;
    /// let lamp = emulator.add_device("lamp")?;
    /// let text = emulator.device_connection_string(lamp.target()).unwrap_or_default();
    /// assert!(text.contains(";DeviceId=lamp;SharedAccessKey="));
    /// # Ok(()) }
    /// ```
    pub fn device_connection_string(&self, target: &Target) -> Option<String> {
        let [primary, _] = self.hub.keys_of(target)?;
        let module = target.module().map(|id| format!(";ModuleId={id}")).unwrap_or_default();
        Some(format!(
            "HostName={};DeviceId={}{module};SharedAccessKey={}",
            self.host,
            target.device(),
            primary.to_base64()
        ))
    }

    /// Trusts an authority for the certificates of devices, as [`EmulatorOptions::device_authorities`] does.
    ///
    /// # Errors
    ///
    /// `pem` holds no certificate in PEM, or one that cannot be read.
    pub fn trust_device_authority(&self, pem: &str) -> Result<()> {
        self.hub.trust_device_authority(pem)
    }

    /// The tenant whose tokens the hub takes.
    pub fn entra(&self) -> &Entra {
        &self.entra
    }

    /// Writes everything that the hub keeps: a line of JSON for each thing, as [`export_state`](crate::export_state)
    /// does. [`EmulatorOptions::seed`] starts from it.
    ///
    /// It holds the keys of devices, in clear.
    ///
    /// # Errors
    ///
    /// `to` cannot be written.
    pub fn export(&self, mut to: impl io::Write) -> Result<()> {
        transfer::write_state(&self.state, &mut to)
    }

    /// What happened in the hub.
    pub fn journal(&self) -> &Journal {
        self.hub.journal()
    }

    /// The hub's clock, to be turned.
    pub fn clock(&self) -> &Clock {
        self.hub.clock()
    }

    /// What shall go wrong.
    pub fn faults(&self) -> &Faults {
        self.hub.faults()
    }

    /// Where the [management API](crate#management) is, if [`management_port`](EmulatorOptions::management_port) asks for it.
    pub fn management_endpoint(&self) -> Option<String> {
        self.management
            .as_ref()
            .map(|(address, _)| format!("https://{address}"))
    }

    /// The bearer token that the management API wants. It is new at each start.
    pub fn management_token(&self) -> Option<&str> {
        self.management.as_ref().map(|(_, token)| &**token)
    }

    /// Who is connected and how, in the order of ids. Devices over HTTPS are not.
    pub fn online(&self) -> Vec<(Target, Door)> {
        self.hub.online()
    }

    /// Ends the connection of a device or module. False if it has none.
    pub fn disconnect(&self, target: &Target) -> bool {
        self.hub.disconnect(target)
    }

    /// Drops every connection of every protocol, apart from those of devices in this process.
    pub fn drop_connections(&self) {
        self.hub.drop_connections();
    }

    /// Makes the hub as it was at its start: without devices, apart from those that the options ask for, configurations,
    /// messages, telemetry, waiting jobs and faults.
    ///
    /// Keys, the tenant, blobs, the clock and the journal stay as they are.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn reset(&self) -> Result<()> {
        Ok(self.hub.reset()?)
    }

    /// Stops accepting, gives requests under way five seconds to finish, and closes what is still open then.
    pub async fn shutdown(mut self) {
        self.stopping.stop();
        let finished = async { while self.doors.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, finished).await.is_err() {
            debug!("connections that were still open after {GRACE:?} are closed");
        }
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// The names that a signature may be for: the hub's own first.
fn names(host: &str) -> Vec<String> {
    let mut names = vec![host.to_ascii_lowercase()];
    for name in ["localhost", "127.0.0.1", "[::1]"] {
        if host != name {
            names.push(name.to_owned());
        }
    }
    names
}

const GRACE: Duration = Duration::from_secs(5);

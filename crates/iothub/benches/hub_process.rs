//! A hub in a process of its own, so that its memory is its own, too.

use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader, Read, Write, stdin, stdout},
    process::{Child, Command, Stdio},
};

use azure_core::http::ClientOptions;
use futures::{StreamExt, stream};
use iothub::{
    models::{Device, TwinContent},
    registry::{BulkOperation, RegistryClient, RegistryClientOptions},
};
use iothub_emulator::{Emulator, EmulatorOptions};
use iothub_transport_http::{HyperOptions, HyperTransport};
use serde_json::{Value, json};

pub(crate) type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// The other process: says where it is, and ends when nobody listens any more.
pub(crate) async fn serve() -> Result<()> {
    let emulator = Emulator::start(EmulatorOptions::default()).await?;
    let ready = json!({
        "connectionString": emulator.connection_string("iothubowner"),
        "root": emulator.root_certificate(),
    });
    writeln!(stdout(), "{ready}")?;
    tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

/// That process, and what a client in this one needs.
pub(crate) struct Hub {
    process: Child,
    connection_string: String,
    http: HyperTransport,
}

impl Hub {
    pub(crate) fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(HUB)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut ready = String::new();
        BufReader::new(process.stdout.take().ok_or("it has no output")?).read_line(&mut ready)?;
        let ready: Value = serde_json::from_str(&ready)?;
        let text = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        let http = HyperTransport::new(HyperOptions {
            extra_roots: vec![text("root").into()],
            ..Default::default()
        })?;
        Ok(Self {
            process,
            connection_string: text("connectionString"),
            http,
        })
    }

    /// A client of its owner, from a connection string and options that trust it.
    pub(crate) fn client<C>(&self, make: impl FnOnce(&str, ClientOptions) -> iothub::Result<C>) -> Result<C> {
        let client_options = ClientOptions {
            transport: Some(self.http.clone().into()),
            ..Default::default()
        };
        Ok(make(&self.connection_string, client_options)?)
    }

    pub(crate) fn registry(&self) -> Result<RegistryClient> {
        self.client(|text, client_options| {
            let options = RegistryClientOptions {
                client_options,
                ..Default::default()
            };
            RegistryClient::from_connection_string(text, Some(options))
        })
    }

    /// The resident set of the hub in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        resident(self.process.id())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The resident set of a process in bytes.
pub(crate) fn resident(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

/// The argument that makes a process of this the hub.
pub(crate) const HUB: &str = "--hub";

/// Creates the devices as an application would.
pub(crate) async fn fill(registry: &RegistryClient, number: usize) -> Result<()> {
    let devices = stream::iter(0..number).map(|number| BulkOperation::CreateDevice {
        device: Box::new(Device::new(format!("device-{number}").parse().expect("it is an id"))),
        twin: TwinContent::new()
            .set_tag("hall", number % 100)
            .set_tag(
                "site",
                json!({ "name": format!("site {}", number % 1000), "floor": number % 7 }),
            )
            .set_desired("interval", 30),
    });
    let failed = registry
        .bulk(devices, None)?
        .filter(|result| std::future::ready(!result.outcome.is_done()))
        .count();
    match failed.await {
        0 => Ok(()),
        failed => Err(format!("{failed} devices were not created").into()),
    }
}

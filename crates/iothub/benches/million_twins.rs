//! A hub of a million devices in one process, a client in another: what it costs to hold them, to ask for some of them,
//! and to stream all.
//!
//! `cargo bench -p iothub --bench million_twins [-- NUMBER]`, on Linux, where `/proc` tells the memory of a process.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader, Read, Write, stdin, stdout},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use azure_core::http::ClientOptions;
use futures::{StreamExt, TryStreamExt, stream};
use iothub::{
    models::{Device, TwinContent},
    registry::{BulkOperation, ListDevicesOptions, RegistryClient, RegistryClientOptions},
};
use iothub_emulator::{Emulator, EmulatorOptions};
use iothub_transport_http::{HyperOptions, HyperTransport};
use serde_json::{Value, json};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == HUB) {
        return hub().await;
    }
    let number = arguments
        .iter()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(1_000_000);
    let hub = Hub::start()?;
    let before = resident(hub.process.id())?;
    let begun = Instant::now();
    fill(&hub.registry, number).await?;
    let grown = resident(hub.process.id())? - before;
    println!(
        "{number} devices with tags and desired properties created in {:.1?}",
        begun.elapsed()
    );
    println!(
        "  the hub grew by {} MiB, {} bytes a device",
        grown >> 20,
        grown / number as u64
    );

    for text in [
        "SELECT COUNT() AS n FROM devices WHERE tags.hall = 7",
        "SELECT deviceId FROM devices WHERE tags.site.name = 'none'",
        "SELECT tags.hall AS hall, COUNT() AS n FROM devices GROUP BY tags.hall",
    ] {
        let mut fastest = Duration::MAX;
        let mut rows = 0;
        for _ in 0..5 {
            let begun = Instant::now();
            let found: Vec<Value> = hub.registry.query(text, None)?.try_collect().await?;
            fastest = fastest.min(begun.elapsed());
            rows = found.len();
        }
        println!("{text}\n  {rows} rows, {fastest:.2?} at best of 5");
    }

    let options = ListDevicesOptions {
        page_size: Some(1000),
        ..Default::default()
    };
    let mut twins = hub.registry.list_devices(Some(options))?;
    let (mut count, mut first, mut most) = (0, None, 0);
    let begun = Instant::now();
    while let Some(twin) = twins.try_next().await? {
        count += 1;
        assert!(!twin.device_id().is_empty());
        // The pool, the tables of TLS and the allocator fill up first.
        if count % 10_000 == 0 {
            let now = resident(std::process::id())?;
            first.get_or_insert(now);
            most = most.max(now);
        }
    }
    assert_eq!(count, number);
    let elapsed = begun.elapsed();
    println!(
        "{count} twins streamed in {elapsed:.1?}, {:.0} a second",
        count as f64 / elapsed.as_secs_f64()
    );
    println!("  the client grew by {} KiB", (most - first.unwrap_or(most)) >> 10);
    Ok(())
}

/// Creates the devices as an application would.
async fn fill(registry: &RegistryClient, number: usize) -> Result<()> {
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

/// The other process: says where it is, and ends when nobody listens any more.
async fn hub() -> Result<()> {
    let emulator = Emulator::start(EmulatorOptions::default()).await?;
    let ready = json!({
        "connectionString": emulator.connection_string("iothubowner"),
        "root": emulator.root_certificate(),
    });
    writeln!(stdout(), "{ready}")?;
    tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

struct Hub {
    process: Child,
    registry: RegistryClient,
}

impl Hub {
    fn start() -> Result<Self> {
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
        let options = RegistryClientOptions {
            client_options: ClientOptions {
                transport: Some(http.into()),
                ..Default::default()
            },
            ..Default::default()
        };
        let registry = RegistryClient::from_connection_string(&text("connectionString"), Some(options))?;
        Ok(Self { process, registry })
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The resident set of a process in bytes.
fn resident(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

const HUB: &str = "--hub";

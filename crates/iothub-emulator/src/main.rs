//! `iothub-emulator`: a hub on this machine, until somebody interrupts it.

use std::{
    error::Error,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use iothub_emulator::{Emulator, EmulatorOptions};
use lexopt::{Arg, ValueExt};
use serde::Serialize;
use tracing::{info, level_filters::LevelFilter};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { options, log } = match Arguments::parse(lexopt::Parser::from_env()) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            let _ = io::stdout().write_all(USAGE.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("iothub-emulator: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(io::stderr))
        .with(Targets::new().with_target("iothub_emulator", log))
        .init();
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("iothub-emulator: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(mut options: EmulatorOptions) -> Result<(), Box<dyn Error>> {
    // Before anything is announced, so that no order to stop can be missed.
    let interrupted = interrupted()?;
    let temporary = match options.data_dir {
        Some(_) => None,
        None => Some(TemporaryDirectory::make()?),
    };
    if let Some(TemporaryDirectory(path)) = &temporary {
        options.data_dir = Some(path.clone());
    }
    let emulator = Emulator::start(options).await?;
    announce(&emulator)?;
    interrupted.await;
    info!("stopping");
    emulator.shutdown().await;
    Ok(())
}

/// Prints one line of JSON for whoever started this: everything is ready, and this is how to reach it.
fn announce(emulator: &Emulator) -> io::Result<()> {
    let (entra, app) = (emulator.entra(), emulator.entra().application());
    let ready = Ready {
        event: "ready",
        host: emulator.host().name(),
        https_port: emulator.host().https_port(),
        amqps_port: emulator.host().amqps_port(),
        connection_string: emulator.connection_string("iothubowner"),
        storage_connection_string: emulator.storage_connection_string(),
        ca_file: emulator.root_certificate_file(),
        authority: entra.authority(),
        tenant_id: entra.tenant_id(),
        client_id: app.client_id(),
        client_secret: app.client_secret(),
        certificate_file: entra.certificate_file(),
        federated_token_file: entra.federated_token_file(),
        identity_endpoint: entra.identity_endpoint(),
        identity_header: entra.identity_header(),
    };
    let ready = serde_json::to_string(&ready)?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{ready}")?;
    stdout.flush()
}

/// How to reach what is ready.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready<'a> {
    event: &'a str,
    host: &'a str,
    https_port: u16,
    amqps_port: u16,
    connection_string: Option<String>,
    storage_connection_string: String,
    ca_file: Option<PathBuf>,
    authority: String,
    tenant_id: &'a str,
    client_id: &'a str,
    client_secret: &'a str,
    certificate_file: Option<&'a Path>,
    federated_token_file: Option<&'a Path>,
    identity_endpoint: String,
    identity_header: &'a str,
}

/// Resolves at the first SIGINT or SIGTERM.
#[cfg(unix)]
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let [mut interrupt, mut terminate] = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

struct Arguments {
    options: EmulatorOptions,
    log: LevelFilter,
}

impl Arguments {
    /// `None` if only help was asked for.
    fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut arguments = Self {
            options: EmulatorOptions::default(),
            log: LevelFilter::INFO,
        };
        let options = &mut arguments.options;
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("host") => options.host = parser.value()?.string()?,
                Arg::Long("bind") => options.bind = parser.value()?.parse()?,
                Arg::Long("allow-remote") => options.allow_remote = true,
                Arg::Long("https-port") => options.https_port = parser.value()?.parse()?,
                Arg::Long("amqps-port") => options.amqps_port = parser.value()?.parse()?,
                Arg::Long("entra-port") => options.entra.port = parser.value()?.parse()?,
                Arg::Long("identity-port") => options.entra.identity_port = parser.value()?.parse()?,
                Arg::Long("data-dir") => options.data_dir = Some(parser.value()?.into()),
                Arg::Long("log") => arguments.log = parser.value()?.parse()?,
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(arguments))
    }
}

/// A directory of this process's own, gone when it ends in good order.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn make() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("iothub-emulator-{}", uuid::Uuid::new_v4()));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let shown = next.to_string();
        if !text.contains(&shown) {
            text = format!("{text}: {shown}");
        }
        cause = next.source();
    }
    text
}

const USAGE: &str = "\
A local Azure IoT hub. When it is ready it prints one line of JSON with its
connection string; it runs until it is interrupted.

Usage: iothub-emulator [OPTIONS]

Options:
  --host NAME        what the hub is called, and clients resolve [localhost]
  --bind ADDRESS     where it listens [127.0.0.1]
  --allow-remote     lets ADDRESS be one that other machines reach
  --https-port PORT  HTTPS and WebSockets; 0 takes any free port [0]
  --amqps-port PORT  AMQP over TLS; 0 takes any free port [0]
  --entra-port PORT  the token endpoint; 0 takes any free port [0]
  --identity-port PORT
                     managed identities, in plain HTTP; 0 takes any free port [0]
  --data-dir DIR     where root certificate and keys live on [a new directory,
                     removed at the end]
  --log LEVEL        off, error, warn, info, debug or trace, to stderr [info]
  --help             this text
";

//! `iothub-emulator`: a hub on this machine, until somebody interrupts it.

mod cli;

use std::{error::Error, io, io::Write, process::ExitCode, time::Duration};

use iothub_emulator::Emulator;
use tracing::info;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use self::cli::{
    arguments::{Arguments, USAGE},
    banner::Banner,
    interruption::interrupted,
    ready::Ready,
    temporary_directory::TemporaryDirectory,
};

#[tokio::main]
async fn main() -> ExitCode {
    if let Some(outcome) = cli::state::run(lexopt::Parser::from_env()) {
        return match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("iothub-emulator: {}", with_causes(&*error));
                ExitCode::FAILURE
            }
        };
    }
    let arguments = match Arguments::parse(lexopt::Parser::from_env()) {
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
        .with(Targets::new().with_target("iothub_emulator", arguments.log))
        .init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("iothub-emulator: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(
    Arguments {
        options,
        device,
        simulate,
        ..
    }: Arguments,
) -> Result<(), Box<dyn Error>> {
    // Before anything is announced, so that no order to stop can be missed.
    let interrupted = interrupted()?;
    let kept = options.data_dir.is_some();
    let emulator = Emulator::start(options).await?;
    // Without a directory of its own for the rest, there is one for the root certificate, which others read.
    let temporary = match kept {
        true => None,
        false => Some(TemporaryDirectory::with("ca.pem", emulator.root_certificate())?),
    };
    let device = device.map(|id| emulator.add_device(&id)).transpose()?;
    let root = temporary.as_ref().map(TemporaryDirectory::file);
    let ready = Ready::of(&emulator, device.as_ref(), root);
    eprint!(
        "{}",
        Banner {
            ready: &ready,
            device: device.as_ref(),
            root_is_kept: kept
        }
    );
    ready.announce()?;
    let simulation = simulate
        .map(|count| emulator.simulate(count, TELEMETRY_INTERVAL))
        .transpose()?;
    interrupted.await;
    drop(simulation);
    info!("stopping");
    emulator.shutdown().await;
    Ok(())
}

/// How long a simulated device waits between two messages, until its desired properties say something else.
const TELEMETRY_INTERVAL: Duration = Duration::from_secs(10);

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

//! A hub of a million devices in one process, a client in another: what it costs to hold them, to ask for some of them,
//! and to stream all.
//!
//! `cargo bench -p iothub --bench million_twins [-- NUMBER]`, on Linux, where `/proc` tells the memory of a process.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use iothub::registry::ListDevicesOptions;
use serde_json::Value;

use crate::hub_process::{HUB, Hub, Result, fill, resident, serve};

mod hub_process;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == HUB) {
        return serve().await;
    }
    let number = arguments
        .iter()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(1_000_000);
    let hub = Hub::start()?;
    let registry = hub.registry()?;
    let before = hub.resident()?;
    let begun = Instant::now();
    fill(&registry, number).await?;
    let grown = hub.resident()? - before;
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
            let found: Vec<Value> = registry.query(text, None)?.try_collect().await?;
            fastest = fastest.min(begun.elapsed());
            rows = found.len();
        }
        println!("{text}\n  {rows} rows, {fastest:.2?} at best of 5");
    }

    let options = ListDevicesOptions {
        page_size: Some(1000),
        ..Default::default()
    };
    let mut twins = registry.list_devices(Some(options))?;
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

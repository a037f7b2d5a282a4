//! Jobs over a fleet: how long a hub takes for a hundred thousand devices, and what it costs to remember each of them.
//!
//! `cargo bench -p iothub --bench fleet_job [-- NUMBER]`, on Linux, where `/proc` tells the memory of a process.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::time::Instant;

use azure_core::{http::poller::PollerOptions, time};
use futures::TryStreamExt;
use iothub::{
    jobs::{JobClient, JobClientOptions, JobCondition, ListDeviceJobsOptions, WaitForJobOptions},
    models::{DirectMethodRequest, TwinPatch},
};

use crate::hub_process::{HUB, Hub, Result, fill, serve};

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
        .unwrap_or(100_000);
    let hub = Hub::start()?;
    fill(&hub.registry()?, number).await?;
    let jobs = hub.client(|text, client_options| {
        let options = JobClientOptions {
            client_options,
            ..Default::default()
        };
        JobClient::from_connection_string(text, Some(options))
    })?;
    let all = JobCondition::all();
    println!("{number} devices");

    // The first one makes the twins grow, the second one writes the same again.
    for what in ["twin update", "twin update again"] {
        let (before, begun) = (hub.resident()?, Instant::now());
        let patch = TwinPatch::new().set_desired("interval", 60).set_tag("checked", true);
        let job = jobs.schedule_twin_update(&all, &patch, None).await?.into_model()?;
        let (succeeded, failed) = watch(&jobs, &job.job_id).await?;
        report(what, begun, hub.resident()?, before, number);
        assert_eq!((succeeded, failed), (number, 0));
    }

    let (before, begun) = (hub.resident()?, Instant::now());
    let blink = DirectMethodRequest::new("blink");
    let job = jobs.schedule_method(&all, &blink, None).await?.into_model()?;
    let (succeeded, failed) = watch(&jobs, &job.job_id).await?;
    report("method, nobody connected", begun, hub.resident()?, before, number);
    assert_eq!((succeeded, failed), (0, number));

    let begun = Instant::now();
    let options = ListDeviceJobsOptions {
        page_size: Some(1000),
        ..Default::default()
    };
    let mut rows = jobs.list_device_jobs(&job.job_id, Some(options))?;
    let mut count = 0;
    while let Some(row) = rows.try_next().await? {
        count += usize::from(row.error.is_some());
    }
    assert_eq!(count, number);
    println!("{count} outcomes read in {:.1?}", begun.elapsed());
    Ok(())
}

/// Waits for the end of a job, and says with how many devices it succeeded and failed.
async fn watch(jobs: &JobClient, id: &str) -> Result<(usize, usize)> {
    let options = WaitForJobOptions {
        method_options: PollerOptions {
            frequency: time::Duration::seconds(1),
            ..Default::default()
        },
        ..Default::default()
    };
    let mut states = jobs.wait_for_job(id, Some(options))?;
    let mut last = None;
    while let Some(state) = states.try_next().await? {
        let job = state.into_model()?;
        if let Some(devices) = &job.device_job_statistics {
            println!(
                "  {}: {} done, {} failed",
                job.status, devices.succeeded_count, devices.failed_count
            );
        }
        last = Some(job);
    }
    let job = last.ok_or("it was never seen")?;
    let took = job.end_time.zip(job.start_time).map(|(end, start)| end - start);
    println!(
        "  by the hub's clock it took {:.2} s",
        took.ok_or("it has not ended")?.as_seconds_f64()
    );
    let devices = job.device_job_statistics.ok_or("it has no statistics")?;
    assert_eq!((devices.running_count, devices.pending_count), (0, 0));
    Ok((devices.succeeded_count as usize, devices.failed_count as usize))
}

fn report(what: &str, begun: Instant, after: u64, before: u64, number: usize) {
    let grown = after.saturating_sub(before);
    println!(
        "{what}: {:.1?} until it was seen to be complete; the hub grew by {} KiB, {} bytes a device",
        begun.elapsed(),
        grown >> 10,
        grown / number as u64
    );
}

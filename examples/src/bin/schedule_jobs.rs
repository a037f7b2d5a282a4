//! One thing to be done with many devices, by the hub itself: a change of their twins and a method, with progress.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use azure_core::{http::poller::PollerOptions, time::OffsetDateTime};
use examples::{Failure, Stage, new_id};
use futures::TryStreamExt;
use iothub::{
    DeviceId,
    jobs::{JobClient, JobCondition, ScheduleMethodOptions, WaitForJobOptions},
    models::{Device, DirectMethodRequest, TwinPatch},
};
use serde_json::json;
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, jobs) = (hub.registry()?, hub.jobs()?);
    let name = new_id("job-lamp");
    let ids = (0..4)
        .map(|number| format!("{name}-{number}").parse())
        .collect::<Result<Vec<DeviceId>, _>>()?;
    for (number, id) in (0..).zip(&ids) {
        registry.create_device(&Device::new(id.clone()), None).await?;
        // The last lamp is not connected. Of a real hub none is, unless somebody connects it.
        if let Some(lamp) = hub.device(id)?.filter(|_| number < 3) {
            let mut methods = lamp.methods()?;
            tokio::spawn(async move {
                // It is connected for as long as somebody has it.
                let _lamp = lamp;
                while let Some(method) = methods.recv().await {
                    // Lamps take their time, each another one.
                    sleep(Duration::from_millis(1200 * number)).await;
                    let _ = method.answer(200, json!({ "blinked": true }).to_string());
                }
            });
        }
    }

    let ours = JobCondition::devices(&ids)?;
    let patch = TwinPatch::new().set_tag("hall", 7).set_desired("percent", 30);
    let job = jobs.schedule_twin_update(&ours, &patch, None).await?.into_model()?;
    watch(&jobs, &job.job_id).await?;

    let blink = DirectMethodRequest::new("blink").with_response_timeout(Duration::from_secs(30));
    let job = jobs.schedule_method(&ours, &blink, None).await?.into_model()?;
    watch(&jobs, &job.job_id).await?;
    let mut devices = jobs.list_device_jobs(&job.job_id, None)?;
    while let Some(device) = devices.try_next().await? {
        match (device.outcome, device.error) {
            (_, Some(error)) => println!("{} failed: {:?}", device.device_id, error.code),
            (outcome, None) => println!("{} answered: {outcome:?}", device.device_id),
        }
    }

    // Tonight, under an id of our own; and then not after all.
    let tonight = ScheduleMethodOptions {
        job_id: Some(new_id("tonight")),
        start_time: Some(OffsetDateTime::now_utc() + Duration::from_secs(8 * 3600)),
        ..Default::default()
    };
    let job = jobs.schedule_method(&ours, &blink, Some(tonight)).await?.into_model()?;
    let job = jobs.cancel_job(&job.job_id, None).await?.into_model()?;
    println!("{} is {}", job.job_id, job.status);

    for id in &ids {
        registry.delete_device(id, None).await?;
    }
    Ok(())
}

async fn watch(jobs: &JobClient, id: &str) -> Result<(), Failure> {
    let every_second = WaitForJobOptions {
        method_options: PollerOptions {
            frequency: azure_core::time::Duration::seconds(1),
            ..Default::default()
        },
        ..Default::default()
    };
    let mut states = jobs.wait_for_job(id, Some(every_second))?;
    while let Some(state) = states.try_next().await? {
        let job = state.into_model()?;
        match &job.device_job_statistics {
            Some(devices) => println!(
                "{}: {} of {} done, {} failed",
                job.status, devices.succeeded_count, devices.device_count, devices.failed_count
            ),
            None => println!("{}", job.status),
        }
        if job.failure_reason.is_some() {
            return Err(format!("{id} failed: {:?}", job.failure_reason).into());
        }
    }
    Ok(())
}

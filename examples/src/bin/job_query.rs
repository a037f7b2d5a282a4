//! Which jobs there are, by type and status, and what they have done with one device.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use examples::{Failure, Stage, new_id};
use futures::TryStreamExt;
use iothub::{
    DeviceId,
    jobs::{JobCondition, ListJobsOptions},
    models::{Device, DeviceJob, DirectMethodRequest, JobStatus, JobType, TwinPatch},
};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, jobs) = (hub.registry()?, hub.jobs()?);
    let id: DeviceId = new_id("job-lamp").parse()?;
    registry.create_device(&Device::new(id.clone()), None).await?;

    let lamp = JobCondition::devices(std::slice::from_ref(&id))?;
    let patch = TwinPatch::new().set_desired("percent", 30);
    let update = jobs.schedule_twin_update(&lamp, &patch, None).await?.into_model()?;
    jobs.wait_for_job(&update.job_id, None)?.await?;
    let blink = DirectMethodRequest::new("blink");
    let method = jobs.schedule_method(&lamp, &blink, None).await?.into_model()?;
    jobs.wait_for_job(&method.job_id, None)?.await?;

    for (job_type, status) in [
        (JobType::ScheduleUpdateTwin, JobStatus::Completed),
        (JobType::ScheduleDeviceMethod, JobStatus::Completed),
        (JobType::ScheduleDeviceMethod, JobStatus::Running),
    ] {
        println!("{job_type}, {status}:");
        let options = ListJobsOptions {
            job_type: Some(job_type),
            status: Some(status),
            ..Default::default()
        };
        let mut found = jobs.list_jobs(Some(options))?;
        while let Some(job) = found.try_next().await? {
            println!("  {} of {:?}", job.job_id, job.created_time);
        }
    }

    // A completed job says how many devices failed, and a query why; nobody has connected the lamp.
    let text = format!("SELECT * FROM devices.jobs WHERE devices.jobs.deviceId = '{id}'");
    let mut rows = registry.query::<DeviceJob>(&text, None)?;
    while let Some(row) = rows.try_next().await? {
        let why = row.error.and_then(|error| error.code);
        println!("{}: {} is {}, {why:?}", row.device_id, row.job_type, row.status);
    }
    registry.delete_device(&id, None).await?;
    Ok(())
}

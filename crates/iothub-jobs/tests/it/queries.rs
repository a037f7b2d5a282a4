use azure_core::http::pager::{PagerContinuation, PagerOptions};
use futures::TryStreamExt;
use iothub_core::{
    Result,
    models::{DeviceJob, DirectMethodRequest, JobStatus, JobType, ScheduledJob},
};
use iothub_emulator::Event;
use iothub_jobs::{JobCondition, ListDeviceJobsOptions, ListJobsOptions};

use crate::hub::{Hub, method_named};

/// A hub with two jobs that have ended, one that waits, and one that was cancelled.
async fn busy_hub() -> Result<Hub> {
    let hub = Hub::with_devices(["candle", "lamp", "torch"]).await;
    for id in ["t1", "t2"] {
        hub.schedule_interval(id, "*", None).await?;
        hub.jobs.wait_for_job(id, None)?.await?;
    }
    let blink = DirectMethodRequest::new("blink");
    for id in ["m1", "m2"] {
        let options = method_named(id, hub.in_ten_minutes());
        hub.jobs.schedule_method(&JobCondition::all(), &blink, options).await?;
    }
    hub.jobs.cancel_job("m2", None).await?;
    Ok(hub)
}

#[tokio::test]
async fn jobs_are_found_by_type_and_status() -> Result<()> {
    let hub = busy_hub().await?;
    let (twins, methods) = (JobType::ScheduleUpdateTwin, JobType::ScheduleDeviceMethod);
    for (job_type, status, expected) in [
        (None, None, &["m1", "m2", "t1", "t2"][..]),
        (Some(twins.clone()), None, &["t1", "t2"]),
        (None, Some(JobStatus::Cancelled), &["m2"]),
        (Some(methods), Some(JobStatus::Scheduled), &["m1"]),
        (Some(twins), Some(JobStatus::Running), &[]),
    ] {
        let options = ListJobsOptions {
            job_type,
            status,
            page_size: Some(1),
            ..ListJobsOptions::default()
        };
        let jobs: Vec<ScheduledJob> = hub.jobs.list_jobs(Some(options))?.try_collect().await?;
        let ids: Vec<&str> = jobs.iter().map(|job| job.job_id.as_str()).collect();
        assert_eq!(ids, expected);
    }
    Ok(())
}

#[tokio::test]
async fn what_jobs_did_with_devices_is_a_query_of_the_registry_too() -> Result<()> {
    let hub = busy_hub().await?;
    for (condition, expected) in [
        ("devices.jobs.deviceId = 'lamp'", &["t1 lamp", "t2 lamp"][..]),
        ("devices.jobs.jobId = 't2'", &["t2 candle", "t2 lamp", "t2 torch"]),
        (
            "devices.jobs.jobType = 'scheduleUpdateTwin' AND devices.jobs.status = 'completed' \
             AND devices.jobs.createdTimeUtc > '2016-09-01' AND deviceId <> 'lamp'",
            &["t1 candle", "t1 torch", "t2 candle", "t2 torch"],
        ),
        ("devices.jobs.jobType = 'scheduleDeviceMethod'", &[]),
        ("devices.jobs.status = 'failed'", &[]),
    ] {
        let text = format!("SELECT * FROM devices.jobs WHERE {condition}");
        let rows: Vec<DeviceJob> = hub.registry.query(&text, None)?.try_collect().await?;
        let found: Vec<String> = rows
            .iter()
            .map(|row| format!("{} {}", row.job_id, row.device_id))
            .collect();
        assert_eq!(found, expected, "{condition}");
    }
    Ok(())
}

#[tokio::test]
async fn a_list_goes_on_where_it_was_left() -> Result<()> {
    let hub = busy_hub().await?;
    let sized = |continuation| ListJobsOptions {
        page_size: Some(3),
        no_read_ahead: true,
        method_options: PagerOptions {
            continuation,
            ..PagerOptions::default()
        },
        ..ListJobsOptions::default()
    };
    let mut pages = hub.jobs.list_jobs(Some(sized(None)))?.into_pages();
    let page = pages.try_next().await?.expect("there is one").into_model()?;
    assert_eq!(page.rows.len(), 3);
    let kept = pages.into_continuation().map(|place| place.as_ref().to_owned());
    let place = kept.map(PagerContinuation::Token);
    let rest: Vec<ScheduledJob> = hub.jobs.list_jobs(Some(sized(place)))?.try_collect().await?;
    assert_eq!(rest.iter().map(|job| job.job_id.as_str()).collect::<Vec<_>>(), ["t2"]);

    let by_one = ListDeviceJobsOptions {
        page_size: Some(1),
        ..ListDeviceJobsOptions::default()
    };
    let devices: Vec<DeviceJob> = hub.jobs.list_device_jobs("t1", Some(by_one))?.try_collect().await?;
    assert_eq!(devices.len(), 3);
    let asked = |event: &Event| matches!(event, Event::Request { operation, .. } if operation == "POST /devices/query");
    assert_eq!(hub.emulator.journal().count(asked), 3);
    Ok(())
}

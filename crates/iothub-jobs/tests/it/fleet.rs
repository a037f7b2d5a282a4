use futures::TryStreamExt;
use iothub_core::{
    Result,
    models::{DeviceJob, DeviceJobStatus},
};
use iothub_jobs::ListDeviceJobsOptions;

use crate::hub::Hub;

/// The bench `fleet_job` does the same with a hundred thousand.
#[tokio::test]
async fn a_job_over_a_fleet_counts_every_device() -> Result<()> {
    let hub = Hub::with_devices([]).await;
    for n in 0..1000 {
        hub.emulator.add_device(&format!("d{n:04}"))?;
    }
    hub.schedule_interval("j1", "*", None).await?;
    let done = hub.jobs.wait_for_job("j1", None)?.await?.into_model()?;

    let devices = done.device_job_statistics.expect("it has run");
    assert_eq!((devices.device_count, devices.succeeded_count), (1000, 1000));
    assert_eq!(
        (devices.failed_count, devices.running_count, devices.pending_count),
        (0, 0, 0)
    );
    for id in ["d0000", "d0255", "d0256", "d0999"] {
        assert_eq!(hub.interval(id).await?, Some(60), "{id}");
    }
    let completed = ListDeviceJobsOptions {
        status: Some(DeviceJobStatus::Completed),
        page_size: Some(300),
        ..ListDeviceJobsOptions::default()
    };
    let rows: Vec<DeviceJob> = hub.jobs.list_device_jobs("j1", Some(completed))?.try_collect().await?;
    let ids: Vec<String> = rows.into_iter().map(|row| row.device_id).collect();
    assert_eq!(ids, (0..1000).map(|n| format!("d{n:04}")).collect::<Vec<_>>());
    Ok(())
}

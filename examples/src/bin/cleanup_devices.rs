//! Many devices deleted by one job: export them, turn every line into a deletion, import that.
//!
//! Against a real hub it deletes nothing but the devices whose id begins with `cleanup-`.

use examples::{Failure, Stage};
use futures::{StreamExt, stream};
use iothub::{
    models::{Device, ExportDevices, ImportDevices, TwinContent},
    registry::BulkOperation,
};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, container) = (hub.registry()?, hub.container()?);
    let ids = (0..200)
        .map(|number| format!("cleanup-{number}").parse())
        .collect::<Result<Vec<_>, _>>()?;
    let create = stream::iter(ids).map(|id| BulkOperation::CreateDevice {
        device: Box::new(Device::new(id)),
        twin: TwinContent::new(),
    });
    println!("{} created", registry.bulk(create, None)?.count().await);

    let export = ExportDevices::new(container.signed().to_owned()).with_exclude_keys(true);
    let job = registry.begin_export_devices(&export, None).await?.into_model()?;
    registry.wait_for_job(&job.job_id, None)?.await?;

    let mut deletions = String::new();
    // A line that is not JSON says that the keys were left out.
    let lines = container.read("devices.txt").await?;
    for mut device in lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
    {
        if device["id"].as_str().is_some_and(|id| id.starts_with("cleanup-")) {
            device["importMode"] = "delete".into();
            deletions += &format!("{device}\n");
        }
    }
    println!("{} are to be deleted", deletions.lines().count());
    container.write("deletions.txt", deletions).await?;

    let import = ImportDevices::new(container.signed().to_owned(), container.signed().to_owned());
    let import = import.with_input_blob_name("deletions.txt");
    let job = registry.begin_import_devices(&import, None).await?.into_model()?;
    registry.wait_for_job(&job.job_id, None)?.await?;

    // A job with lines that failed is complete all the same; what failed is in a blob.
    let failures = container.read("importErrors.log").await.unwrap_or_default();
    println!(
        "{} left, {} lines failed",
        registry.get_statistics(None).await?.into_model()?.total_device_count,
        failures.lines().count()
    );
    Ok(())
}

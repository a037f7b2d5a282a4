//! Many devices deleted by one job: export them, turn every line into a deletion, import that.
//!
//! It deletes nothing but the devices that it made, whatever else is in the hub.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::future::ready;

use azure_core::http::StatusCode;
use examples::{Failure, Stage, new_id};
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
    let name = new_id("cleanup");
    let ids = (0..200)
        .map(|number| format!("{name}-{number}").parse())
        .collect::<Result<Vec<_>, _>>()?;
    let create = stream::iter(ids).map(|id| BulkOperation::CreateDevice {
        device: Box::new(Device::new(id)),
        twin: TwinContent::new(),
    });
    let results = registry.bulk(create, None)?;
    let created = results.filter(|result| ready(result.outcome.is_done()));
    println!("{} created", created.count().await);

    let export = ExportDevices::new(container.signed().to_owned()).with_exclude_keys(true);
    let job = registry.begin_export_devices(&export, None).await?.into_model()?;
    registry.wait_for_job(&job.job_id, None)?.await?;

    let mut deletions = String::new();
    // A line that is not JSON says that the keys were left out.
    let lines = container.read("devices.txt").await?;
    let devices = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for mut device in devices {
        if device["id"].as_str().is_some_and(|id| id.starts_with(&name)) {
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

    // A job with lines that failed is complete all the same; what failed is in a blob, if anything did.
    let failures = match container.read("importErrors.log").await {
        Err(error) if error.http_status() == Some(StatusCode::NotFound) => String::new(),
        read => read?,
    };
    println!(
        "{} left, {} lines failed",
        registry.get_statistics(None).await?.into_model()?.total_device_count,
        failures.lines().count()
    );
    Ok(())
}

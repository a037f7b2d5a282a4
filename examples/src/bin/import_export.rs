//! All devices of a hub into a blob, and from there into a hub again: how a hub is copied or restored.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::future::ready;

use examples::{Failure, Stage, new_id};
use futures::{StreamExt, TryStreamExt, stream};
use iothub::{
    DeviceId, IfMatch,
    models::{Device, ExportDevices, ImportDevices, TwinContent},
    registry::{BulkOperation, RegistryClient},
};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, container) = (hub.registry()?, hub.container()?);
    let name = new_id("export");
    let ids = (0..50)
        .map(|number| format!("{name}-{number}").parse())
        .collect::<Result<Vec<DeviceId>, _>>()?;
    let create = stream::iter(ids.clone()).map(|id| BulkOperation::CreateDevice {
        device: Box::new(Device::new(id)),
        twin: TwinContent::new().set_tag("hall", 7),
    });
    registry.bulk(create, None)?.count().await;

    let export = ExportDevices::new(container.signed().to_owned());
    let job = registry.begin_export_devices(&export, None).await?.into_model()?;
    watch(&registry, "export", &job.job_id).await?;
    println!(
        "devices.txt has {} lines",
        container.read("devices.txt").await?.lines().count()
    );

    delete(&registry, &ids).await?;
    let import = ImportDevices::new(container.signed().to_owned(), container.signed().to_owned());
    let job = registry.begin_import_devices(&import, None).await?.into_model()?;
    watch(&registry, "import", &job.job_id).await?;
    let restored = registry.get_device(&ids[0], None).await?.into_model()?;
    println!("{} is back, {:?}", restored.device_id, restored.status);
    delete(&registry, &ids).await
}

async fn watch(registry: &RegistryClient, what: &str, job: &str) -> Result<(), Failure> {
    let mut states = registry.wait_for_job(job, None)?;
    while let Some(state) = states.try_next().await? {
        let job = state.into_model()?;
        println!("{what}: {}, {} %", job.status, job.progress);
    }
    Ok(())
}

async fn delete(registry: &RegistryClient, ids: &[DeviceId]) -> Result<(), Failure> {
    let delete = stream::iter(ids.to_vec()).map(|id| BulkOperation::DeleteDevice {
        id,
        if_match: IfMatch::Any,
    });
    let results = registry.bulk(delete, None)?;
    let deleted = results.filter(|result| ready(result.outcome.is_done()));
    println!("{} deleted", deleted.count().await);
    Ok(())
}

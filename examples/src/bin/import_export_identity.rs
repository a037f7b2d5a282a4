//! An export for which the hub shows an identity of its own to the storage account: no signature has to be made, kept or
//! sent.
//!
//! In Azure the hub needs a system-assigned identity with the role Storage Blob Data Contributor on the account.

use examples::{Failure, Stage};
use iothub::models::{Device, ExportDevices, StorageAuthentication};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, container) = (hub.registry()?, hub.container()?);
    let device = registry
        .create_device(&Device::new("identity-lamp".parse()?), None)
        .await?
        .into_model()?;

    let export = ExportDevices::new(container.plain())
        .with_storage(StorageAuthentication::SystemAssignedIdentity)
        .with_exclude_keys(true);
    let job = registry.begin_export_devices(&export, None).await?.into_model()?;
    println!("the hub exports to {}", container.plain());
    registry.wait_for_job(&job.job_id, None)?.await?;
    println!("{}", container.read("devices.txt").await?);

    registry.delete_device(&device.device_id, None).await?;
    Ok(())
}

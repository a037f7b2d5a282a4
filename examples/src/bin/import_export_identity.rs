//! An export and an import for which the hub shows an identity of its own to the storage account: no signature has to be
//! made, kept or sent.
//!
//! In Azure the hub needs a system-assigned identity with the role Storage Blob Data Contributor on the account.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use examples::{Failure, Stage, new_id};
use iothub::models::{Device, ExportDevices, ImportDevices, StorageAuthentication};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, container) = (hub.registry()?, hub.container()?);
    let device = registry
        .create_device(&Device::new(new_id("identity-lamp").parse()?), None)
        .await?
        .into_model()?;

    let export = ExportDevices::new(container.plain()).with_storage(StorageAuthentication::SystemAssignedIdentity);
    let job = registry.begin_export_devices(&export, None).await?.into_model()?;
    registry.wait_for_job(&job.job_id, None)?.await?;
    // The file holds keys, which are nothing for a screen.
    let lines = container.read("devices.txt").await?.lines().count();
    println!("the hub exported {lines} devices to {}", container.plain());

    registry.delete_device(&device.device_id, None).await?;
    let import = ImportDevices::new(container.plain(), container.plain())
        .with_storage(StorageAuthentication::SystemAssignedIdentity);
    let job = registry.begin_import_devices(&import, None).await?.into_model()?;
    registry.wait_for_job(&job.job_id, None)?.await?;
    let restored = registry.get_device(&device.device_id, None).await?.into_model()?;
    println!(
        "{} is back, with the keys that it had: {}",
        restored.device_id,
        restored.authentication == device.authentication
    );

    registry.delete_device(&device.device_id, None).await?;
    Ok(())
}

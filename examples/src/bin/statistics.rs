//! How many devices there are, and how many are connected.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use examples::{Failure, Stage, new_id};
use iothub::models::{Device, DeviceStatus};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let registry = hub.registry()?;
    let on = Device::new(new_id("statistics-on").parse()?);
    let off = Device::new(new_id("statistics-off").parse()?).with_status(DeviceStatus::Disabled);
    for device in [&on, &off] {
        registry.create_device(device, None).await?;
    }

    let devices = registry.get_statistics(None).await?.into_model()?;
    println!(
        "{} devices, {} enabled, {} disabled",
        devices.total_device_count, devices.enabled_device_count, devices.disabled_device_count
    );
    let service = registry.get_service_statistics(None).await?.into_model()?;
    println!("{} connected", service.connected_device_count);

    for device in [on, off] {
        registry.delete_device(&device.device_id, None).await?;
    }
    Ok(())
}

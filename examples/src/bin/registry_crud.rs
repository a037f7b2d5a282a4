//! Devices from creation to deletion, and an edge device with another edge device and a leaf below it.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use examples::{Failure, Stage, new_id};
use iothub::{
    HubError, HubErrorCode,
    models::{Device, DeviceCapabilities, DeviceStatus},
};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let registry = hub.registry()?;

    let lamp = registry
        .create_device(&Device::new(new_id("crud-lamp").parse()?), None)
        .await?
        .into_model()?;
    println!("created {} with keys that the hub made", lamp.device_id);

    let disabled = lamp
        .with_status(DeviceStatus::Disabled)
        .with_status_reason("being repaired");
    let lamp = registry.update_device(&disabled, None).await?.into_model()?;
    println!("{} is {:?}: {:?}", lamp.device_id, lamp.status, lamp.status_reason);

    // The record that was read before the update is out of date, and the hub says so.
    match registry.update_device(&disabled, None).await {
        Err(late) if HubError::of(&late).is_some_and(|hub| hub.code == HubErrorCode::PreconditionFailed) => {
            println!("a late writer does not overwrite: {late}");
        }
        written => println!("{} was overwritten", written?.into_model()?.device_id),
    }

    let is_edge = DeviceCapabilities::default().with_is_edge(true);
    let parent = Device::new(new_id("crud-gateway").parse()?).with_capabilities(is_edge.clone());
    let parent = registry.create_device(&parent, None).await?.into_model()?;
    let scope = parent.device_scope.clone().unwrap_or_default();
    let below = Device::new(new_id("crud-lower-gateway").parse()?).with_capabilities(is_edge);
    let below = registry
        .create_device(&below.with_parent_scopes(vec![scope.clone()]), None)
        .await?
        .into_model()?;
    let leaf = Device::new(new_id("crud-leaf").parse()?).with_device_scope(scope);
    let leaf = registry.create_device(&leaf, None).await?.into_model()?;
    println!(
        "{} and {} are below {}",
        below.device_id, leaf.device_id, parent.device_id
    );

    for device in [lamp, leaf, below, parent] {
        registry.delete_device(&device.device_id, None).await?;
        println!("deleted {}", device.device_id);
    }
    Ok(())
}

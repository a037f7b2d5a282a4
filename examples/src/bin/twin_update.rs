//! The twin of a device: tags for the backend, desired properties for the device.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use examples::{Failure, Stage, new_id};
use iothub::{
    IfMatch,
    models::{Device, TwinPatch},
    registry::{TwinId, UpdateTwinOptions},
};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let registry = hub.registry()?;
    let device = registry
        .create_device(&Device::new(new_id("twin-lamp").parse()?), None)
        .await?
        .into_model()?;
    let id = TwinId::from(device.device_id.clone());

    let patch = TwinPatch::new()
        .set_tag("hall", 7)
        .set_desired("level", 80)
        .set_desired("colour", "warm");
    let twin = registry.update_twin(&id, &patch, None).await?.into_model()?;
    println!("tags {}, desired {}", twin.tags().as_str(), twin.desired().as_str());

    // What a patch removes is gone; what it does not name stays. This one only counts if nobody wrote in between.
    let patch = TwinPatch::new().remove_desired("colour");
    let options = UpdateTwinOptions {
        if_match: twin.etag().map(IfMatch::Tag),
        ..Default::default()
    };
    let twin = registry.update_twin(&id, &patch, Some(options)).await?.into_model()?;
    println!(
        "desired version {:?}: {}",
        twin.desired().version(),
        twin.desired().as_str()
    );

    // Read, change, write if unchanged, and again from the start if somebody was faster.
    let brighter = |twin: &iothub::models::Twin| {
        let level: i64 = twin.desired().get("level")?.unwrap_or_default();
        Ok(TwinPatch::new().set_desired("level", level + 10))
    };
    let twin = registry.modify_twin(&id, brighter, None).await?;
    println!("the level is now {:?}", twin.desired().get::<i64>("level")?);

    registry.delete_device(&device.device_id, None).await?;
    Ok(())
}

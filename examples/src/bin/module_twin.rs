//! The twin of a module, which is its own and not the device's.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use examples::{Failure, Stage, new_id};
use iothub::{
    IfMatch, ModuleId,
    models::{Device, Module, TwinContent, TwinPatch},
    registry::TwinId,
};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let registry = hub.registry()?;
    let gateway = registry
        .create_device(&Device::new(new_id("module-twin-gateway").parse()?), None)
        .await?
        .into_model()?;
    let filter = ModuleId::new(gateway.device_id.clone(), "filter")?;
    registry.create_module(&Module::new(filter.clone()), None).await?;

    let id = TwinId::from(filter);
    let patch = TwinPatch::new().set_desired("window", 5).set_tag("team", "signals");
    let twin = registry.update_twin(&id, &patch, None).await?.into_model()?;
    println!(
        "{:?} of {}: desired {}",
        twin.module_id(),
        twin.device_id(),
        twin.desired().as_str()
    );

    // A replacement leaves nothing of what was there before.
    let content = TwinContent::new().set_desired("window", 9);
    let twin = registry
        .replace_twin(&id, &content, IfMatch::Any, None)
        .await?
        .into_model()?;
    println!(
        "replaced: tags {}, desired {}",
        twin.tags().as_str(),
        twin.desired().as_str()
    );

    registry.delete_device(&gateway.device_id, None).await?;
    Ok(())
}

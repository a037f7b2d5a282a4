//! Modules: parts of a device with an identity and a twin of their own.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use examples::{Failure, Stage, new_id};
use iothub::{
    ModuleId,
    models::{Device, Module},
};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let registry = hub.registry()?;
    let gateway = registry
        .create_device(&Device::new(new_id("modules-gateway").parse()?), None)
        .await?
        .into_model()?;

    for name in ["filter", "uploader"] {
        let module = Module::new(ModuleId::new(gateway.device_id.clone(), name)?).with_managed_by("an example");
        let module = registry.create_module(&module, None).await?.into_model()?;
        println!("created {}, looked after by {:?}", module.id, module.managed_by);
    }

    let filter = ModuleId::new(gateway.device_id.clone(), "filter")?;
    let change = |module: &mut Module| module.managed_by = Some("somebody else".to_owned());
    let filter = registry.modify_module(&filter, change, None).await?;
    println!("{} is now looked after by {:?}", filter.id, filter.managed_by);

    registry.delete_module(&filter.id, None).await?;
    for module in registry.list_modules(&gateway.device_id, None).await?.into_model()? {
        println!("left: {}", module.id);
    }
    registry.delete_device(&gateway.device_id, None).await?;
    println!("deleted {}, and its modules with it", gateway.device_id);
    Ok(())
}

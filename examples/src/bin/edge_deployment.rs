//! Edge deployments: what runs on edge devices, by a base deployment, a layer on top of it, and directly on one device.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use examples::{Failure, Stage, new_id};
use iothub::{
    ModuleId,
    models::{Configuration, ConfigurationContent, Device, DeviceCapabilities, TwinPatch},
    registry::TwinId,
};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let registry = hub.registry()?;
    let is_edge = DeviceCapabilities::default().with_is_edge(true);
    let gateway = Device::new(new_id("edge-gateway").parse()?).with_capabilities(is_edge);
    let gateway = registry.create_device(&gateway, None).await?.into_model()?;
    let patch = TwinPatch::new().set_tag("site", "north");
    registry
        .update_twin(&gateway.device_id.clone().into(), &patch, None)
        .await?;

    let image = |name: &str| {
        json!({ "type": "docker", "status": "running", "restartPolicy": "always", "version": "1.0",
        "settings": { "image": format!("registry.example/{name}:1.0"), "createOptions": "{}" } })
    };
    let base = json!({
        "$edgeAgent": { "properties.desired": {
            "schemaVersion": "1.1",
            "runtime": { "type": "docker", "settings": {} },
            "systemModules": { "edgeAgent": image("agent"), "edgeHub": image("hub") },
            "modules": { "reader": image("reader") },
        } },
        "$edgeHub": { "properties.desired": {
            "schemaVersion": "1.1", "routes": { "up": "FROM /messages/* INTO $upstream" },
            "storeAndForwardConfiguration": { "timeToLiveSecs": 7200 },
        } },
    });
    let layer = json!({
        "$edgeAgent": { "properties.desired.modules.filter": image("filter") },
        "filter": { "properties.desired": { "window": 5 } },
    });
    let deployments = [(new_id("base-north"), 10, &base), (new_id("filter-north"), 20, &layer)];
    for (id, priority, content) in &deployments {
        let deployment = Configuration::new(id)
            .with_content(edge(content)?)
            .with_target_condition("tags.site = 'north'")
            .with_priority(*priority);
        registry.create_configuration(&deployment, None).await?;
        println!("created {id}");
    }
    let agent = TwinId::from(ModuleId::new(gateway.device_id.clone(), "$edgeAgent")?);
    let twin = registry.get_twin(&agent, None).await?.into_model()?;
    println!("the agent is to run {:?}", twin.desired().raw("modules")?);
    for (id, ..) in &deployments {
        registry.delete_configuration(&id.parse()?, None).await?;
    }

    registry
        .apply_configuration_content(&gateway.device_id, &edge(&base)?, None)
        .await?;
    for module in registry.list_modules(&gateway.device_id, None).await?.into_model()? {
        println!("{} is a module", module.id);
    }
    registry.delete_device(&gateway.device_id, None).await?;
    Ok(())
}

fn edge(content: &Value) -> Result<ConfigurationContent, Failure> {
    Ok(ConfigurationContent::Edge(serde_json::from_value(content.clone())?))
}

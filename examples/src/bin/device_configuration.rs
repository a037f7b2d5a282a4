//! Automatic device management: a configuration that the hub applies to every device that matches a condition, now and later.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;

use examples::{Failure, Stage, new_id};
use iothub::{
    models::{Configuration, ConfigurationContent, ConfigurationMetrics, ConfigurationQueries, Device, TwinPatch},
    registry::TwinId,
};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let registry = hub.registry()?;
    let chiller = registry
        .create_device(&Device::new(new_id("configured-chiller").parse()?), None)
        .await?
        .into_model()?;
    let twin = TwinId::from(chiller.device_id.clone());

    let condition = "tags.environment = 'test'";
    let metric = (
        "onVersion2".to_owned(),
        "SELECT deviceId FROM devices WHERE properties.reported.version = 2".to_owned(),
    );
    let queries = BTreeMap::from([metric]);
    let check = ConfigurationQueries::default()
        .with_target_condition(condition)
        .with_custom_metric_queries(queries.clone());
    let mistakes = registry.test_configuration_queries(&check, None).await?.into_model()?;
    println!("mistakes in the queries: {mistakes:?}");

    let settings = json!({ "properties.desired.chiller": { "temperature": 66, "pressure": 28 } });
    let content = ConfigurationContent::Device(serde_json::from_value(settings)?);
    let configuration = Configuration::new(new_id("chillers-in-test"))
        .with_content(content)
        .with_target_condition(condition)
        .with_priority(10)
        .with_metrics(ConfigurationMetrics::default().with_queries(queries));
    let configuration = registry
        .create_configuration(&configuration, None)
        .await?
        .into_model()?;
    println!("created {}", configuration.id);

    let patch = TwinPatch::new().set_tag("environment", "test");
    registry.update_twin(&twin, &patch, None).await?;
    // In Azure it takes minutes until a configuration reaches its devices.
    let read = registry.get_twin(&twin, None).await?.into_model()?;
    println!(
        "{} has desired {:?} by {:?}",
        read.device_id(),
        read.desired().raw("chiller")?,
        read.configurations()?.keys()
    );

    let id = configuration.id.parse()?;
    let metrics = registry.get_configuration(&id, None).await?.into_model()?;
    println!(
        "system metrics {:?}, own {:?}",
        metrics.system_metrics.results, metrics.metrics.results
    );

    registry.delete_configuration(&id, None).await?;
    registry.delete_device(&chiller.device_id, None).await?;
    Ok(())
}

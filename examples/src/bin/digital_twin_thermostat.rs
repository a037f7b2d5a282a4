//! A Plug and Play device by the words of its model: read it, ask for a change, invoke a command.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use examples::{Failure, Stage, THERMOSTAT, new_id, plug_in_thermostat};
use iothub::{
    DeviceId,
    digitaltwin::{
        Command, DigitalTwinId, IfMatch, JsonPatch, UpdateDigitalTwinOptions,
        models::{DigitalTwinMetadata, JsonText},
    },
    models::Device,
};
use serde::Deserialize;
use serde_json::json;

/// As much of the model as this program is interested in.
#[derive(Debug, Deserialize)]
struct Thermostat {
    #[serde(rename = "targetTemperature")]
    target: Option<f64>,
    #[serde(rename = "maxTempSinceLastReboot")]
    highest: Option<f64>,
    #[serde(rename = "$metadata")]
    metadata: DigitalTwinMetadata,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, twins) = (hub.registry()?, hub.digital_twins()?);
    let device: DeviceId = new_id("thermostat").parse()?;
    registry.create_device(&Device::new(device.clone()), None).await?;
    match hub.device(&device)? {
        Some(device) => plug_in_thermostat(&device)?,
        None => println!("connect as {device} with the model {THERMOSTAT}"),
    }

    let id = DigitalTwinId::from(device.clone());
    let read = twins.get_digital_twin(&id, None).await?;
    let thermostat: Thermostat = read.parse()?;
    println!(
        "{id} follows {:?}, highest {:?}",
        thermostat.metadata.model_id, thermostat.highest
    );

    // What is wanted is stored at once; the value is the device's, and changes when that has answered.
    let patch = JsonPatch::new().add("/targetTemperature", 21.5);
    let options = UpdateDigitalTwinOptions {
        if_match: read.etag.map(IfMatch::Tag),
        ..Default::default()
    };
    twins.update_digital_twin(&id, &patch, Some(options)).await?;
    let thermostat = loop {
        let thermostat: Thermostat = twins.get_digital_twin(&id, None).await?.parse()?;
        let target = &thermostat.metadata.properties["targetTemperature"];
        if target.ack_version >= target.desired_version {
            println!("it says {:?} {:?}", target.ack_code, target.ack_description);
            break thermostat;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    println!("it aims at {:?}", thermostat.target);

    let report = Command::new("getMaxMinReport")
        .with_payload(json!("2026-01-01T00:00:00Z"))
        .with_connect_timeout(Duration::from_secs(30));
    let answer = twins.invoke_command(&id, &report, None).await?;
    println!("{}: {:?}", answer.status, answer.payload.as_ref().map(JsonText::as_str));

    registry.delete_device(&device, None).await?;
    Ok(())
}

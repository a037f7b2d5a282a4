//! A Plug and Play device by its twin and by methods: what there is below digital twins.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use examples::{Failure, Stage, THERMOSTAT, new_id, plug_in_thermostat};
use iothub::{
    DeviceId,
    models::{Device, DirectMethodRequest, JsonText, TwinPatch},
    registry::TwinId,
};
use iothub_transport_amqp::Carrier;
use serde::Deserialize;
use serde_json::json;

/// What a device reports of a writable property.
#[derive(Deserialize)]
struct Answer {
    value: f64,
    #[serde(rename = "ac")]
    code: u16,
    #[serde(rename = "av")]
    version: i64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, service) = (hub.registry()?, hub.service(Carrier::Tls)?);
    let device: DeviceId = new_id("thermostat").parse()?;
    registry.create_device(&Device::new(device.clone()), None).await?;
    match hub.device(&device)? {
        Some(device) => plug_in_thermostat(&device)?,
        None => println!("connect as {device} with the model {THERMOSTAT}"),
    }

    let id = TwinId::from(device.clone());
    let twin = registry.get_twin(&id, None).await?.into_model()?;
    println!(
        "{device} follows {:?}, reports {}",
        twin.model_id(),
        twin.reported().as_str()
    );

    let patch = TwinPatch::new().set_desired("targetTemperature", 21.5);
    let wanted = registry.update_twin(&id, &patch, None).await?.into_model()?;
    loop {
        let twin = registry.get_twin(&id, None).await?.into_model()?;
        match twin.reported().get::<Answer>("targetTemperature")? {
            Some(answer) if Some(answer.version) >= wanted.desired().version() => {
                println!("it aims at {} and says {}", answer.value, answer.code);
                break;
            }
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }

    // A command of the root is a method of the same name.
    let report = DirectMethodRequest::new("getMaxMinReport")
        .with_payload(json!("2026-01-01T00:00:00Z"))
        .with_connect_timeout(Duration::from_secs(30));
    let answer = service
        .invoke_method(&device.clone().into(), &report, None)
        .await?
        .into_model()?;
    println!("{}: {:?}", answer.status, answer.payload.as_ref().map(JsonText::as_str));

    registry.delete_device(&device, None).await?;
    Ok(())
}

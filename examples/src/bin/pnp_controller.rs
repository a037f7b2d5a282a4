//! Components of a Plug and Play device by its twin and by methods: marks and names that are agreed upon.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use examples::{CONTROLLER, Failure, Stage, new_id, plug_in_controller};
use iothub::{
    DeviceId,
    models::{Device, DirectMethodRequest, JsonText, TwinPatch},
    registry::TwinId,
};
use iothub_transport_amqp::Carrier;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, service) = (hub.registry()?, hub.service(Carrier::Tls)?);
    let device: DeviceId = new_id("controller").parse()?;
    registry.create_device(&Device::new(device.clone()), None).await?;
    match hub.device(&device)? {
        Some(device) => plug_in_controller(&device)?,
        None => println!("connect as {device} with the model {CONTROLLER}"),
    }

    // A component is an object that is marked as one. Devices go by the mark.
    let id = TwinId::from(device.clone());
    let component = json!({ "__t": "c", "targetTemperature": 21.5 });
    let patch = TwinPatch::new().set_desired("thermostat1", component);
    let wanted = registry.update_twin(&id, &patch, None).await?.into_model()?;
    loop {
        let twin = registry.get_twin(&id, None).await?.into_model()?;
        let answered: Option<i64> = twin.reported().get("thermostat1.targetTemperature.av")?;
        if answered >= wanted.desired().version() {
            let value: Option<f64> = twin.reported().get("thermostat1.targetTemperature.value")?;
            println!("{:?}: thermostat1 aims at {value:?}", twin.model_id());
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    // A command of a component is a method with the component in front.
    for (name, payload) in [
        ("thermostat1*getMaxMinReport", json!("2026-01-01T00:00:00Z")),
        ("reboot", json!(3)),
    ] {
        let method = DirectMethodRequest::new(name)
            .with_payload(payload)
            .with_connect_timeout(Duration::from_secs(30));
        let answer = service
            .invoke_method(&device.clone().into(), &method, None)
            .await?
            .into_model()?;
        println!(
            "{name}: {} {:?}",
            answer.status,
            answer.payload.as_ref().map(JsonText::as_str)
        );
    }

    registry.delete_device(&device, None).await?;
    Ok(())
}

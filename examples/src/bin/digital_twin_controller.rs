//! A Plug and Play device with components, and a way to command it where a hub takes no commands.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use examples::{CONTROLLER, Failure, Stage, new_id, plug_in_controller};
use iothub::{
    DeviceId, HubError, HubErrorCode,
    digitaltwin::{
        Command, DigitalTwinId, JsonPatch,
        models::{BasicComponent, BasicDigitalTwin, JsonText},
    },
    models::{Device, DirectMethodRequest},
};
use iothub_transport_amqp::Carrier;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, twins, service) = (hub.registry()?, hub.digital_twins()?, hub.service(Carrier::Tls)?);
    let device: DeviceId = new_id("controller").parse()?;
    registry.create_device(&Device::new(device.clone()), None).await?;
    match hub.device(&device)? {
        Some(device) => plug_in_controller(&device)?,
        None => println!("connect as {device} with the model {CONTROLLER}"),
    }
    let id = DigitalTwinId::from(device.clone());

    // One property of a component, and a component as a whole: what it does not name is cleared.
    let patch = JsonPatch::new()
        .add("/thermostat1/targetTemperature", 21.5)
        .add_component("/thermostat2", [("targetTemperature", 19)]);
    twins.update_digital_twin(&id, &patch, None).await?;
    for name in ["thermostat1", "thermostat2"] {
        let thermostat = loop {
            let twin: BasicDigitalTwin = twins.get_digital_twin(&id, None).await?.parse()?;
            let thermostat: BasicComponent = twin.get(name)?.ok_or("the component is gone")?;
            let target = &thermostat.metadata.properties["targetTemperature"];
            if target.ack_version >= target.desired_version {
                break thermostat;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        println!("{name} aims at {:?}", thermostat.get::<f64>("targetTemperature")?);
    }

    let patience = Duration::from_secs(30);
    for command in [
        Command::new("getMaxMinReport")
            .on_component("thermostat1")
            .with_payload(json!("2026-01-01T00:00:00Z"))
            .with_connect_timeout(patience),
        Command::new("reboot")
            .with_payload(json!(3))
            .with_connect_timeout(patience),
    ] {
        let (status, payload) = match twins.invoke_command(&id, &command, None).await {
            Ok(answer) => (answer.status, answer.payload),
            // So a hub answers to Entra. The device cannot tell the method from the command.
            Err(error)
                if HubError::of(&error).is_some_and(|hub| hub.code == HubErrorCode::IotHubUnauthorizedAccess) =>
            {
                let method = DirectMethodRequest::from(&command);
                let answer = service
                    .invoke_method(&device.clone().into(), &method, None)
                    .await?
                    .into_model()?;
                (answer.status, answer.payload)
            }
            Err(error) => return Err(error.into()),
        };
        println!(
            "{}: {status} {:?}",
            command.name,
            payload.as_ref().map(JsonText::as_str)
        );
    }

    registry.delete_device(&device, None).await?;
    Ok(())
}

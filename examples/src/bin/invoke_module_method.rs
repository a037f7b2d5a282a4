//! A method of a module, with a payload and an answer that have types.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use examples::{Failure, Stage, new_id};
use iothub::{
    HubError, HubErrorCode, ModuleId,
    models::{Device, DirectMethodRequest, JsonText, Module},
    service::Target,
};
use iothub_transport_amqp::Carrier;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Calibrate {
    samples: u32,
}

#[derive(Deserialize)]
struct Calibrated {
    offset: f64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, service) = (hub.registry()?, hub.service(Carrier::Tls)?);
    let gateway = Device::new(new_id("module-method-gateway").parse()?);
    registry.create_device(&gateway, None).await?;
    let id = ModuleId::new(gateway.device_id.clone(), "filter")?;
    registry.create_module(&Module::new(id.clone()), None).await?;

    let filter = match &hub.emulator {
        Some(emulator) => Some(emulator.module(id.device().as_str(), id.module())?),
        None => None,
    };
    match &filter {
        Some(filter) => filter.on_method(|_, _| (200, r#"{"offset":-0.25}"#.to_owned()))?,
        None => println!(r#"connect as {id} within 30 seconds, and answer `calibrate` with {{"offset": a number}}"#),
    }

    let calibrate = DirectMethodRequest::new("calibrate")
        .with_payload(JsonText::new(&Calibrate { samples: 64 })?)
        .with_connect_timeout(Duration::from_secs(30));
    match service.invoke_method(&Target::from(id.clone()), &calibrate, None).await {
        Ok(response) => {
            let answer = response.into_model()?;
            let calibrated = answer.payload.map(|json| json.parse::<Calibrated>()).transpose()?;
            let offset = calibrated.map(|it| it.offset);
            println!("{id} answers with status {}, offset {offset:?}", answer.status);
        }
        Err(error) if HubError::of(&error).is_some_and(|hub| hub.code == HubErrorCode::DeviceNotOnline) => {
            println!("{id} is not connected");
        }
        Err(error) => return Err(error.into()),
    }
    registry.delete_device(&gateway.device_id, None).await?;
    Ok(())
}

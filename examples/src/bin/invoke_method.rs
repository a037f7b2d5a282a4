//! A method that a device runs while the caller waits, and a device that is not there.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use examples::{Failure, Stage, new_id};
use iothub::{
    DeviceId, HubError, HubErrorCode, Result,
    models::{Device, DirectMethodRequest, JsonText},
    service::ServiceClient,
};
use iothub_transport_amqp::Carrier;
use serde_json::json;

#[tokio::main]
async fn main() -> std::result::Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, service) = (hub.registry()?, hub.service(Carrier::Tls)?);
    let id: DeviceId = new_id("method-lamp").parse()?;
    registry.create_device(&Device::new(id.clone()), None).await?;

    // The device's side: a status and JSON for the name of a method and its payload.
    let lamp = hub.device(&id)?;
    match &lamp {
        Some(lamp) => lamp.on_method(|name, payload| match name {
            "dim" => (200, payload.to_owned()),
            _ => (404, r#""no such method""#.to_owned()),
        })?,
        None => println!("connect as {id} by MQTT or AMQP within 30 seconds, and answer the method `dim`"),
    }
    // The hub waits for a device that is not connected, but only if it is asked to.
    let dim = DirectMethodRequest::new("dim")
        .with_payload(json!({ "percent": 30 }))
        .with_connect_timeout(Duration::from_secs(30))
        .with_response_timeout(Duration::from_secs(30));
    let blink = DirectMethodRequest::new("blink");
    for method in [&dim, &blink] {
        invoke(&service, &id, method).await?;
    }
    if let Some(lamp) = lamp {
        lamp.go_offline();
        invoke(&service, &id, &blink).await?;
    }
    registry.delete_device(&id, None).await?;
    Ok(())
}

async fn invoke(service: &ServiceClient, id: &DeviceId, method: &DirectMethodRequest) -> Result<()> {
    let name = &method.method_name;
    match service.invoke_method(&id.clone().into(), method, None).await {
        Ok(response) => {
            let answer = response.into_model()?;
            let payload = answer.payload.as_ref().map_or("null", JsonText::as_str);
            println!("{name}: status {}, {payload}", answer.status);
        }
        Err(error) => match HubError::of(&error).map(|hub| &hub.code) {
            Some(HubErrorCode::DeviceNotOnline) => println!("{name}: {id} is not connected, and nothing has run"),
            // The client does not repeat it, because it may have run.
            Some(HubErrorCode::GatewayTimeout) => println!("{name}: {id} has not answered in time"),
            _ => return Err(error),
        },
    }
    Ok(())
}

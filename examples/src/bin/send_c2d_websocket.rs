//! A message through a WebSocket on the port of HTTPS, for networks that let nothing else out.
//!
//! Set `HTTPS_PROXY` to go through a proxy.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use examples::{Failure, Stage, new_id};
use iothub::{DeviceId, models::Device, service::CloudToDeviceMessage};
use iothub_transport_amqp::Carrier;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let registry = hub.registry()?;
    // With the client's own transport, `ServiceClientOptions::amqp_carrier` says the same.
    let service = hub.service(Carrier::WebSocket)?;
    let id: DeviceId = new_id("websocket-lamp").parse()?;
    registry.create_device(&Device::new(id.clone()), None).await?;

    let message = CloudToDeviceMessage::new("on");
    service.send(&id.clone().into(), message, None).await?;
    println!(
        "the hub has stored a message for {id}, sent to port {}",
        hub.host.https_port()
    );
    if let Some(lamp) = hub.device(&id)? {
        println!("{id} has taken {:?}", lamp.recv().await.complete()?.body);
    }

    service.close().await?;
    registry.delete_device(&id, None).await?;
    Ok(())
}

//! A message to a device, what became of it, and what an error means.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use azure_core::time::OffsetDateTime;
use examples::{Failure, Stage, new_id};
use futures::StreamExt;
use iothub::{
    CallFacts, DeviceId, Error, HubError, HubErrorCode,
    models::Device,
    service::{Ack, CloudToDeviceMessage, Target},
};
use iothub_transport_amqp::Carrier;
use tokio::time::timeout;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, service) = (hub.registry()?, hub.service(Carrier::Tls)?);
    let id: DeviceId = new_id("send-lamp").parse()?;
    registry.create_device(&Device::new(id.clone()), None).await?;

    let message = CloudToDeviceMessage {
        message_id: Some("lamp-on-1".to_owned()),
        // A device that nobody connects does not come for it, and the hub tells that, too.
        expiry_time: Some(OffsetDateTime::now_utc() + Duration::from_secs(20)),
        ack: Ack::Full,
        ..CloudToDeviceMessage::new("on")
    };
    let mut feedback = service.feedback(None);
    service.send(&id.clone().into(), message, None).await?;
    println!("the hub has stored a message for {id}");

    match hub.device(&id)? {
        Some(lamp) => println!("{id} has taken {:?}", lamp.recv().await.complete()?.body),
        None => println!("receive and complete it as {id} within 20 seconds, or it expires"),
    }
    if let Some(emulator) = &hub.emulator {
        // A hub waits this long for more to tell.
        emulator.clock().advance(Duration::from_secs(15));
    }
    // Batches that tell of others stay uncompleted here, so that the hub gives them to whoever sent those messages.
    let mut of_others = Vec::new();
    while let Ok(Some(batch)) = timeout(Duration::from_secs(60), feedback.next()).await {
        let batch = batch?;
        let Some(record) = batch.records.iter().find(|record| record.device_id == id.as_str()) else {
            of_others.push(batch);
            continue;
        };
        println!("{}: {}", record.original_message_id, record.status.as_str());
        batch.complete().await?;
        break;
    }

    let nobody = Target::Device(new_id("nobody").parse()?);
    if let Err(error) = service.send(&nobody, CloudToDeviceMessage::new("on"), None).await {
        println!("{error}: {}", meaning(&error));
    }
    service.close().await?;
    registry.delete_device(&id, None).await?;
    Ok(())
}

fn meaning(error: &Error) -> &'static str {
    match HubError::of(error).map(|hub| &hub.code) {
        Some(HubErrorCode::DeviceNotFound) => "the registry has no such device",
        Some(HubErrorCode::DeviceMaximumQueueDepthExceeded) => "50 messages wait for the device already",
        _ if CallFacts::of(error).is_some_and(|facts| facts.maybe_applied) => "it may be stored all the same",
        _ => "it is not stored",
    }
}

//! Which files devices have uploaded, as the hub tells it.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use examples::{Failure, Stage, new_id};
use futures::StreamExt;
use iothub::{DeviceId, models::Device};
use iothub_transport_amqp::Carrier;
use tokio::time::timeout;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, service) = (hub.registry()?, hub.service(Carrier::Tls)?);
    let id: DeviceId = new_id("upload-camera").parse()?;
    registry.create_device(&Device::new(id.clone()), None).await?;

    match hub.device(&id)? {
        Some(camera) => {
            for name in ["front.jpg", "back.jpg"] {
                camera.upload(name, "not quite a picture")?;
            }
        }
        None => println!(
            "upload two files as {id} within a minute, to a hub that has a storage account and file notifications on"
        ),
    }

    let mut files = service.file_notifications(None);
    // Those of other devices stay uncompleted, so that the hub gives them to whoever waits for them.
    let mut of_others = Vec::new();
    let mut left = 2;
    while left > 0 {
        let Ok(Some(file)) = timeout(Duration::from_secs(60), files.next()).await else {
            println!("no file for a minute");
            break;
        };
        let file = file?;
        if file.device_id != id.as_str() {
            of_others.push(file);
            continue;
        }
        println!("{} of {} bytes at {}", file.blob_name, file.blob_size, file.blob_uri);
        file.complete().await?;
        left -= 1;
    }
    service.close().await?;
    registry.delete_device(&id, None).await?;
    Ok(())
}

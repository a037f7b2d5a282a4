//! What takes a device a while: a method begins it, and reported properties tell how it goes.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use examples::{Failure, Stage, new_id};
use iothub::{
    DeviceId,
    models::{Device, DirectMethodRequest},
    registry::{RegistryClient, TwinId},
    service::ServiceClient,
};
use iothub_transport_amqp::Carrier;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, service) = (hub.registry()?, hub.service(Carrier::Tls)?);
    let device: DeviceId = new_id("managed-lamp").parse()?;
    registry.create_device(&Device::new(device.clone()), None).await?;
    match hub.device(&device)? {
        Some(device) => manage(device)?,
        None => println!("connect as {device}, answer `reboot` and `firmwareUpdate`, and report `dm.<method>.status`"),
    }

    run(&registry, &service, &device, &DirectMethodRequest::new("reboot")).await?;
    let package = json!({ "fwPackageUri": "https://example.com/lamp-2.bin" });
    let update = DirectMethodRequest::new("firmwareUpdate").with_payload(package);
    run(&registry, &service, &device, &update).await?;

    registry.delete_device(&device, None).await?;
    Ok(())
}

/// Begins something on the device, and follows it to its end.
async fn run(
    registry: &RegistryClient,
    service: &ServiceClient,
    device: &DeviceId,
    method: &DirectMethodRequest,
) -> Result<(), Failure> {
    let name = &method.method_name;
    let method = method.clone().with_connect_timeout(Duration::from_secs(30));
    let answer = service
        .invoke_method(&device.clone().into(), &method, None)
        .await?
        .into_model()?;
    println!("{name}: the device says {}", answer.status);
    let (id, path) = (TwinId::from(device.clone()), format!("dm.{name}.status"));
    let mut last = None;
    loop {
        let twin = registry.get_twin(&id, None).await?.into_model()?;
        let status: Option<String> = twin.reported().get(&path)?;
        if status != last {
            println!("{name}: {}", status.as_deref().unwrap_or("nothing yet"));
        }
        match status.as_deref() {
            Some("done") => return Ok(()),
            Some("failed") => return Err(format!("{name} failed").into()),
            _ => last = status,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The device's side: it answers at once that it has begun, and reports each step.
fn manage(device: iothub_emulator::Device) -> iothub::Result<()> {
    let worker = device.clone();
    device.on_method(move |name, _| {
        let steps: &[&str] = match name {
            "reboot" => &["rebooting", "done"],
            "firmwareUpdate" => &["downloading", "verifying", "applying", "done"],
            _ => return (404, String::new()),
        };
        let (worker, name) = (worker.clone(), name.to_owned());
        tokio::spawn(async move {
            for step in steps {
                tokio::time::sleep(Duration::from_millis(300)).await;
                worker.report(&json!({ "dm": { &name: { "status": step } } }).to_string())?;
            }
            iothub::Result::Ok(())
        });
        (202, String::new())
    })
}

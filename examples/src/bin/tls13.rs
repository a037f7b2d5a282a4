//! Nothing older than TLS 1.3, over HTTPS and over AMQP. A hub that speaks only TLS 1.2 is refused.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;

use azure_core::http::ClientOptions;
use examples::{Failure, Stage, new_id};
use iothub::{
    DeviceId,
    models::Device,
    registry::{RegistryClient, RegistryClientOptions},
    service::{CloudToDeviceMessage, ServiceClient, ServiceClientOptions},
};
use iothub_transport_amqp::{AmqpOptions, Fe2o3Transport};
use iothub_transport_http::{HyperOptions, HyperTransport, TlsVersion};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let http = HyperTransport::new(HyperOptions {
        min_tls: TlsVersion::Tls13,
        extra_roots: hub.roots().to_vec(),
        ..Default::default()
    })?;
    let amqp = Fe2o3Transport::new(AmqpOptions {
        min_tls: TlsVersion::Tls13,
        extra_roots: hub.roots().to_vec(),
        ..Default::default()
    })?;

    let client_options = ClientOptions {
        transport: Some(http.into()),
        ..Default::default()
    };
    let options = RegistryClientOptions {
        client_options: client_options.clone(),
        ..Default::default()
    };
    let registry = RegistryClient::new(hub.host.clone(), hub.credential.clone(), Some(options))?;
    let options = ServiceClientOptions {
        client_options,
        amqp_transport: Some(Arc::new(amqp)),
        ..Default::default()
    };
    let service = ServiceClient::new(hub.host.clone(), hub.credential.clone(), Some(options))?;

    let id: DeviceId = new_id("tls13-lamp").parse()?;
    registry.create_device(&Device::new(id.clone()), None).await?;
    println!("created {id} over HTTPS with TLS 1.3");
    let message = CloudToDeviceMessage::new("on");
    service.send(&id.clone().into(), message, None).await?;
    println!("sent a message to {id} over AMQP with TLS 1.3");

    service.close().await?;
    registry.delete_device(&id, None).await?;
    Ok(())
}

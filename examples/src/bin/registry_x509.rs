//! Devices that prove who they are with a certificate: one that the hub knows by its thumbprint, and one whose issuer it
//! knows.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use examples::{Failure, Stage, new_id};
use iothub::models::{Authentication, Device, X509Thumbprints};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let registry = hub.registry()?;

    // The SHA-1 or SHA-256 of the certificate's DER, as `openssl x509 -fingerprint` prints it without colons.
    let (old, new) = ("a".repeat(40), "b".repeat(40));
    let thumbprints = Authentication::Thumbprints(X509Thumbprints::new(&old).with_secondary(&new));
    let valve = Device::new(new_id("x509-valve").parse()?).with_authentication(thumbprints);
    let valve = registry.create_device(&valve, None).await?.into_model()?;
    println!("{} has {:?}", valve.device_id, valve.authentication);

    // When the old certificate has run out, only the new one stays.
    let only_new = valve.with_authentication(X509Thumbprints::new(&new).into());
    let valve = registry.update_device(&only_new, None).await?.into_model()?;
    println!("{} has {:?}", valve.device_id, valve.authentication);

    let pump = Device::new(new_id("x509-pump").parse()?).with_authentication(Authentication::CertificateAuthority);
    let pump = registry.create_device(&pump, None).await?.into_model()?;
    println!("{} has {:?}", pump.device_id, pump.authentication);

    for device in [valve, pump] {
        registry.delete_device(&device.device_id, None).await?;
        println!("deleted {}", device.device_id);
    }
    Ok(())
}

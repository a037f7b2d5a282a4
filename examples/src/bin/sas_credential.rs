//! Signatures that somebody else makes, replaced in place while clients go on.
//!
//! Against Azure set `IOTHUB_CONNECTION_STRING`, whose key plays the part of that somebody.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use azure_core::time::OffsetDateTime;
use examples::{Failure, Stage};
use iothub::{
    Credential, SharedAccessSignature,
    auth::CredentialError,
    registry::{RegistryClient, RegistryClientOptions},
};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let Credential::SharedAccessKey(key) = &hub.credential else {
        return Err("only a key signs: set IOTHUB_CONNECTION_STRING".into());
    };
    // Where keys are kept from backends, a service of its own does this and hands out the text.
    let text_until = |time: OffsetDateTime| key.sign(hub.host.name(), time).secret();
    let now = OffsetDateTime::now_utc();

    let signature: SharedAccessSignature = text_until(now - Duration::from_secs(60)).secret().parse()?;
    let options = RegistryClientOptions {
        client_options: hub.client_options(),
        ..Default::default()
    };
    let registry = RegistryClient::new(hub.host.clone(), signature.clone(), Some(options))?;

    // Nothing is sent with a signature that has run out.
    match registry.get_statistics(None).await {
        Err(error) if matches!(CredentialError::of(&error), Some(CredentialError::Expired { .. })) => {
            println!("refused: {error}");
        }
        other => return Err(format!("an expired signature was not refused: {other:?}").into()),
    }

    for minutes in [5, 10] {
        let lifetime = Duration::from_secs(60 * minutes);
        // The client has a clone, and clones share what is in them.
        signature.update(text_until(now + lifetime).secret().parse()?);
        let devices = registry.get_statistics(None).await?.into_model()?;
        println!(
            "until {}: {} devices",
            signature.expires_on(),
            devices.total_device_count
        );
    }
    Ok(())
}

use azure_core::{error::ErrorKind, http::StatusCode};
use iothub_auth::SharedAccessKey;
use iothub_core::{CallFacts, HubError, HubErrorCode, Result, models::Device};
use iothub_emulator::Event;
use iothub_registry::{RegistryClient, RegistryClientOptions};

use crate::hub::{Hub, code, options};

#[tokio::test]
async fn what_exists_is_not_created_and_what_is_missing_not_changed() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let lamp = hub.device("lamp").await?;

    let error = hub.registry.create_device(&lamp, None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceAlreadyExists));
    assert_eq!(error.http_status(), Some(StatusCode::Conflict));
    assert!(!CallFacts::of(&error).expect("it was tried").maybe_applied);
    assert!(HubError::of(&error).expect("the hub said so").tracking_id.is_some());

    hub.registry.delete_device(&lamp.device_id, None).await?;
    let error = hub.registry.update_device(&lamp, None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceNotFound));
    let error = hub.registry.delete_device(&lamp.device_id, None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceNotFound));
    Ok(())
}

#[tokio::test]
async fn a_policy_that_may_read_may_not_write() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let reader = hub.registry_of("registryRead");
    reader.get_device(&"lamp".parse()?, None).await?;

    let error = reader
        .create_device(&Device::new("other".parse()?), None)
        .await
        .unwrap_err();

    assert_eq!(error.http_status(), Some(StatusCode::Unauthorized));
    // A fresh token may have more rights, and is tried; a third try would not.
    assert_eq!(CallFacts::of(&error).expect("it was tried").attempts, 2);
    Ok(())
}

#[tokio::test]
async fn a_wrong_key_is_an_error_that_does_not_show_it() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let wrong = "bm90LWEtcmVhbC1rZXktanVzdC1mb3ItdGhlLXRlc3Q=";
    let key = SharedAccessKey::new("iothubowner", wrong)?;
    let stranger = RegistryClient::new(hub.emulator.host().clone(), key, Some(options(&hub.emulator)))?;

    let error = stranger.get_device(&"lamp".parse()?, None).await.unwrap_err();

    assert_eq!(code(&error), Some(&HubErrorCode::IotHubUnauthorizedAccess));
    let printed = format!("{error} {error:?}");
    assert!(!printed.contains(wrong) && !printed.contains("sig="), "{printed}");
    Ok(())
}

#[tokio::test]
async fn a_hub_that_is_not_trusted_gets_no_credential() -> Result<()> {
    let hub = Hub::empty().await;
    let other = Hub::empty().await;
    let text = hub
        .emulator
        .connection_string("iothubowner")
        .expect("the policy exists");
    let trusting_another: RegistryClientOptions = options(&other.emulator);
    let registry = RegistryClient::from_connection_string(&text, Some(trusting_another))?;

    let error = registry.get_device(&"lamp".parse()?, None).await.unwrap_err();

    assert_eq!(error.kind(), &ErrorKind::Other);
    let text = error.to_string();
    assert!(
        text.contains("localhost:") && text.contains("invalid peer certificate"),
        "{text}"
    );
    let facts = CallFacts::of(&error).expect("it was tried");
    assert_eq!((facts.attempts, facts.maybe_applied), (1, false));
    let requests = hub
        .emulator
        .journal()
        .count(|event| matches!(event, Event::Request { .. }));
    assert_eq!(requests, 0);
    Ok(())
}

#[tokio::test]
async fn a_certificate_for_another_name_gets_no_credential() -> Result<()> {
    let hub = Hub::empty().await;
    let text = hub
        .emulator
        .connection_string("iothubowner")
        .expect("the policy exists");
    // The same socket by another of this machine's addresses, for which the hub has no certificate.
    let elsewhere = text.replacen("HostName=localhost:", "HostName=127.0.0.2:", 1);
    let port = hub.emulator.host().https_port();
    let relay = tokio::net::TcpListener::bind(("127.0.0.2", port)).await?;
    let relayed = tokio::spawn(async move {
        let (mut client, _) = relay.accept().await?;
        let mut hub = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        tokio::io::copy_bidirectional(&mut client, &mut hub).await
    });
    let registry = RegistryClient::from_connection_string(&elsewhere, Some(options(&hub.emulator)))?;

    let error = registry.get_device(&"lamp".parse()?, None).await.unwrap_err();

    assert_eq!(error.kind(), &ErrorKind::Other);
    let text = error.to_string();
    assert!(
        text.contains("127.0.0.2") && text.contains("not valid for name"),
        "{text}"
    );
    let requests = hub
        .emulator
        .journal()
        .count(|event| matches!(event, Event::Request { .. }));
    assert_eq!(requests, 0);
    relayed.abort();
    Ok(())
}

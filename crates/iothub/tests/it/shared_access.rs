use std::time::Duration;

use azure_core::time::OffsetDateTime;
use iothub::{
    ConnectionString, Credential, HubErrorCode, Result, SharedAccessKey, SharedAccessSignature, auth::CredentialError,
};
use iothub_transport_amqp::Carrier;

use crate::hub::{Hub, code};

/// A signature of the owner's key, as somebody else would have made it.
fn signed(hub: &Hub, expires_on: OffsetDateTime) -> SharedAccessSignature {
    let text = hub.emulator.connection_string("iothubowner").unwrap();
    let ConnectionString { host, credential, .. } = text.parse().unwrap();
    let Credential::SharedAccessKey(key) = credential else {
        panic!("the connection string holds a key")
    };
    let key: SharedAccessKey = key;
    key.sign(host.name(), expires_on)
}

#[tokio::test]
async fn a_signature_is_exchanged_in_place_on_both_planes() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let now = OffsetDateTime::now_utc();
    let signature = signed(&hub, now - Duration::from_secs(60));
    for carrier in [Carrier::Tls, Carrier::WebSocket] {
        signature.update(signed(&hub, now - Duration::from_secs(60)));
        let backend = hub.backend(signature.clone(), carrier);
        let shown = hub.tokens_shown();

        for refused in [backend.read().await.err(), backend.switch_on().await.err()] {
            let refused = refused.expect("the signature has expired");
            assert!(
                matches!(CredentialError::of(&refused), Some(CredentialError::Expired { .. })),
                "{refused}"
            );
        }
        assert_eq!(
            hub.tokens_shown(),
            shown,
            "a signature that has expired is not even shown"
        );

        signature.update(signed(&hub, now + Duration::from_secs(600)));
        assert_eq!(backend.read().await?.device_id, "lamp");
        backend.switch_on().await?;
        let _ = hub.emulator.device("lamp")?.recv().await.complete()?;
    }
    Ok(())
}

#[tokio::test]
async fn a_signature_that_ends_by_the_hubs_clock_is_refused_by_the_hub() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let backend = hub.backend(
        signed(&hub, OffsetDateTime::now_utc() + Duration::from_secs(600)),
        Carrier::Tls,
    );
    backend.switch_on().await?;
    let _ = hub.emulator.device("lamp")?.recv().await.complete()?;

    // For the client it is still good for ten minutes.
    hub.emulator.clock().advance(Duration::from_secs(3600));
    let read = backend.read().await.unwrap_err();
    assert_eq!(code(&read), Some(&HubErrorCode::IotHubUnauthorizedAccess), "{read}");
    // Put-token answers with a status and a text, without a code of the hub's.
    let sent = backend.switch_on().await.unwrap_err();
    assert_eq!(code(&sent), Some(&HubErrorCode::GenericUnauthorized), "{sent}");
    assert!(hub.emulator.device("lamp")?.try_recv().is_none());
    Ok(())
}

use std::time::Duration;

use iothub::{HubErrorCode, Result};
use iothub_emulator::{AmqpEvent, EntraOptions, Role};
use iothub_transport_amqp::Carrier;

use crate::hub::{Hub, code};

#[tokio::test]
async fn one_credential_serves_both_clients_over_every_transport() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let app = hub.app();
    for carrier in [Carrier::Tls, Carrier::WebSocket] {
        let backend = hub.backend(app.clone(), carrier);
        assert_eq!(backend.read().await?.device_id, "lamp");
        backend.switch_on().await?;
        let received = hub.emulator.device("lamp")?.recv().await.complete()?;
        assert_eq!(received.body, "on");
    }
    Ok(())
}

#[tokio::test]
async fn an_app_without_the_role_is_refused_on_both_planes() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    hub.emulator.entra().application().set_roles(&[]);
    let backend = hub.backend(hub.app(), Carrier::Tls);

    let read = backend.read().await.unwrap_err();
    let sent = backend.switch_on().await.unwrap_err();

    assert_eq!(code(&read), Some(&HubErrorCode::IotHubUnauthorizedAccess));
    assert!(
        read.to_string().contains("Microsoft.Devices/IotHubs/devices/read"),
        "{read}"
    );
    assert!(matches!(
        code(&sent),
        Some(HubErrorCode::IotHubUnauthorized | HubErrorCode::IotHubUnauthorizedAccess)
    ));
    assert!(hub.emulator.device("lamp")?.try_recv().is_none());
    Ok(())
}

#[tokio::test]
async fn a_reader_reads_and_does_not_write() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    hub.emulator.entra().application().set_roles(&[Role::DataReader]);
    let backend = hub.backend(hub.app(), Carrier::Tls);

    let lamp = backend.read().await?;
    let updated = backend.registry.update_device(&lamp, None).await.unwrap_err();

    assert_eq!(code(&updated), Some(&HubErrorCode::IotHubUnauthorizedAccess));
    Ok(())
}

#[tokio::test]
async fn a_token_is_renewed_in_place_while_messages_flow() -> Result<()> {
    let entra = EntraOptions {
        token_lifetime: Duration::from_secs(10),
        ..Default::default()
    };
    let hub = Hub::with_a_lamp_and(entra).await;
    let backend = hub.backend(hub.app(), Carrier::Tls);
    let lamp = hub.emulator.device("lamp")?;

    while hub.happened(|event| matches!(event, AmqpEvent::TokenPut { status: 200 })) < 3 {
        backend.switch_on().await?;
        let _ = lamp.recv().await.complete()?;
    }

    assert_eq!(hub.happened(|event| matches!(event, AmqpEvent::Opened { .. })), 1);
    assert_eq!(hub.happened(|event| matches!(event, AmqpEvent::Detached { .. })), 0);
    let attached =
        |event: &AmqpEvent| matches!(event, AmqpEvent::Attached { address } if address.contains("devicebound"));
    assert_eq!(hub.happened(attached), 1);
    Ok(())
}

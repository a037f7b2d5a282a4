use std::{sync::Arc, time::Duration};

use azure_core::error::ErrorKind;
use iothub_auth::SharedAccessKey;
use iothub_core::{CallLimits, HubErrorCode, Result, models::DirectMethodRequest};
use iothub_emulator::Event;
use iothub_service::{CloudToDeviceMessage, ServiceClient, ServiceClientOptions, Target};
use iothub_transport_amqp::{AmqpOptions, Carrier, Fe2o3Transport, Proxy};

use crate::hub::{Hub, client_by, code, credential, http, maybe_applied, transport};

#[tokio::test]
async fn a_device_that_is_not_there_is_named_as_such() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let ghost = Target::Device("ghost".parse()?);
    let error = hub
        .service
        .send(&ghost, CloudToDeviceMessage::new("boo"), None)
        .await
        .unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceNotFound));
    assert!(!maybe_applied(&error));

    hub.switch_on().await?;
    assert_eq!(hub.opened_and_attached(), (1, 1), "one bad message costs no link");
    Ok(())
}

#[tokio::test]
async fn the_fifty_first_message_finds_the_queue_full() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    for _ in 0..50 {
        hub.switch_on().await?;
    }
    let error = hub.switch_on().await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceMaximumQueueDepthExceeded));
    assert!(!maybe_applied(&error));
    hub.device().recv().await.complete()?;
    hub.switch_on().await?;
    Ok(())
}

#[tokio::test]
async fn a_policy_without_the_permission_is_refused() {
    let hub = Hub::with_a_lamp().await;
    let service = hub.service_of("registryRead");
    let error = service
        .send(&hub.lamp, CloudToDeviceMessage::new("on"), None)
        .await
        .unwrap_err();
    let status = code(&error).and_then(HubErrorCode::status).map(u16::from);
    assert!(matches!(status, Some(401 | 403)), "{error}");
    assert!(!maybe_applied(&error));
    assert_eq!(hub.queued(), 0);
}

#[tokio::test]
async fn a_wrong_key_is_refused_in_two_tries() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let key = SharedAccessKey::new("service", "bm90LXRoZS1rZXktb2YtdGhpcy1odWItYXQtYWxsISE=")?;
    let options = ServiceClientOptions {
        amqp_transport: Some(Arc::new(transport(&hub.emulator, Carrier::Tls))),
        ..ServiceClientOptions::default()
    };
    let service = ServiceClient::new(hub.emulator.host().clone(), key, Some(options))?;
    let error = service
        .send(&hub.lamp, CloudToDeviceMessage::new("on"), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Credential, "{error}");
    let refused =
        hub.happened(|event| matches!(event, iothub_emulator::AmqpEvent::TokenPut { status } if *status != 200));
    assert_eq!(refused, 2);
    Ok(())
}

#[tokio::test]
async fn an_authority_nobody_knows_is_refused_before_a_token_is_sent() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let other = Hub::with_a_lamp().await;
    let lamp = hub.device();
    lamp.on_method(|_, _| (200, String::new()))?;
    for carrier in [Carrier::Tls, Carrier::WebSocket] {
        let service = client_by(
            hub.emulator.host().clone(),
            credential(&hub.emulator, "service"),
            transport(&other.emulator, carrier),
            http(&other.emulator, Proxy::Direct),
        );
        let sent = service.send(&hub.lamp, CloudToDeviceMessage::new("on"), None).await;
        let method = DirectMethodRequest::new("blink");
        let invoked = service.invoke_method(&hub.lamp, &method, None).await;
        for error in [sent.map(drop).unwrap_err(), invoked.map(drop).unwrap_err()] {
            assert_eq!(error.kind(), &ErrorKind::Other, "{error}");
            let text = error.to_string();
            assert!(
                text.contains("localhost") && text.contains("invalid peer certificate"),
                "{text}"
            );
        }
    }
    assert_eq!(hub.happened(|_| true), 0);
    let invoked = |event: &Event| matches!(event, Event::MethodInvoked { .. });
    assert_eq!(hub.emulator.journal().count(invoked), 0);
    Ok(())
}

#[tokio::test]
async fn a_hub_that_does_not_listen_is_given_up_in_time() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let nowhere = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let host = hub.emulator.host().clone().with_amqps_port(nowhere);
    let options = ServiceClientOptions {
        amqp_transport: Some(Arc::new(Fe2o3Transport::new(AmqpOptions::default())?)),
        limits: CallLimits {
            deadline: Some(Duration::from_secs(1)),
            ..CallLimits::default()
        },
        ..ServiceClientOptions::default()
    };
    let service = ServiceClient::new(host, credential(&hub.emulator, "service"), Some(options))?;
    let error = service
        .send(&hub.lamp, CloudToDeviceMessage::new("on"), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Connection, "{error}");
    assert!(!maybe_applied(&error));
    Ok(())
}

//! What a hub can do wrong while a connection is opened, and how it may limit what goes over it.

use std::time::{Duration, Instant};

use azure_core::{
    error::ErrorKind,
    http::{ClientMethodOptions, Context},
};
use futures::future::join_all;
use iothub_core::{CallFacts, CallLimits, Error, Result};
use iothub_emulator::{AmqpEvent, Event, Fault, When};
use iothub_service::{CloudToDeviceMessage, SendOptions, Sent};
use tokio::{net::TcpListener, time::sleep};

use crate::hub::{Hub, code, maybe_applied, soon};

async fn hub_with(fault: Fault) -> Hub {
    let hub = Hub::with_a_lamp().await;
    hub.emulator.faults().inject(fault, When::Next(1)).unwrap();
    hub
}

/// Sends a message that has half a second.
async fn send_in_haste(hub: &Hub) -> Result<Sent> {
    let limits = CallLimits {
        deadline: Some(HASTE),
        ..CallLimits::default()
    };
    let options = SendOptions {
        method_options: ClientMethodOptions {
            context: Context::new().with_value(limits),
        },
        ..SendOptions::default()
    };
    let message = CloudToDeviceMessage::new("?");
    hub.service.send(&hub.lamp, message, Some(options)).await
}

/// What the hub accuses its peers of.
fn accusations(hub: &Hub) -> usize {
    hub.happened(|event| match event {
        AmqpEvent::Detached { condition, .. } | AmqpEvent::Ended { condition } | AmqpEvent::Closed { condition } => {
            condition.is_some()
        }
        _ => false,
    })
}

fn attempts(error: &Error) -> u32 {
    CallFacts::of(error).expect("every error of a call has facts").attempts
}

#[tokio::test]
async fn a_hub_that_speaks_another_protocol_is_refused_for_good() -> Result<()> {
    for sasl in [false, true] {
        let hub = hub_with(Fault::RefuseProtocol { sasl }).await;
        let error = hub.switch_on().await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Other, "{error}");
        assert!(error.to_string().contains("AMQP"), "{error}");
        assert_eq!((attempts(&error), maybe_applied(&error)), (1, false));
        hub.switch_on().await?;
    }
    Ok(())
}

/// From 100 milliseconds on the hub keeps to its word, and gives up who is silent for so long.
#[tokio::test]
async fn a_hub_hears_from_us_as_often_as_it_wants() -> Result<()> {
    let stories = [None, Some(0), Some(1), Some(300), Some(u32::MAX)].map(|milliseconds| async move {
        let hub = hub_with(Fault::IdleTimeOut { milliseconds }).await;
        hub.switch_on().await?;
        sleep(Duration::from_secs(1)).await;
        hub.switch_on().await?;
        assert_eq!(hub.opened_and_attached(), (1, 1), "{milliseconds:?}");
        assert_eq!((hub.queued(), accusations(&hub)), (2, 0), "{milliseconds:?}");
        Ok(())
    });
    join_all(stories).await.into_iter().collect()
}

#[tokio::test]
async fn a_hub_that_never_gives_credit_or_window_is_left_at_the_deadline() -> Result<()> {
    let address = "devicebound".to_owned();
    for fault in [
        Fault::LimitCredit { address, credit: 0 },
        Fault::LimitWindow { frames: 0 },
    ] {
        let name = fault.name();
        let hub = Hub::with_a_lamp().await;
        // There is a session for each link.
        hub.emulator.faults().inject(fault, When::Next(100)).unwrap();
        let begin = Instant::now();
        let error = send_in_haste(&hub).await.unwrap_err();
        assert!(begin.elapsed() < HASTE + Duration::from_secs(1), "{name}");
        assert!(!maybe_applied(&error), "{name}: nothing was sent: {error}");
        assert_eq!((hub.queued(), accusations(&hub)), (0, 0), "{name}");
        // When the hub is mended, so is the client.
        hub.emulator.faults().clear();
        hub.faults().close_connections(None);
        soon(name, hub.switch_on()).await?;
        assert_eq!(hub.queued(), 1, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_hub_that_takes_one_at_a_time_gets_one_at_a_time() -> Result<()> {
    let address = "devicebound".to_owned();
    for fault in [
        Fault::LimitCredit { address, credit: 1 },
        Fault::LimitWindow { frames: 1 },
    ] {
        let name = fault.name();
        let hub = Hub::with_a_lamp().await;
        hub.emulator.faults().inject(fault, When::Next(100)).unwrap();
        let sent = join_all((0..20).map(|_| hub.switch_on()));
        for sent in soon(name, sent).await {
            sent?;
        }
        assert_eq!((hub.queued(), accusations(&hub)), (20, 0), "{name}");
        let limited = |event: &Event| matches!(event, Event::Fault { name: known } if *known == name);
        assert!(hub.emulator.journal().count(limited) > 0, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_link_is_not_followed_to_another_host() -> Result<()> {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await?;
    let hub = hub_with(Fault::RedirectLink {
        address: "devicebound".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: elsewhere.local_addr()?.port(),
    })
    .await;
    let error = hub.switch_on().await.unwrap_err();
    assert_eq!((attempts(&error), maybe_applied(&error)), (1, false), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("amqp:link:redirect") || code(&error).is_some_and(|code| code.as_str() == "amqp:link:redirect"),
        "{text}"
    );
    hub.switch_on().await?;
    let dialed = tokio::time::timeout(Duration::ZERO, elsewhere.accept()).await;
    assert!(dialed.is_err(), "nobody was there");
    assert_eq!(
        hub.emulator
            .journal()
            .count(|event| matches!(event, Event::Fault { name: "redirect-link" })),
        1
    );
    Ok(())
}

const HASTE: Duration = Duration::from_millis(500);

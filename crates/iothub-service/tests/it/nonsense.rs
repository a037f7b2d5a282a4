//! A hub that says what no hub says.

use iothub_core::{DeviceId, Result};
use iothub_emulator::{AmqpEvent, Event, Fault, FrameGarble, SettlementGarble, WebSocketGarble, When};
use iothub_service::CloudToDeviceMessage;
use iothub_transport_amqp::Carrier;

use crate::hub::{Hub, maybe_applied, soon};

#[tokio::test]
async fn a_connection_over_which_nonsense_came_is_made_anew() -> Result<()> {
    for kind in [
        FrameGarble::Short,
        FrameGarble::Long,
        FrameGarble::Offset,
        FrameGarble::Type,
        FrameGarble::Truncated,
        FrameGarble::Count,
        FrameGarble::Deep,
        FrameGarble::NotUtf8,
        FrameGarble::Channel,
        FrameGarble::Handle,
    ] {
        let hub = Hub::with_a_lamp().await;
        hub.switch_on().await?;
        hub.faults().send_nonsense(kind);
        if kind != FrameGarble::Handle {
            // A transfer for nobody is dropped; of whoever says the rest, no more is heard.
            let gone = |event: &Event| {
                matches!(
                    event,
                    Event::Amqp {
                        event: AmqpEvent::Gone,
                        ..
                    }
                )
            };
            soon(&format!("{kind:?}"), hub.emulator.journal().wait_for(gone)).await;
        }
        let perhaps = soon(&format!("{kind:?}"), hub.switch_on_in_the_end()).await;
        assert!((2..=2 + perhaps).contains(&hub.queued()), "{kind:?}");
    }
    Ok(())
}

#[tokio::test]
async fn odd_settlements_settle_what_they_are_about_and_nothing_else() -> Result<()> {
    for kind in [
        SettlementGarble::Twice,
        SettlementGarble::Unknown,
        SettlementGarble::Range,
        SettlementGarble::UnsettledFirst,
        SettlementGarble::AfterDetach,
    ] {
        let hub = Hub::with_a_lamp().await;
        hub.switch_on().await?;
        let fault = Fault::GarbleSettlement { kind };
        hub.emulator.faults().inject(fault, When::Next(1))?;
        match soon(&format!("{kind:?}"), hub.switch_on()).await {
            Ok(_) => {}
            Err(error) => assert!(
                kind == SettlementGarble::AfterDetach && maybe_applied(&error),
                "{kind:?}: {error}"
            ),
        }
        // One that is not settled yet is nobody's business but its own.
        hub.faults().hold_settlements();
        let held = tokio::spawn({
            let (service, lamp) = (hub.service.clone(), hub.lamp.clone());
            async move { service.send(&lamp, CloudToDeviceMessage::new("on"), None).await }
        });
        hub.emulator
            .journal()
            .wait_for(|event| matches!(event, Event::Queued { sequence: 3, .. }))
            .await;
        hub.faults().settle_again();
        soon(&format!("{kind:?}"), held).await.expect("no panic")?;
        assert_eq!(hub.queued(), 3, "{kind:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_web_socket_that_is_refused_is_an_error_and_the_next_one_works() -> Result<()> {
    for fault in [
        Fault::RefuseUpgrade { status: 400 },
        Fault::RefuseUpgrade { status: 403 },
        Fault::RefuseUpgrade { status: 404 },
        Fault::AnswerSubprotocol { protocol: None },
        Fault::AnswerSubprotocol {
            protocol: Some("mqtt".to_owned()),
        },
    ] {
        let hub = Hub::over(Carrier::WebSocket).await;
        hub.emulator.faults().inject(fault.clone(), When::Next(1))?;
        let error = soon(fault.name(), hub.switch_on()).await.unwrap_err();
        assert!(!maybe_applied(&error), "{fault:?}: {error}");
        if let Fault::RefuseUpgrade { status } = fault {
            assert!(error.to_string().contains(&status.to_string()), "{error}");
        }
        assert_eq!(hub.happened(|event| matches!(event, AmqpEvent::Opened { .. })), 0);
        hub.switch_on().await?;
        assert_eq!(hub.queued(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_web_socket_that_may_be_refused_in_passing_is_tried_again() -> Result<()> {
    for status in [429, 500, 503] {
        let hub = Hub::over(Carrier::WebSocket).await;
        let fault = Fault::RefuseUpgrade { status };
        hub.emulator.faults().inject(fault, When::Next(1))?;
        soon("another try", hub.switch_on()).await?;
        let refused = |event: &Event| matches!(event, Event::Fault { name: "refuse-upgrade" });
        let refused = hub.emulator.journal().count(refused);
        assert_eq!((refused, hub.queued()), (1, 1), "{status}");
    }
    Ok(())
}

#[tokio::test]
async fn fragments_and_pings_are_no_trouble_and_a_close_is_made_good() -> Result<()> {
    for kind in [
        WebSocketGarble::Fragments,
        WebSocketGarble::Pings,
        WebSocketGarble::GoingAway,
        WebSocketGarble::Failing,
    ] {
        let hub = Hub::over(Carrier::WebSocket).await;
        let fault = Fault::GarbleWebSocket { kind };
        hub.emulator.faults().inject(fault, When::Next(1))?;
        for _ in 0..3 {
            soon(&format!("{kind:?}"), hub.switch_on()).await?;
        }
        assert_eq!(hub.queued(), 3, "{kind:?}");
        assert_eq!(hub.opened_and_attached(), (1, 1), "{kind:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_text_on_a_web_socket_is_refused() -> Result<()> {
    let hub = Hub::over(Carrier::WebSocket).await;
    let fault = Fault::GarbleWebSocket {
        kind: WebSocketGarble::Text,
    };
    hub.emulator.faults().inject(fault, When::Next(1))?;
    let error = soon("a text", hub.switch_on()).await.unwrap_err();
    assert!(!maybe_applied(&error) && error.to_string().contains("text"), "{error}");
    hub.switch_on().await?;
    assert_eq!(hub.queued(), 1);
    Ok(())
}

#[tokio::test]
async fn tls_1_2_is_spoken_where_a_hub_has_nothing_newer() -> Result<()> {
    for carrier in [Carrier::Tls, Carrier::WebSocket] {
        let hub = Hub::over(carrier).await;
        hub.emulator.faults().inject(Fault::OldTls, When::Next(2))?;
        hub.switch_on().await?;
        let lamp: DeviceId = "lamp".parse()?;
        let purged = hub.service.purge_message_queue(&lamp, None).await?.into_model()?;
        assert_eq!(purged.total_messages_purged, 1);
        assert!(hub.emulator.faults().scheduled().is_empty(), "both connections had it");
    }
    Ok(())
}

use std::time::Duration;

use azure_core::http::{ClientMethodOptions, Context};
use iothub_core::{CallLimits, Result};
use iothub_emulator::{AmqpEvent, Event};
use iothub_service::{CloudToDeviceMessage, SendOptions};

use crate::hub::{Hub, maybe_applied};

const CONDITIONS: [Option<&str>; 4] = [
    None,
    Some("amqp:link:detach-forced"),
    Some("com.microsoft:timeout"),
    Some("vendor:never-seen"),
];

#[tokio::test]
async fn a_link_that_ends_between_two_messages_is_made_anew() -> Result<()> {
    for condition in CONDITIONS {
        let hub = Hub::with_a_lamp().await;
        hub.switch_on().await?;
        hub.faults().detach_links("devicebound", condition);
        let perhaps = hub.switch_on_in_the_end().await;
        assert!((2..=2 + perhaps).contains(&hub.queued()), "{condition:?}");
        assert_eq!(hub.opened_and_attached(), (1, 2), "{condition:?}");
    }
    Ok(())
}

#[tokio::test]
async fn sessions_and_connections_that_end_are_made_anew() -> Result<()> {
    let faults: [fn(&Hub); 5] = [
        |hub| hub.faults().end_sessions(None),
        |hub| hub.faults().end_sessions(Some("amqp:session:window-violation")),
        |hub| hub.faults().close_connections(None),
        |hub| hub.faults().close_connections(Some("amqp:connection:forced")),
        |hub| hub.faults().drop_connections(),
    ];
    for (number, fault) in faults.iter().enumerate() {
        let hub = Hub::with_a_lamp().await;
        hub.switch_on().await?;
        fault(&hub);
        let perhaps = hub.switch_on_in_the_end().await;
        assert!((2..=2 + perhaps).contains(&hub.queued()), "{number}");
    }
    Ok(())
}

#[tokio::test]
async fn a_message_that_was_carried_out_and_not_settled_may_have_been() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    hub.switch_on().await?;
    hub.faults().hold_settlements();
    let sending = tokio::spawn({
        let (service, lamp) = (hub.service.clone(), hub.lamp.clone());
        async move { service.send(&lamp, CloudToDeviceMessage::new("once"), None).await }
    });
    hub.emulator
        .journal()
        .wait_for(|event| matches!(event, Event::Queued { sequence: 2, .. }))
        .await;
    hub.faults().drop_connections();
    let error = sending.await.expect("no panic").unwrap_err();
    assert!(maybe_applied(&error), "{error}");

    hub.faults().settle_again();
    hub.switch_on().await?;
    assert_eq!(hub.queued(), 3, "nobody sent it again");
    Ok(())
}

#[tokio::test]
async fn at_least_once_sends_again_with_the_same_id() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    hub.faults().hold_settlements();
    let sending = tokio::spawn({
        let (service, lamp) = (hub.service.clone(), hub.lamp.clone());
        let options = SendOptions {
            at_least_once: true,
            ..SendOptions::default()
        };
        async move {
            service
                .send(&lamp, CloudToDeviceMessage::new("twice"), Some(options))
                .await
        }
    });
    hub.emulator
        .journal()
        .wait_for(|event| matches!(event, Event::Queued { .. }))
        .await;
    hub.faults().settle_again();
    hub.faults().drop_connections();
    let sent = sending.await.expect("no panic")?;

    // Whether the settlement was still on its way is the network's business; that both have one id is ours.
    let ids: Vec<_> = (0..hub.queued())
        .map(|_| hub.device().try_recv().and_then(|it| it.message_id.clone()))
        .collect();
    assert_eq!(ids.len(), usize::try_from(sent.attempts).expect("small"));
    assert!(ids.iter().all(|id| *id == sent.message_id && id.is_some()), "{ids:?}");
    Ok(())
}

#[tokio::test]
async fn a_refused_token_gets_a_second_chance() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    hub.faults().refuse_next_tokens(401, 1);
    hub.switch_on().await?;
    let puts = hub.happened(|event| matches!(event, AmqpEvent::TokenPut { .. }));
    assert_eq!((puts, hub.opened_and_attached()), (2, (1, 1)));
    Ok(())
}

#[tokio::test]
async fn a_hub_that_answers_nothing_is_left_at_the_deadline() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    hub.switch_on().await?;
    hub.faults().stop_responding();
    let limits = CallLimits {
        deadline: Some(Duration::from_millis(500)),
        ..CallLimits::default()
    };
    let options = SendOptions {
        method_options: ClientMethodOptions {
            context: Context::new().with_value(limits),
        },
        ..SendOptions::default()
    };
    let sent = hub
        .service
        .send(&hub.lamp, CloudToDeviceMessage::new("?"), Some(options))
        .await;
    assert!(maybe_applied(&sent.unwrap_err()));
    Ok(())
}

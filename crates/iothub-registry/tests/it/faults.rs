use std::time::Duration;

use futures::future::join_all;
use iothub_core::{CallFacts, HubErrorCode, Result, models::Device};
use iothub_emulator::{Event, Fault, Operation, When};

use crate::hub::{Hub, code};

#[tokio::test]
async fn a_lost_request_is_sent_again() -> Result<()> {
    let hub = Hub::empty().await;
    hub.emulator.faults().lose_next_requests(1);
    hub.registry.create_device(&Device::new("lamp".parse()?), None).await?;
    assert_eq!(hub.executed(Operation::Create, "lamp"), 1);
    Ok(())
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_says_that_the_device_may_be_ours() -> Result<()> {
    let hub = Hub::empty().await;
    hub.emulator.faults().lose_next_answers(1);

    let error = hub
        .registry
        .create_device(&Device::new("lamp".parse()?), None)
        .await
        .unwrap_err();

    assert_eq!(code(&error), Some(&HubErrorCode::DeviceAlreadyExists));
    let facts = CallFacts::of(&error).expect("it was tried");
    assert_eq!((facts.attempts, facts.maybe_applied), (2, true));
    assert_eq!(hub.executed(Operation::Create, "lamp"), 1);
    Ok(())
}

#[tokio::test]
async fn a_delete_whose_answer_is_lost_says_that_it_may_be_done() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    hub.emulator.faults().lose_next_answers(1);

    let error = hub.registry.delete_device(&"lamp".parse()?, None).await.unwrap_err();

    assert_eq!(code(&error), Some(&HubErrorCode::DeviceNotFound));
    assert!(CallFacts::of(&error).expect("it was tried").maybe_applied);
    assert_eq!(hub.executed(Operation::Delete, "lamp"), 1);
    Ok(())
}

#[tokio::test]
async fn throttling_is_an_error_when_there_is_no_time_to_wait() -> Result<()> {
    let hub = Hub::empty().await;
    hub.emulator.faults().throttle_next(1);

    let lamp = Device::new("lamp".parse()?);
    let error = hub.impatient_registry().create_device(&lamp, None).await.unwrap_err();

    assert_eq!(code(&error), Some(&HubErrorCode::ThrottlingException));
    assert!(!CallFacts::of(&error).expect("it was tried").maybe_applied);
    assert_eq!(hub.executed(Operation::Create, "lamp"), 0);
    Ok(())
}

/// Of five creations that are under way over one connection, one is answered with a GOAWAY: the others are carried out to
/// their end, and what comes later takes another connection.
#[tokio::test]
async fn a_hub_that_goes_away_is_asked_over_another_connection() -> Result<()> {
    let hub = Hub::with_devices(["first"]).await;
    let faults = hub.emulator.faults();
    let by = Duration::from_secs(600);
    faults.inject(Fault::DelayAnswer { by }, When::Next(4))?;
    faults.inject(Fault::GoAway, When::Next(1))?;
    let devices = (0..5).map(|n| Device::new(format!("d{n}").parse().expect("an id")));
    let devices: Vec<Device> = devices.collect();
    let creating = join_all(devices.iter().map(|device| hub.registry.create_device(device, None)));
    let turning = async {
        let gone = |event: &Event| matches!(event, Event::Fault { name: "go-away" });
        hub.emulator.journal().wait_for(gone).await;
        // Nobody is turned away: this comes over a new connection, while four wait on the old one.
        hub.device("first").await.unwrap();
        for n in 0..5 {
            let id = format!("d{n}");
            let created =
                |event: &Event| matches!(event, Event::Executed { operation: Operation::Create, on } if *on == id);
            hub.emulator.journal().wait_for(created).await;
        }
        loop {
            hub.emulator.clock().advance(by);
            tokio::task::yield_now().await;
        }
    };
    let created = tokio::select! {
        created = creating => created,
        _ = turning => unreachable!("it turns the clock for ever"),
    };
    for created in created {
        created?;
    }
    for n in 0..5 {
        assert_eq!(hub.executed(Operation::Create, &format!("d{n}")), 1);
    }
    Ok(())
}

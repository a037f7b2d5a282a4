use iothub_core::{CallFacts, HubErrorCode, Result, models::Device};
use iothub_emulator::Operation;

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

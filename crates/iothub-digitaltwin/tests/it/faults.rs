//! Devices that are away or silent, and answers that are lost.

use std::time::Duration;

use futures::join;
use iothub_core::{HubErrorCode, Result};
use iothub_digitaltwin::{Command, JsonPatch};

use crate::hub::{Hub, code, maybe_applied};

const THERMOSTAT: &str = "dtmi:com:example:Thermostat;1";

#[tokio::test]
async fn a_device_that_is_away_has_run_nothing() -> Result<()> {
    let hub = Hub::with_a_device(THERMOSTAT).await;
    hub.device.go_offline();
    let error = hub.invoke(&Command::new("run")).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceNotOnline));
    assert!(!maybe_applied(&error));
    assert_eq!(hub.runs(), 0);
    Ok(())
}

#[tokio::test]
async fn a_device_that_connects_in_time_is_waited_for() -> Result<()> {
    let hub = Hub::with_a_device(THERMOSTAT).await;
    hub.device.go_offline();
    let command = Command::new("run").with_connect_timeout(Duration::from_secs(20));
    let (answer, ()) = join!(hub.invoke(&command), async {
        // Long enough for the hub to have the request in most runs; either way the device answers.
        tokio::time::sleep(Duration::from_millis(100)).await;
        hub.device.on_method(|_, _| (200, String::new())).unwrap();
        hub.device.go_online().unwrap();
    });
    assert_eq!(answer?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_device_that_does_not_answer_may_have_run_it() -> Result<()> {
    let hub = Hub::with_a_device(THERMOSTAT).await;
    let mut methods = hub.device.methods()?;
    let command = Command::new("run").with_response_timeout(Duration::from_secs(5));
    let (error, taken) = join!(hub.invoke(&command), async {
        let taken = methods.recv().await;
        hub.emulator.clock().advance(Duration::from_secs(6));
        taken
    });
    let error = error.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::GatewayTimeout));
    assert!(maybe_applied(&error), "{error}");
    assert!(taken.is_some());
    assert_eq!(hub.runs(), 1);
    Ok(())
}

#[tokio::test]
async fn a_command_whose_answer_is_lost_has_run_once() -> Result<()> {
    let hub = Hub::with_a_device(THERMOSTAT).await;
    hub.device.on_method(|_, _| (200, String::new()))?;
    hub.emulator.faults().lose_next_answers(1);
    let error = hub.invoke(&Command::new("run")).await.unwrap_err();
    assert!(maybe_applied(&error), "{error}");
    assert_eq!(hub.runs(), 1);
    Ok(())
}

#[tokio::test]
async fn an_update_whose_answer_is_lost_is_made_again() -> Result<()> {
    let hub = Hub::with_a_device(THERMOSTAT).await;
    hub.emulator.faults().lose_next_answers(1);
    let updated = hub.update(&JsonPatch::new().add("/targetTemperature", 20)).await?;
    let twin = hub.twins.get_digital_twin(&hub.id, None).await?;
    assert_eq!(twin.etag, updated.etag);
    Ok(())
}

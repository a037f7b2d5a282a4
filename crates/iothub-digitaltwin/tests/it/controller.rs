//! A device with components, and a module.

use iothub_core::{Result, models::JsonText};
use iothub_digitaltwin::{Command, JsonPatch, models::BasicComponent};
use serde_json::json;

use crate::hub::{Hub, heard};

const CONTROLLER: &str = "dtmi:com:example:TemperatureController;1";

#[tokio::test]
async fn properties_of_a_component_are_wanted_answered_and_cleared() -> Result<()> {
    let hub = Hub::with_a_device(CONTROLLER).await;
    let mut changes = hub.device.watch_desired()?;
    hub.device
        .report(r#"{"serialNumber":"SR-123456","thermostat1":{"__t":"c","maxTempSinceLastReboot":38.7}}"#)?;

    let patch = JsonPatch::new().add("/thermostat1/targetTemperature", 21.5);
    hub.update(&patch).await?;
    let (version, wanted) = heard(&mut changes).await;
    assert_eq!(wanted["thermostat1"], json!({"__t": "c", "targetTemperature": 21.5}));
    let answer = json!({"value": 21.5, "ac": 200, "av": version});
    let report = json!({"thermostat1": {"__t": "c", "targetTemperature": answer}});
    hub.device.report(&report.to_string())?;

    let twin = hub.twin().await?;
    assert_eq!(twin.get::<String>("serialNumber")?.as_deref(), Some("SR-123456"));
    let thermostat: BasicComponent = twin.get("thermostat1")?.expect("a component");
    assert_eq!(thermostat.get("targetTemperature")?, Some(21.5));
    assert_eq!(thermostat.get("maxTempSinceLastReboot")?, Some(38.7));
    let target = &thermostat.metadata.properties["targetTemperature"];
    assert_eq!(
        (target.ack_code, target.ack_version),
        (Some(200), target.desired_version)
    );

    hub.update(&JsonPatch::new().remove("/thermostat1")).await?;
    let (_, wanted) = heard(&mut changes).await;
    assert_eq!(wanted["thermostat1"], json!(null));
    let thermostat: BasicComponent = hub.twin().await?.get("thermostat1")?.expect("it is still reported");
    let target = &thermostat.metadata.properties["targetTemperature"];
    assert_eq!((&target.desired_value, target.ack_code), (&None, Some(200)));
    Ok(())
}

#[tokio::test]
async fn a_component_is_replaced_as_a_whole() -> Result<()> {
    let hub = Hub::with_a_device(CONTROLLER).await;
    let both = [("targetTemperature", 20), ("hysteresis", 2)];
    hub.update(&JsonPatch::new().add_component("/thermostat1", both))
        .await?;
    let mut changes = hub.device.watch_desired()?;

    let one = [("targetTemperature", 22)];
    hub.update(&JsonPatch::new().replace_component("/thermostat1", one))
        .await?;

    let (_, wanted) = heard(&mut changes).await;
    let expected = json!({"__t": "c", "targetTemperature": 22, "hysteresis": null});
    assert_eq!(wanted["thermostat1"], expected);
    let thermostat: BasicComponent = hub.twin().await?.get("thermostat1")?.expect("a component");
    assert_eq!(thermostat.metadata.properties.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_command_of_a_component_reaches_the_device_by_its_name() -> Result<()> {
    let hub = Hub::with_a_device(CONTROLLER).await;
    hub.device.on_method(|name, payload| match name {
        "thermostat1*getMaxMinReport" => (200, format!(r#"{{"since":{payload},"max": 38.70}}"#)),
        "reboot" => (202, String::new()),
        _ => (404, String::new()),
    })?;
    let since = "2030-01-01T00:00:00.100+02:00";
    let report = Command::new("getMaxMinReport")
        .on_component("thermostat1")
        .with_payload(json!(since));
    let answer = hub.invoke(&report).await?;
    assert_eq!(answer.status, 200);
    let expected = format!(r#"{{"since":"{since}","max": 38.70}}"#);
    assert_eq!(answer.payload.as_ref().map(JsonText::as_str), Some(&*expected));

    assert_eq!(hub.invoke(&Command::new("reboot")).await?.status, 202);
    assert_eq!(hub.invoke(&Command::new("getMaxMinReport")).await?.status, 404);
    Ok(())
}

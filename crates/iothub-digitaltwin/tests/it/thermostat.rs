//! A device without components.

use iothub_core::{HubErrorCode, Result, models::JsonText};
use iothub_digitaltwin::{Command, IfMatch, JsonPatch, UpdateDigitalTwinOptions};
use serde::Deserialize;
use serde_json::json;

use crate::hub::{Hub, code, heard};

const THERMOSTAT: &str = "dtmi:com:example:Thermostat;1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thermostat {
    target_temperature: Option<f64>,
    max_temp_since_last_reboot: Option<f64>,
}

#[tokio::test]
async fn what_a_service_wants_is_shown_when_the_device_has_answered() -> Result<()> {
    let hub = Hub::with_a_device(THERMOSTAT).await;
    let mut changes = hub.device.watch_desired()?;
    hub.device.report(r#"{"maxTempSinceLastReboot":25.3}"#)?;

    let updated = hub.update(&JsonPatch::new().add("/targetTemperature", 21.5)).await?;

    let twin = hub.twins.get_digital_twin(&hub.id, None).await?;
    assert_eq!(twin.etag, updated.etag);
    let thermostat: Thermostat = twin.parse()?;
    assert_eq!(
        thermostat.target_temperature, None,
        "the device has not reported it yet"
    );
    assert_eq!(thermostat.max_temp_since_last_reboot, Some(25.3));
    let target = &hub.twin().await?.metadata.properties["targetTemperature"];
    assert_eq!((&target.desired_value, target.ack_code), (&Some(21.5.into()), None));

    let (version, wanted) = heard(&mut changes).await;
    assert_eq!(wanted, json!({"targetTemperature": 21.5, "$version": version}));
    let answer = json!({"value": 21.5, "ac": 200, "av": version, "ad": "reached"});
    hub.device.report(&json!({ "targetTemperature": answer }).to_string())?;

    let twin = hub.twin().await?;
    assert_eq!(twin.metadata.model_id.as_deref(), Some(THERMOSTAT));
    assert_eq!(twin.get("targetTemperature")?, Some(21.5));
    let target = &twin.metadata.properties["targetTemperature"];
    assert_eq!(target.ack_version, target.desired_version);
    assert_eq!(
        (target.ack_code, target.ack_description.as_deref()),
        (Some(200), Some("reached"))
    );
    assert!(target.last_update_time.is_some());
    Ok(())
}

#[tokio::test]
async fn a_late_writer_does_not_overwrite() -> Result<()> {
    let hub = Hub::with_a_device(THERMOSTAT).await;
    let read = hub.twins.get_digital_twin(&hub.id, None).await?;
    hub.update(&JsonPatch::new().add("/targetTemperature", 20)).await?;

    let options = UpdateDigitalTwinOptions {
        if_match: read.etag.map(IfMatch::Tag),
        ..Default::default()
    };
    let mine = JsonPatch::new().replace("/targetTemperature", 30);
    let refused = hub
        .twins
        .update_digital_twin(&hub.id, &mine, Some(options))
        .await
        .unwrap_err();

    assert_eq!(code(&refused), Some(&HubErrorCode::PreconditionFailed));
    let target = &hub.twin().await?.metadata.properties["targetTemperature"];
    assert_eq!(target.desired_value, Some(20.into()));
    Ok(())
}

#[tokio::test]
async fn a_command_and_its_answer_keep_every_byte() -> Result<()> {
    let hub = Hub::with_a_device(THERMOSTAT).await;
    hub.device.on_method(|name, payload| match name {
        "echo" => (203, payload.to_owned()),
        _ => (404, String::new()),
    })?;
    for json in [
        "-0.10e+5",
        r#""größer \u00fc""#,
        "[ 1, [ ] ]",
        r#"{ "z": 1, "a": { } }"#,
    ] {
        let answer = hub
            .invoke(&Command::new("echo").with_payload(json.parse::<JsonText>()?))
            .await?;
        assert_eq!(answer.status, 203);
        assert_eq!(answer.payload.as_ref().map(JsonText::as_str), Some(json));
        assert!(answer.request_id.is_some());
    }
    let nothing = hub.invoke(&Command::new("echo")).await?;
    assert_eq!((nothing.status, nothing.payload), (203, None));
    assert_eq!(hub.invoke(&Command::new("unheard-of")).await?.status, 404);
    Ok(())
}

#[tokio::test]
async fn who_is_unknown_has_no_digital_twin() -> Result<()> {
    let hub = Hub::with_a_device(THERMOSTAT).await;
    for ghost in ["ghost", "device~ghost"] {
        let ghost = ghost.parse()?;
        let patch = JsonPatch::new().add("/targetTemperature", 20);
        let run = Command::new("run");
        let errors = [
            hub.twins.get_digital_twin(&ghost, None).await.err(),
            hub.twins.update_digital_twin(&ghost, &patch, None).await.err(),
            hub.twins.invoke_command(&ghost, &run, None).await.err(),
        ];
        for error in errors {
            let error = error.expect("there is no such device");
            assert_eq!(code(&error), Some(&HubErrorCode::DeviceNotFound), "{error}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_the_hub_refuses_has_the_hubs_code() -> Result<()> {
    let hub = Hub::with_a_device(THERMOSTAT).await;
    for (patch, expected) in [
        (JsonPatch::new().add("/1", 1), HubErrorCode::InvalidDigitalTwinPatchPath),
        (
            JsonPatch::new().add("/a", json!([1])),
            HubErrorCode::InvalidDigitalTwinPayload,
        ),
    ] {
        let error = hub.update(&patch).await.unwrap_err();
        assert_eq!(code(&error), Some(&expected), "{error}");
    }
    assert_eq!(hub.twin().await?.metadata.properties.len(), 0);
    Ok(())
}

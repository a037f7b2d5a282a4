use iothub_core::{Result, models::TwinPatch};
use serde_json::{Value, json};

use crate::hub::Hub;

#[tokio::test]
async fn what_is_desired_reaches_the_device_and_versions_grow() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let lamp = hub.emulator.device("lamp")?;
    let mut changes = lamp.watch_desired()?;
    let mut version = hub
        .twin("lamp")
        .await?
        .desired()
        .version()
        .expect("a twin has versions");

    for (patch, heard) in [
        (
            TwinPatch::new().set_desired("fan", json!({ "speed": 3 })),
            json!({ "fan": { "speed": 3 } }),
        ),
        (TwinPatch::new().set_desired("on", true), json!({ "on": true })),
        (TwinPatch::new().remove_desired("fan"), json!({ "fan": null })),
    ] {
        let written = hub
            .registry
            .update_twin(&"lamp".parse()?, &patch, None)
            .await?
            .into_model()?;
        let change = changes.recv().await.expect("the device is online");

        version += 1;
        assert_eq!(written.desired().version(), Some(version));
        assert_eq!(json!(change.version), json!(version));
        assert_eq!(parse(&change.patch), with_version(heard, version));
    }
    assert_eq!(
        parse(&lamp.twin()?)["desired"],
        with_version(json!({ "on": true }), version)
    );
    Ok(())
}

#[tokio::test]
async fn tags_are_no_news_to_the_device() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let lamp = hub.emulator.device("lamp")?;
    let mut changes = lamp.watch_desired()?;
    for patch in [
        TwinPatch::new().set_tag("site", "x"),
        TwinPatch::new().set_desired("on", true),
    ] {
        hub.registry.update_twin(&"lamp".parse()?, &patch, None).await?;
    }
    let first = changes.recv().await.expect("the device is online");
    assert_eq!(parse(&first.patch), json!({ "on": true, "$version": first.version }));
    assert_eq!(parse(&lamp.twin()?).get("tags"), None);
    Ok(())
}

#[tokio::test]
async fn what_was_desired_of_a_device_that_was_away_is_there_when_it_connects() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let lamp = hub.emulator.device("lamp")?;
    let mut before = lamp.watch_desired()?;
    lamp.go_offline();
    let mut written = Vec::new();
    for patch in [
        TwinPatch::new().set_desired("speed", 3),
        TwinPatch::new().set_desired("speed", 4),
    ] {
        let twin = hub
            .registry
            .update_twin(&"lamp".parse()?, &patch, None)
            .await?
            .into_model()?;
        written.push(twin.desired().version().expect("a twin has versions"));
    }
    assert!(lamp.twin().is_err(), "it can ask for nothing while it is away");
    assert_eq!(before.recv().await, None);

    lamp.go_online()?;
    let mut after = lamp.watch_desired()?;
    assert_eq!(
        parse(&lamp.twin()?)["desired"],
        with_version(json!({ "speed": 4 }), written[1])
    );

    let patch = TwinPatch::new().set_desired("speed", 5);
    hub.registry.update_twin(&"lamp".parse()?, &patch, None).await?;
    let change = after.recv().await.expect("the device is online");
    assert_eq!(
        parse(&change.patch),
        with_version(json!({ "speed": 5 }), written[1] + 1)
    );
    Ok(())
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("devices are given JSON")
}

fn with_version(mut properties: Value, version: i64) -> Value {
    properties["$version"] = version.into();
    properties
}

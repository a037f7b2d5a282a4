use futures::future::try_join_all;
use iothub_core::{
    CallFacts, HubErrorCode, ModuleId, Result,
    models::{Module, Twin, TwinContent, TwinPatch},
};
use iothub_emulator::{Event, Operation};
use iothub_registry::{IfMatch, ModifyTwinOptions, TwinId, UpdateTwinOptions};
use serde_json::{json, value::RawValue};

use crate::hub::{Hub, code};

#[tokio::test]
async fn a_desired_property_is_kept_for_the_device_and_versions_grow() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let lamp = "lamp".parse()?;
    let before = hub.twin("lamp").await?;

    let patch = TwinPatch::new().set_desired("fan", json!({ "speed": 3 }));
    let written = hub.registry.update_twin(&lamp, &patch, None).await?.into_model()?;

    assert_eq!(hub.twin("lamp").await?, written);
    assert_eq!(written.desired().get::<u8>("fan.speed")?, Some(3));
    assert_eq!(
        written.desired().version(),
        before.desired().version().map(|version| version + 1)
    );
    assert!(written.version() > before.version());
    assert_ne!(written.etag(), before.etag());
    let speed = written
        .desired()
        .metadata()?
        .get("fan.speed")
        .cloned()
        .expect("it was written");
    assert_eq!(speed.last_updated_version, written.desired().version());
    Ok(())
}

#[tokio::test]
async fn what_a_device_reports_adds_up() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let lamp = hub.emulator.device("lamp")?;
    lamp.report(r#"{"fan":{"speed":2},"on":true}"#)?;
    let first = hub.twin("lamp").await?;
    lamp.report(r#"{"fan":{"angle":30},"on":null}"#)?;

    let reported = hub.twin("lamp").await?;
    assert_eq!(
        reported.reported().to_map()?,
        map(&json!({ "fan": { "speed": 2, "angle": 30 } }))
    );
    assert_eq!(
        reported.etag(),
        first.etag(),
        "what a device reports is no write of ours"
    );
    Ok(())
}

#[tokio::test]
async fn tags_are_merged_on_condition() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let lamp: TwinId = "lamp".parse()?;
    let tags = |tags| json!({ "tags": tags });
    let on = |condition| {
        Some(UpdateTwinOptions {
            if_match: Some(condition),
            ..UpdateTwinOptions::default()
        })
    };
    let first = json!({ "site": "x", "rack": { "row": 1 } });
    let first = hub
        .registry
        .update_twin(&lamp, &tags(first), None)
        .await?
        .into_model()?;
    let as_read = IfMatch::Tag(first.etag().expect("a twin has a tag"));
    let merged = json!({ "rack": { "slot": 2 } });
    hub.registry
        .update_twin(&lamp, &tags(merged), on(as_read.clone()))
        .await?;

    let late = tags(json!({ "site": "late" }));
    let refused = hub.registry.update_twin(&lamp, &late, on(as_read)).await.unwrap_err();
    assert_eq!(code(&refused), Some(&HubErrorCode::PreconditionFailed));
    hub.registry
        .update_twin(&lamp, &tags(json!({ "floor": 3 })), on(IfMatch::Any))
        .await?;

    let expected = json!({ "site": "x", "rack": { "row": 1, "slot": 2 }, "floor": 3 });
    assert_eq!(hub.twin("lamp").await?.tags().to_map()?, map(&expected));
    assert_eq!(hub.executed(Operation::UpdateTwin, "lamp"), 3);
    Ok(())
}

#[tokio::test]
async fn null_removes_one_member_or_a_whole_section() -> Result<()> {
    for if_match in [None, Some(IfMatch::Any)] {
        let hub = Hub::with_devices(["lamp"]).await;
        let lamp: TwinId = "lamp".parse()?;
        let content = TwinContent::new()
            .set_tag("site", "x")
            .set_tag("floor", 3)
            .set_desired("fan", json!({ "speed": 3, "angle": 1 }))
            .set_desired("on", true);
        hub.registry.replace_twin(&lamp, &content, IfMatch::Any, None).await?;
        let options = || {
            Some(UpdateTwinOptions {
                if_match: if_match.clone(),
                ..UpdateTwinOptions::default()
            })
        };

        let patch = TwinPatch::new()
            .remove_tag("floor")
            .set_desired("fan", json!({ "angle": null }))
            .remove_desired("on");
        let twin = hub.registry.update_twin(&lamp, &patch, options()).await?.into_model()?;
        assert_eq!(twin.tags().to_map()?, map(&json!({ "site": "x" })));
        assert_eq!(twin.desired().to_map()?, map(&json!({ "fan": { "speed": 3 } })));

        let all = json!({ "tags": null, "properties": { "desired": null } });
        let twin = hub.registry.update_twin(&lamp, &all, options()).await?.into_model()?;
        assert!(twin.tags().is_empty() && twin.desired().is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn a_replacement_takes_away_what_it_leaves_out_and_only_in_the_version_that_was_read() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let lamp: TwinId = "lamp".parse()?;
    hub.emulator.device("lamp")?.report(r#"{"on":true}"#)?;
    let old = json!({ "tags": { "site": "x" }, "properties": { "desired": { "speed": 3 } } });
    let read = hub.registry.update_twin(&lamp, &old, None).await?.into_model()?;
    let as_read = IfMatch::Tag(read.etag().expect("a twin has a tag"));

    let content = TwinContent::new().set_desired("angle", 1);
    let twin = hub
        .registry
        .replace_twin(&lamp, &content, as_read.clone(), None)
        .await?
        .into_model()?;
    assert!(twin.tags().is_empty());
    assert_eq!(twin.desired().to_map()?, map(&json!({ "angle": 1 })));
    assert_eq!(twin.reported().get::<bool>("on")?, Some(true));

    let refused = hub
        .registry
        .replace_twin(&lamp, &content, as_read, None)
        .await
        .unwrap_err();
    assert_eq!(code(&refused), Some(&HubErrorCode::PreconditionFailed));

    // A twin as it was read is a replacement, too: its bookkeeping is ignored.
    let twin = hub
        .registry
        .replace_twin(&lamp, &read, IfMatch::Any, None)
        .await?
        .into_model()?;
    assert_eq!(twin.content()?, read.content()?);
    Ok(())
}

#[tokio::test]
async fn a_module_has_a_twin_of_its_own() -> Result<()> {
    let hub = Hub::with_devices(["gateway"]).await;
    let filter: TwinId = "gateway/filter".parse()?;
    assert!(hub.registry.try_get_twin(&filter, None).await?.is_none());
    hub.registry
        .create_module(&Module::new(ModuleId::new("gateway".parse()?, "filter")?), None)
        .await?;

    let patch = TwinPatch::new().set_tag("kind", "fir").set_desired("taps", 8);
    let twin = hub.registry.update_twin(&filter, &patch, None).await?.into_model()?;
    assert_eq!((twin.device_id(), twin.module_id()), ("gateway", Some("filter")));
    let content = twin.content()?.set_desired("taps", 16);
    let as_read = IfMatch::Tag(twin.etag().expect("a twin has a tag"));
    hub.registry.replace_twin(&filter, &content, as_read, None).await?;

    let twin = hub.twin("gateway/filter").await?;
    assert_eq!(twin.tags().get::<String>("kind")?.as_deref(), Some("fir"));
    assert_eq!(twin.desired().get::<u8>("taps")?, Some(16));
    assert!(hub.twin("gateway").await?.tags().is_empty());
    Ok(())
}

#[tokio::test]
async fn dates_and_numbers_come_back_byte_for_byte() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let lamp: TwinId = "lamp".parse()?;
    let values = [
        r#""2026-01-01T00:00:00.0000000+02:00""#,
        r#""2026-06-01T07:30:00Z""#,
        r#""0001-01-01T00:00:00""#,
        "1.0",
        "1.50",
        "4503599627370495",
        "1e-7",
    ];
    for value in values {
        let text = format!(r#"{{"tags":{{"v":{value}}},"properties":{{"desired":{{"v":{value}}}}}}}"#);
        let patch: Box<RawValue> = RawValue::from_string(text).unwrap();
        hub.registry.update_twin(&lamp, &patch, None).await?;
        hub.emulator.device("lamp")?.report(&format!(r#"{{"v":{value}}}"#))?;
        let twin = hub.twin("lamp").await?;
        for section in [twin.tags(), twin.desired(), twin.reported()] {
            assert_eq!(section.raw("v")?, Some(value));
        }
    }
    Ok(())
}

#[tokio::test]
async fn of_several_writers_none_undoes_what_another_one_did() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let (writers, times) = (8, 5);
    let lamp: TwinId = "lamp".parse()?;
    let write = async || {
        for _ in 0..times {
            let stubborn = ModifyTwinOptions {
                rounds: Some(1000),
                ..ModifyTwinOptions::default()
            };
            let increment = |twin: &Twin| {
                let n: u32 = twin.tags().get("n")?.unwrap_or_default();
                Ok(TwinPatch::new().set_tag("n", n + 1))
            };
            hub.registry.modify_twin(&lamp, increment, Some(stubborn)).await?;
        }
        Result::Ok(())
    };
    try_join_all((0..writers).map(|_| write())).await?;

    assert_eq!(hub.twin("lamp").await?.tags().get::<usize>("n")?, Some(writers * times));
    assert_eq!(hub.executed(Operation::UpdateTwin, "lamp"), writers * times);
    let late = |event: &Event| matches!(event, Event::Request { status: 412, .. });
    assert!(hub.emulator.journal().count(late) > 0, "the writers did meet");
    Ok(())
}

#[tokio::test]
async fn a_modification_whose_answer_is_lost_is_made_once() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let faults = hub.emulator.faults().clone();
    let increment = |twin: &Twin| {
        // The read has been answered; what follows is the write.
        faults.lose_next_answers(1);
        let n: u32 = twin.tags().get("n")?.unwrap_or_default();
        Ok(TwinPatch::new().set_tag("n", n + 1))
    };
    let error = hub
        .registry
        .modify_twin(&"lamp".parse()?, increment, None)
        .await
        .unwrap_err();

    let facts = CallFacts::of(&error).expect("it was tried");
    assert!(facts.maybe_applied);
    assert_eq!(hub.executed(Operation::UpdateTwin, "lamp"), 1);
    Ok(())
}

#[tokio::test]
async fn what_no_twin_can_hold_and_who_has_none_is_refused() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let bad = TwinPatch::new().set_tag("a.b", 1);
    let error = hub
        .registry
        .update_twin(&"lamp".parse()?, &bad, None)
        .await
        .unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::ArgumentInvalid));
    let patch = TwinPatch::new().set_tag("a", 1);
    for missing in ["candle", "lamp/filter"] {
        let error = hub
            .registry
            .update_twin(&missing.parse()?, &patch, None)
            .await
            .unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::DeviceNotFound), "{missing}");
        assert!(hub.registry.try_get_twin(&missing.parse()?, None).await?.is_none());
    }
    Ok(())
}

fn map(value: &serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    value.as_object().cloned().unwrap_or_default()
}

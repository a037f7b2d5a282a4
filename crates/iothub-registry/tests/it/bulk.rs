use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use iothub_core::{
    CallFacts, HubErrorCode, ModuleId, Result,
    models::{Device, Module, TwinContent, TwinPatch},
};
use iothub_emulator::Operation;
use iothub_registry::{
    BulkItemResult, BulkOperation, BulkOptions, BulkOutcome, IfMatch,
    models::{DeviceCapabilities, DeviceStatus},
};

use crate::hub::{Hub, code};

#[tokio::test]
async fn a_device_is_there_with_its_twin_and_its_capabilities_at_once() -> Result<()> {
    let hub = Hub::empty().await;
    let edge = DeviceCapabilities::default().with_is_edge(true);
    let gateway = Device::new("gateway".parse()?).with_capabilities(edge);
    let twin = TwinContent::new().set_tag("site", "x").set_desired("interval", 60);
    hub.registry.create_device_with_twin(&gateway, &twin, None).await?;

    let read = hub.device("gateway").await?;
    assert!(read.capabilities.is_edge && read.device_scope.is_some());
    let stored = hub.registry.get_twin(&"gateway".parse()?, None).await?.into_model()?;
    assert_eq!(stored.tags().get("site")?, Some("x".to_owned()));
    assert_eq!(stored.desired().get("interval")?, Some(60));

    let again = hub
        .registry
        .create_device_with_twin(&gateway, &twin, None)
        .await
        .unwrap_err();
    assert_eq!(code(&again), Some(&HubErrorCode::DeviceAlreadyExists));
    Ok(())
}

#[tokio::test]
async fn devices_are_added_changed_and_deleted_in_bulk() -> Result<()> {
    let hub = Hub::empty().await;
    let ids = ["a", "b", "c"];
    let devices = ids.map(|id| Device::new(id.parse().unwrap()));
    assert!(hub.registry.create_devices(&devices, None).await?.is_successful());

    let mut read = Vec::new();
    for id in ids {
        let mut device = hub.device(id).await?;
        device.status = DeviceStatus::Disabled;
        read.push(device);
    }
    assert!(hub.registry.update_devices(&read, None).await?.is_successful());
    // Nothing has its old tag now.
    let stale = hub.registry.update_devices(&read, None).await?;
    let codes: Vec<_> = stale.outcomes.iter().map(BulkOutcome::code).collect();
    assert_eq!(codes, [Some(&HubErrorCode::PreconditionFailed); 3]);
    for (id, read) in ids.iter().zip(&read) {
        let device = hub.device(id).await?;
        assert_eq!(device.status, DeviceStatus::Disabled);
        assert_eq!(device.authentication, read.authentication, "the keys stay");
        assert_eq!(hub.executed(Operation::Update, id), 1);
    }

    let gone = ["a".parse()?, "nobody".parse()?, "c".parse()?];
    let deleted = hub.registry.delete_devices(&gone, None).await?;
    assert!(deleted.outcomes[0].is_done() && deleted.outcomes[2].is_done());
    assert_eq!(deleted.outcomes[1].code(), Some(&HubErrorCode::DeviceNotFound));
    assert!(hub.device("b").await.is_ok() && hub.device("a").await.is_err());
    Ok(())
}

#[tokio::test]
async fn modules_and_twins_change_in_bulk() -> Result<()> {
    let hub = Hub::with_devices(["lamp", "candle"]).await;
    let module = |device: &str| ModuleId::new(device.parse()?, "dimmer");
    let created = [
        BulkOperation::create_module(Module::new(module("lamp")?).with_managed_by("lighting")),
        BulkOperation::create_module(Module::new(module("candle")?)),
    ];
    assert!(hub.registry.bulk_call(&created, None).await?.is_successful());
    let lamps = hub.registry.get_module(&module("lamp")?, None).await?.into_model()?;
    assert_eq!(lamps.managed_by.as_deref(), Some("lighting"));

    let patch = TwinPatch::new().set_tag("site", "x").set_desired("on", true);
    let patches = [
        ("lamp".parse()?, patch.clone()),
        ("candle/dimmer".parse()?, patch),
        ("torch".parse()?, TwinPatch::new()),
    ];
    let result = hub.registry.update_twins(&patches, None).await?;
    assert!(result.outcomes[0].is_done() && result.outcomes[1].is_done());
    assert_eq!(result.outcomes[2].code(), Some(&HubErrorCode::DeviceNotFound));
    for (id, _) in &patches[..2] {
        let twin = hub.registry.get_twin(id, None).await?.into_model()?;
        assert_eq!(
            (twin.tags().get("site")?, twin.desired().get("on")?),
            (Some("x".to_owned()), Some(true))
        );
    }

    let stale = IfMatch::Tag("c3RhbGU=".into());
    let conditional = [
        BulkOperation::UpdateTwin {
            id: "lamp".parse()?,
            patch: TwinPatch::new().set_tag("site", "y"),
            if_match: stale.clone(),
        },
        BulkOperation::DeleteModule {
            id: module("candle")?,
            if_match: stale,
        },
    ];
    let refused = hub.registry.bulk_call(&conditional, None).await?;
    let codes: Vec<_> = refused.outcomes.iter().map(BulkOutcome::code).collect();
    assert_eq!(codes, [Some(&HubErrorCode::PreconditionFailed); 2]);
    Ok(())
}

#[tokio::test]
async fn a_device_twice_in_one_call_refuses_the_call_and_a_stream_sends_two() -> Result<()> {
    let hub = Hub::empty().await;
    let lamp = Device::new("lamp".parse()?);
    let error = hub
        .registry
        .create_devices(&[lamp.clone(), lamp.clone()], None)
        .await
        .unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceDefinedMultipleTimes));

    let operations = vec![BulkOperation::create_device(lamp); 2];
    let results = run(&hub, operations, BulkOptions::default()).await?;
    assert!(results[0].outcome.is_done());
    assert_eq!(results[1].outcome.code(), Some(&HubErrorCode::DeviceAlreadyExists));
    Ok(())
}

/// A set of ids says what must come of each operation if those on one device keep their order.
#[tokio::test]
async fn every_operation_of_thousands_ends_as_if_they_had_been_made_one_by_one() -> Result<()> {
    let hub = Hub::empty().await;
    let mut exist = HashSet::new();
    let (mut operations, mut expected) = (Vec::new(), Vec::new());
    for step in 0_u32..3000 {
        // A walk through ids in which many return soon.
        let name = format!("d{}", step.wrapping_mul(2_654_435_761) % 700);
        let id = name.parse()?;
        let (operation, code) = match step.wrapping_mul(40_503) / 7 % 3 {
            0 if exist.insert(name.clone()) => (BulkOperation::create_device(Device::new(id)), None),
            0 => (
                BulkOperation::create_device(Device::new(id)),
                Some(HubErrorCode::DeviceAlreadyExists),
            ),
            1 => {
                let missing = !exist.remove(&name);
                let if_match = IfMatch::Any;
                (
                    BulkOperation::DeleteDevice { id, if_match },
                    missing.then_some(HubErrorCode::DeviceNotFound),
                )
            }
            _ => {
                let update =
                    BulkOperation::update_device(Device::new(id).with_status_reason(step.to_string()), IfMatch::Any);
                (update, (!exist.contains(&name)).then_some(HubErrorCode::DeviceNotFound))
            }
        };
        operations.push(operation);
        expected.push(code);
    }
    for kind in [
        None,
        Some(HubErrorCode::DeviceAlreadyExists),
        Some(HubErrorCode::DeviceNotFound),
    ] {
        let count = expected.iter().filter(|code| **code == kind).count();
        assert!(count > 100, "{kind:?} is expected {count} times only");
    }

    let results = run(&hub, operations, BulkOptions::default()).await?;

    let found: Vec<_> = results.iter().map(|result| result.outcome.code().cloned()).collect();
    assert_eq!(found, expected);
    let count = hub
        .registry
        .get_statistics(None)
        .await?
        .into_model()?
        .total_device_count;
    assert_eq!(count, exist.len() as u64);
    Ok(())
}

#[tokio::test]
async fn what_a_lost_answer_leaves_open_is_told_and_what_comes_after_goes_on() -> Result<()> {
    for carried_out in [true, false] {
        let hub = Hub::empty().await;
        match carried_out {
            true => hub.emulator.faults().lose_next_answers(1),
            false => hub.emulator.faults().lose_next_requests(1),
        }
        let operations = (0..250).map(|at| Ok(BulkOperation::create_device(Device::new(format!("d{at}").parse()?))));
        let options = BulkOptions {
            calls_in_flight: Some(1),
            ..BulkOptions::default()
        };
        let results = run(&hub, operations.collect::<Result<_>>()?, options).await?;

        assert_eq!(results.len(), 250);
        let (open, done) = results.split_at(100);
        assert!(done.iter().all(|result| result.outcome.is_done()));
        for result in open {
            assert!(result.outcome.maybe_applied());
            let id = result.operation.device_id().as_str();
            assert_eq!(hub.executed(Operation::Create, id), usize::from(carried_out), "{id}");
        }

        // Making them again settles it.
        let again = open.iter().map(|result| result.operation.clone()).collect();
        for result in run(&hub, again, BulkOptions::default()).await? {
            assert_eq!(
                result.outcome.code(),
                carried_out.then_some(&HubErrorCode::DeviceAlreadyExists)
            );
        }
        assert_eq!(
            hub.registry
                .get_statistics(None)
                .await?
                .into_model()?
                .total_device_count,
            250
        );
    }
    Ok(())
}

#[tokio::test]
async fn results_that_were_dropped_tell_where_to_go_on() -> Result<()> {
    let hub = Hub::empty().await;
    let operations = (0..350)
        .map(|at| Ok(BulkOperation::create_device(Device::new(format!("d{at}").parse()?))))
        .collect::<Result<Vec<_>>>()?;
    let results = hub.registry.bulk(stream::iter(operations.clone()), None)?;
    let last = results
        .take(120)
        .collect::<Vec<_>>()
        .await
        .pop()
        .expect("there are more");
    assert_eq!(last.index, 119);

    let rest = operations[120..].to_vec();
    for result in run(&hub, rest, BulkOptions::default()).await? {
        let outcome = &result.outcome;
        assert!(outcome.is_done() || outcome.code() == Some(&HubErrorCode::DeviceAlreadyExists));
    }
    for at in 0..350 {
        assert_eq!(hub.executed(Operation::Create, &format!("d{at}")), 1);
    }
    Ok(())
}

#[tokio::test]
async fn whoever_may_not_write_learns_it_of_each_operation() -> Result<()> {
    let hub = Hub::empty().await;
    let operations = vec![BulkOperation::create_device(Device::new("lamp".parse()?))];
    let results = hub.registry_of("registryRead").bulk(stream::iter(operations), None)?;
    let results: Vec<_> = results.collect().await;
    assert_eq!(results.len(), 1);
    let BulkOutcome::Unanswered(error) = &results[0].outcome else {
        panic!("{:?}", results[0]);
    };
    assert!(!CallFacts::of(error).expect("it was tried").maybe_applied);
    let error = stream::iter(results)
        .map(|result| result.outcome.into_result())
        .try_collect::<Vec<()>>()
        .await
        .unwrap_err();
    assert_eq!(error.http_status(), Some(azure_core::http::StatusCode::Unauthorized));
    Ok(())
}

async fn run(hub: &Hub, operations: Vec<BulkOperation>, options: BulkOptions<'_>) -> Result<Vec<BulkItemResult>> {
    let results = hub.registry.bulk(stream::iter(operations), Some(options))?;
    let results: Vec<_> = results.collect().await;
    for (at, result) in results.iter().enumerate() {
        assert_eq!(result.index, at as u64);
    }
    Ok(results)
}

use std::{collections::BTreeMap, time::Duration};

use iothub_core::{CallFacts, HubErrorCode, Result};
use iothub_emulator::{BlobContainer, Event, Operation, Role};
use iothub_registry::{
    BeginExportDevicesOptions, JobFailure,
    models::{
        Configuration, ConfigurationContent, ConfigurationMetrics, ExportDevices, ImportDevices, ImportExportJob,
        JobStatus, JobType, StorageAuthentication, TwinPatch,
    },
};
use serde_json::{Map, Value, json};

use crate::hub::{Hub, code};

#[tokio::test]
async fn an_export_holds_all_devices_and_configurations_whoever_the_hub_is_at_the_storage() -> Result<()> {
    let hub = Hub::with_devices(["candle", "lamp"]).await;
    hub.registry.create_configuration(&slow(), None).await?;
    let container = hub.emulator.blob_container("backup")?;
    for (storage, uri) in ways_to(&container, &hub)? {
        let (devices, configurations) = (format!("{storage:?}.txt"), format!("{storage:?}-configurations.txt"));
        let export = ExportDevices::new(uri)
            .with_storage(storage.clone())
            .with_configurations(Some(configurations.clone()))
            .with_output_blob_name(&devices);
        let job = export_to_the_end(&hub, &export).await?;
        assert_eq!((&job.job_type, job.progress), (&JobType::Export, 100));
        let devices = lines(&container, &devices);
        assert_eq!(ids(&devices), ["candle", "lamp"], "{storage:?}");
        let key = devices[0]["authentication"]["symmetricKey"]["primaryKey"].as_str();
        assert!(key.is_some_and(|key| !key.is_empty()));
        let configurations = lines(&container, &configurations);
        assert_eq!(configurations.len(), 1, "{storage:?}");
        assert_eq!(configurations[0]["Id"], "slow", "{storage:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_import_brings_devices_and_configurations_back_whoever_the_hub_is_at_the_storage() -> Result<()> {
    let hub = Hub::with_devices(["candle", "lamp"]).await;
    let slow = hub.registry.create_configuration(&slow(), None).await?.into_model()?;
    let lamp = hub.device("lamp").await?;
    let container = hub.emulator.blob_container("backup")?;
    let export = ExportDevices::new(container.sas_uri()).with_configurations(None);
    export_to_the_end(&hub, &export).await?;

    for (storage, uri) in ways_to(&container, &hub)? {
        for id in ["candle", "lamp"] {
            hub.registry.delete_device(&id.parse()?, None).await?;
        }
        hub.registry.delete_configuration(&"slow".parse()?, None).await?;

        let import = ImportDevices::new(uri.clone(), uri)
            .with_storage(storage.clone())
            .with_configurations(None);
        let job = import_to_the_end(&hub, &import).await?;

        assert_eq!((&job.job_type, job.progress), (&JobType::Import, 100));
        assert!(lines(&container, "importErrors.log").is_empty(), "{storage:?}");
        assert_eq!(
            hub.device("lamp").await?.authentication,
            lamp.authentication,
            "{storage:?}"
        );
        assert_eq!(hub.device("candle").await?.device_id, "candle", "{storage:?}");
        let back = hub
            .registry
            .get_configuration(&"slow".parse()?, None)
            .await?
            .into_model()?;
        assert_eq!(
            (&back.content, &back.target_condition, back.priority),
            (&slow.content, &slow.target_condition, slow.priority)
        );
        assert_eq!(
            (&back.labels, &back.metrics.queries),
            (&slow.labels, &slow.metrics.queries)
        );
    }
    Ok(())
}

#[tokio::test]
async fn configurations_come_along_when_asked_for_with_capitals_in_their_names() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    hub.registry.create_configuration(&slow(), None).await?;
    let container = hub.emulator.blob_container("backup")?;
    let export = ExportDevices::new(container.sas_uri());
    export_to_the_end(&hub, &export).await?;
    assert_eq!(container.blobs(), ["devices.txt"]);

    export_to_the_end(&hub, &export.with_configurations(None)).await?;

    let lines = lines(&container, "configurations.txt");
    assert_eq!(lines.len(), 1);
    for (name, value) in [
        ("Id", json!("slow")),
        (
            "Content",
            json!({ "DeviceContent": { "properties.desired.interval": 60 } }),
        ),
        ("TargetCondition", json!("tags.site = 'x'")),
        ("Priority", json!(7)),
        ("Labels", json!({ "team": "air" })),
        (
            "Metrics",
            json!({ "Queries": { "all": "SELECT deviceId FROM devices" } }),
        ),
        ("ImportMode", json!("createOrUpdateIfMatchETag")),
    ] {
        assert_eq!(lines[0][name], value, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn an_export_can_leave_the_keys_out() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let container = hub.emulator.blob_container("backup")?;
    let export = ExportDevices::new(container.sas_uri()).with_exclude_keys(true);
    let job = export_to_the_end(&hub, &export).await?;
    assert_eq!(job.exclude_keys_in_export, Some(true));
    let text = container.read_blob("devices.txt").expect("it was written");
    assert!(!String::from_utf8_lossy(&text).contains("primaryKey\":\""));
    Ok(())
}

#[tokio::test]
async fn what_was_exported_is_the_same_in_another_hub() -> Result<()> {
    let one = Hub::with_devices(["candle", "lamp"]).await;
    let patch = TwinPatch::new().set_tag("site", "x").set_desired("speed", 3);
    one.registry.update_twin(&"lamp".parse()?, &patch, None).await?;
    let from = one.emulator.blob_container("backup")?;
    export_to_the_end(&one, &ExportDevices::new(from.sas_uri())).await?;

    let two = Hub::with_devices(["gone"]).await;
    let to = two.emulator.blob_container("restore")?;
    let mut blob = from.read_blob("devices.txt").expect("it was written").to_vec();
    let delete = json!({ "id": "gone", "importMode": "delete", "status": "enabled" });
    blob.extend(format!("\n{delete}\n").bytes());
    to.write_blob("devices.txt", blob);
    let job = import_to_the_end(&two, &ImportDevices::new(to.sas_uri(), to.sas_uri())).await?;
    assert_eq!(job.job_type, JobType::Import);

    for id in ["candle", "lamp"] {
        let (before, after) = (one.device(id).await?, two.device(id).await?);
        assert_eq!(
            (&before.authentication, &before.status),
            (&after.authentication, &after.status)
        );
        assert_eq!(one.twin(id).await?.content()?, two.twin(id).await?.content()?);
    }
    assert!(two.registry.try_get_device(&"gone".parse()?, None).await?.is_none());
    export_to_the_end(
        &two,
        &ExportDevices::new(to.sas_uri()).with_output_blob_name("again.txt"),
    )
    .await?;
    assert_eq!(ids(&lines(&to, "again.txt")), ids(&lines(&from, "devices.txt")));
    Ok(())
}

#[tokio::test]
async fn lines_that_fail_are_listed_and_the_import_completes() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let container = hub.emulator.blob_container("restore")?;
    let existing = json!({ "id": "lamp", "importMode": "create", "status": "enabled" });
    let new = json!({ "id": "candle", "importMode": "create", "status": "disabled" });
    container.write_blob("mine.txt", format!("{existing}\n{new}\n"));
    let import =
        ImportDevices::new(container.sas_uri_with("r", HOUR), container.sas_uri()).with_input_blob_name("mine.txt");

    import_to_the_end(&hub, &import).await?;

    let errors = lines(&container, "importErrors.log");
    assert_eq!((errors.len(), &errors[0]["deviceId"]), (1, &json!("lamp")));
    assert_eq!(hub.device("candle").await?.status.as_str(), "disabled");
    Ok(())
}

#[tokio::test]
async fn a_second_job_is_refused_while_one_runs() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let export = ExportDevices::new(hub.emulator.blob_container("backup")?.sas_uri());
    hub.emulator.faults().hold_transfers();
    hub.registry.begin_export_devices(&export, None).await?;

    let refused = hub.registry.begin_export_devices(&export, None).await.unwrap_err();

    assert_eq!(code(&refused), Some(&HubErrorCode::JobQuotaExceeded));
    let facts = CallFacts::of(&refused).expect("it was tried");
    assert_eq!((facts.attempts, facts.maybe_applied), (1, false));
    Ok(())
}

#[tokio::test]
async fn a_second_job_waits_for_its_turn_if_asked_to() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let export = ExportDevices::new(hub.emulator.blob_container("backup")?.sas_uri());
    hub.emulator.faults().hold_transfers();
    let first = hub.registry.begin_export_devices(&export, None).await?.into_model()?;

    let patient = BeginExportDevicesOptions {
        queue_for: Some(HOUR),
        ..BeginExportDevicesOptions::default()
    };
    let second = hub.registry.begin_export_devices(&export, Some(patient));
    let release = async {
        let refused = |event: &Event| matches!(event, Event::Request { status: 403, .. });
        hub.emulator.journal().wait_for(refused).await;
        hub.emulator.faults().release_transfers();
    };
    let (second, ()) = futures::join!(second, release);
    let second = second?.into_model()?;
    hub.registry.wait_for_job(&second.job_id, None)?.await?;

    let jobs = hub.registry.list_jobs(None).await?.into_model()?;
    let ended: Vec<_> = jobs.iter().map(|job| (&job.job_id, &job.status)).collect();
    let completed = &JobStatus::Completed;
    assert_eq!(ended, [(&first.job_id, completed), (&second.job_id, completed)]);
    assert_eq!(hub.executed(Operation::Export, &second.job_id), 1);
    Ok(())
}

#[tokio::test]
async fn a_job_that_is_cancelled_ends_the_wait_for_it() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let container = hub.emulator.blob_container("backup")?;
    hub.emulator.faults().hold_transfers();
    let export = ExportDevices::new(container.sas_uri());
    let job = hub.registry.begin_export_devices(&export, None).await?.into_model()?;
    assert_eq!(
        hub.registry.get_job(&job.job_id, None).await?.into_model()?.status,
        JobStatus::Enqueued
    );

    hub.registry.cancel_job(&job.job_id, None).await?;
    let error = hub.registry.wait_for_job(&job.job_id, None)?.await.unwrap_err();

    let failure = JobFailure::of(&error).expect("the job did not come to its end");
    assert_eq!(failure.job.status, JobStatus::Cancelled);
    assert!(container.blobs().is_empty());
    Ok(())
}

#[tokio::test]
async fn storage_that_is_of_no_use_is_an_error_at_once_that_shows_no_signature() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let container = hub.emulator.blob_container("backup")?;
    for uri in [
        container.sas_uri_with("r", HOUR),
        container.uri(),
        container.sas_uri().replace("/backup?", "/nothing?"),
    ] {
        let export = ExportDevices::new(uri);
        let error = hub.registry.begin_export_devices(&export, None).await.unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::BlobContainerValidationError));
        let printed = format!("{error} {error:?} {export:?}");
        assert!(!printed.contains("sig="), "{printed}");
    }
    let stranger =
        StorageAuthentication::UserAssignedIdentity("/subscriptions/s/x/userAssignedIdentities/no".to_owned());
    let export = ExportDevices::new(container.uri()).with_storage(stranger);
    let error = hub.registry.begin_export_devices(&export, None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::ManagedIdentityNotEnabled));
    assert!(hub.registry.list_jobs(None).await?.into_model()?.is_empty());

    // Whether the blob is there, the hub finds out when the job runs.
    let import = ImportDevices::new(container.sas_uri(), container.sas_uri());
    let error = import_to_the_end(&hub, &import).await.unwrap_err();
    let failure = JobFailure::of(&error).expect("the job did not come to its end");
    assert_eq!(failure.job.status, JobStatus::Failed);
    assert!(error.to_string().contains("BlobNotFound"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_policy_that_may_only_read_starts_no_job() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let reader = hub.registry_of("registryRead");
    assert!(reader.list_jobs(None).await?.into_model()?.is_empty());
    let export = ExportDevices::new(hub.emulator.blob_container("backup")?.sas_uri());
    let error = reader.begin_export_devices(&export, None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::IotHubUnauthorizedAccess));
    let error = reader.get_job("none", None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::JobNotFound));
    Ok(())
}

/// Each way in which a hub gets at a container, and the address of the container for that.
fn ways_to(container: &BlobContainer, hub: &Hub) -> Result<[(StorageAuthentication, String); 3]> {
    let mover = hub.emulator.entra().register("mover")?;
    mover.set_roles(&[Role::StorageBlobDataContributor]);
    let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mover";
    Ok([
        (StorageAuthentication::KeyBased, container.sas_uri()),
        (StorageAuthentication::SystemAssignedIdentity, container.uri()),
        (
            StorageAuthentication::UserAssignedIdentity(id.to_owned()),
            container.uri(),
        ),
    ])
}

fn slow() -> Configuration {
    let pair = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let content = Map::from_iter([("properties.desired.interval".to_owned(), json!(60))]);
    let queries = pair("all", "SELECT deviceId FROM devices");
    Configuration::new("slow")
        .with_content(ConfigurationContent::Device(content))
        .with_target_condition("tags.site = 'x'")
        .with_priority(7)
        .with_labels(pair("team", "air"))
        .with_metrics(ConfigurationMetrics::default().with_queries(queries))
}

async fn export_to_the_end(hub: &Hub, export: &ExportDevices) -> Result<ImportExportJob> {
    let job = hub.registry.begin_export_devices(export, None).await?.into_model()?;
    hub.registry.wait_for_job(&job.job_id, None)?.await?.into_model()
}

async fn import_to_the_end(hub: &Hub, import: &ImportDevices) -> Result<ImportExportJob> {
    let job = hub.registry.begin_import_devices(import, None).await?.into_model()?;
    hub.registry.wait_for_job(&job.job_id, None)?.await?.into_model()
}

fn lines(container: &BlobContainer, blob: &str) -> Vec<Value> {
    let blob = container.read_blob(blob).expect("the blob was written");
    let lines = blob.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).expect("each line is JSON"))
        .collect()
}

fn ids(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["id"].as_str()).collect()
}

const HOUR: Duration = Duration::from_secs(3600);

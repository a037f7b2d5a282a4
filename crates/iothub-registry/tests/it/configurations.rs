use std::collections::BTreeMap;

use iothub_core::{ConfigurationId, HubErrorCode, Result, models::Device};
use iothub_registry::{
    DeleteConfigurationOptions, IfMatch, UpdateConfigurationOptions,
    models::{
        Configuration, ConfigurationContent, ConfigurationMetrics, ConfigurationQueries, DeviceCapabilities, TwinPatch,
    },
};
use serde_json::{Map, Value, json};

use crate::hub::{Hub, code};

#[tokio::test]
async fn a_configuration_lives_from_create_to_delete() -> Result<()> {
    let hub = Hub::empty().await;
    let id: ConfigurationId = "slow-50%!".parse()?;
    assert!(hub.registry.try_get_configuration(&id, None).await?.is_none());

    let created = create(&hub, &slow(id.as_str())).await?;
    assert_eq!(id, created.id.as_str());
    assert!(created.created_time.is_some());
    let mut read = hub.registry.get_configuration(&id, None).await?.into_model()?;
    assert_eq!(read, created);

    read.priority = 7;
    let updated = hub.registry.update_configuration(&read, None).await?.into_model()?;
    assert_eq!(updated.priority, 7);
    assert_eq!(updated.content, created.content);
    assert_ne!(updated.etag, created.etag);

    create(&hub, &slow("other")).await?;
    let listed = hub.registry.list_configurations(None).await?.into_model()?;
    let mut ids: Vec<&str> = listed.iter().map(|configuration| configuration.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["other", "slow-50%!"]);

    hub.registry.delete_configuration(&id, None).await?;
    let error = hub.registry.get_configuration(&id, None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::ConfigurationNotFound));
    let error = hub.registry.update_configuration(&updated, None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::ConfigurationNotFound));
    Ok(())
}

#[tokio::test]
async fn a_late_writer_changes_no_configuration() -> Result<()> {
    let hub = Hub::empty().await;
    let id: ConfigurationId = "slow".parse()?;
    let mine = create(&hub, &slow("slow")).await?;
    let again = hub.registry.create_configuration(&mine, None).await.unwrap_err();
    assert_eq!(code(&again), Some(&HubErrorCode::ConfigurationAlreadyExists));
    let theirs = hub.registry.update_configuration(&mine, None).await?.into_model()?;

    let update = hub.registry.update_configuration(&mine, None).await.unwrap_err();
    assert_eq!(code(&update), Some(&HubErrorCode::PreconditionFailed));
    let as_read = |configuration: Configuration| DeleteConfigurationOptions {
        if_match: configuration.etag.map(IfMatch::Tag),
        ..DeleteConfigurationOptions::default()
    };
    let delete = hub
        .registry
        .delete_configuration(&id, Some(as_read(mine.clone())))
        .await
        .unwrap_err();
    assert_eq!(code(&delete), Some(&HubErrorCode::PreconditionFailed));

    let anyway = UpdateConfigurationOptions {
        if_match: Some(IfMatch::Any),
        ..UpdateConfigurationOptions::default()
    };
    let forced = hub
        .registry
        .update_configuration(&mine, Some(anyway))
        .await?
        .into_model()?;
    assert_ne!(forced.etag, theirs.etag);
    hub.registry.delete_configuration(&id, Some(as_read(forced))).await
}

#[tokio::test]
async fn labels_are_set_changed_and_cleared() -> Result<()> {
    let hub = Hub::empty().await;
    let label = |value: &str| BTreeMap::from([("team".to_owned(), value.to_owned())]);
    let mut configuration = create(&hub, &slow("slow").with_labels(label("air"))).await?;
    assert_eq!(configuration.labels, label("air"));
    for labels in [label("light"), BTreeMap::new()] {
        configuration.labels = labels.clone();
        hub.registry.update_configuration(&configuration, None).await?;
        configuration = hub
            .registry
            .get_configuration(&"slow".parse()?, None)
            .await?
            .into_model()?;
        assert_eq!(configuration.labels, labels);
    }
    Ok(())
}

#[tokio::test]
async fn a_configuration_configures_what_matches_and_counts_it() -> Result<()> {
    let hub = Hub::with_devices(["lamp", "candle"]).await;
    let patch = TwinPatch::new().set_tag("site", "x");
    hub.registry.update_twin(&"lamp".parse()?, &patch, None).await?;
    let metrics = BTreeMap::from([("all".to_owned(), "SELECT deviceId FROM devices".to_owned())]);
    let metrics = ConfigurationMetrics::default().with_queries(metrics);
    create(&hub, &slow("slow").with_metrics(metrics)).await?;

    assert_eq!(hub.twin("lamp").await?.desired().get("interval")?, Some(60));
    assert_eq!(hub.twin("candle").await?.desired().get::<u32>("interval")?, None);
    let read = hub
        .registry
        .get_configuration(&"slow".parse()?, None)
        .await?
        .into_model()?;
    let results = |metrics: &ConfigurationMetrics, name| metrics.results.get(name).copied();
    assert_eq!(results(&read.system_metrics, "targetedCount"), Some(1));
    assert_eq!(results(&read.system_metrics, "appliedCount"), Some(1));
    assert_eq!(results(&read.metrics, "all"), Some(2));
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_configuration_is_told_apart() -> Result<()> {
    let hub = Hub::empty().await;
    let wrong_path = ConfigurationContent::Device(paths("tags.site", json!("x")));
    let queries = BTreeMap::from([("bad".to_owned(), "SELECT FROM".to_owned())]);
    let metrics = ConfigurationMetrics::default().with_queries(queries.clone());
    for (configuration, expected) in [
        (
            slow("a").with_content(wrong_path),
            HubErrorCode::InvalidConfigurationContent,
        ),
        (
            slow("a").with_target_condition("tags.site ="),
            HubErrorCode::InvalidConfigurationTargetCondition,
        ),
        (
            slow("a").with_metrics(metrics),
            HubErrorCode::InvalidConfigurationCustomMetricsQuery,
        ),
    ] {
        let error = hub
            .registry
            .create_configuration(&configuration, None)
            .await
            .unwrap_err();
        assert_eq!(code(&error), Some(&expected));
    }

    let tested = |condition: &str, queries| {
        ConfigurationQueries::default()
            .with_target_condition(condition)
            .with_custom_metric_queries(queries)
    };
    let bad = tested("tags.site =", queries);
    let errors = hub
        .registry
        .test_configuration_queries(&bad, None)
        .await?
        .into_model()?;
    assert!(errors.target_condition_error.is_some());
    assert!(errors.custom_metric_query_errors.contains_key("bad"));
    let good = tested("tags.site = 'x'", BTreeMap::new());
    let errors = hub
        .registry
        .test_configuration_queries(&good, None)
        .await?
        .into_model()?;
    assert_eq!(errors.target_condition_error, None);
    assert!(errors.custom_metric_query_errors.is_empty());
    Ok(())
}

#[tokio::test]
async fn content_is_applied_to_an_edge_device_at_once() -> Result<()> {
    let hub = Hub::with_devices(["leaf"]).await;
    create_edge(&hub, "gateway").await?;
    let content = deployment(1);
    hub.registry
        .apply_configuration_content(&"gateway".parse()?, &content, None)
        .await?;
    let agent = hub.twin("gateway/$edgeAgent").await?;
    assert_eq!(agent.desired().get("version")?, Some(1));
    let filter = hub.twin("gateway/filter").await?;
    assert_eq!(filter.desired().get("threshold")?, Some(1));

    let refused = hub
        .registry
        .apply_configuration_content(&"leaf".parse()?, &content, None)
        .await
        .unwrap_err();
    assert_eq!(refused.http_status(), Some(azure_core::http::StatusCode::BadRequest));
    let without_agent = ConfigurationContent::Edge(BTreeMap::from([(
        "filter".to_owned(),
        paths("properties.desired.a", json!(1)),
    )]));
    let refused = hub
        .registry
        .apply_configuration_content(&"gateway".parse()?, &without_agent, None)
        .await
        .unwrap_err();
    assert_eq!(code(&refused), Some(&HubErrorCode::InvalidConfigurationContent));
    Ok(())
}

#[tokio::test]
async fn a_deployment_and_its_layer_reach_the_edge() -> Result<()> {
    let hub = Hub::empty().await;
    create_edge(&hub, "gateway").await?;
    let base = Configuration::new("base")
        .with_content(deployment(1))
        .with_target_condition("*")
        .with_priority(1);
    let extra = paths("properties.desired.extra", json!({ "x": 1 }));
    let layer = Configuration::new("layer")
        .with_content(ConfigurationContent::Edge(BTreeMap::from([(
            "$edgeAgent".to_owned(),
            extra,
        )])))
        .with_target_condition("*")
        .with_priority(2);
    create(&hub, &base).await?;
    create(&hub, &layer).await?;

    let agent = hub.twin("gateway/$edgeAgent").await?;
    assert_eq!(agent.desired().get("version")?, Some(1));
    assert_eq!(agent.desired().get("extra")?, Some(json!({ "x": 1 })));
    let read = hub
        .registry
        .get_configuration(&"base".parse()?, None)
        .await?
        .into_model()?;
    assert_eq!(read.content, base.content);
    assert!(read.system_metrics.results.contains_key("reportedSuccessfulCount"));
    Ok(())
}

async fn create(hub: &Hub, configuration: &Configuration) -> Result<Configuration> {
    hub.registry
        .create_configuration(configuration, None)
        .await?
        .into_model()
}

async fn create_edge(hub: &Hub, id: &str) -> Result<()> {
    let edge = DeviceCapabilities::default().with_is_edge(true);
    let device = Device::new(id.parse()?).with_capabilities(edge);
    hub.registry.create_device(&device, None).await?;
    Ok(())
}

fn slow(id: &str) -> Configuration {
    Configuration::new(id)
        .with_content(ConfigurationContent::Device(paths(
            "properties.desired.interval",
            json!(60),
        )))
        .with_target_condition("tags.site = 'x'")
}

fn deployment(version: u32) -> ConfigurationContent {
    let runtime = json!({ "schemaVersion": "1.1", "version": version });
    ConfigurationContent::Edge(BTreeMap::from([
        ("$edgeAgent".to_owned(), paths("properties.desired", runtime)),
        (
            "$edgeHub".to_owned(),
            paths("properties.desired", json!({ "routes": {} })),
        ),
        (
            "filter".to_owned(),
            paths("properties.desired.threshold", json!(version)),
        ),
    ]))
}

fn paths(path: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(path.to_owned(), value)])
}

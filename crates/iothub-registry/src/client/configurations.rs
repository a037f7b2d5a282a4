use azure_core::{
    error::ErrorKind,
    http::{Method, Response},
};
use iothub_core::{
    ConfigurationId, DeviceId, Error, HubError, HubErrorCode, IfMatch, OperationClass, Result,
    models::{Configuration, ConfigurationContent, ConfigurationQueries, ConfigurationQueryErrors},
};

use super::RegistryClient;
use crate::{
    ApplyConfigurationContentOptions, CreateConfigurationOptions, DeleteConfigurationOptions, GetConfigurationOptions,
    ListConfigurationsOptions, TestConfigurationQueriesOptions, UpdateConfigurationOptions,
};

/// Configurations: what the hub writes into the twins of all devices that a condition matches, now and later.
///
/// They are what .NET calls automatic device management. Those with edge content are deployments to edge devices.
impl RegistryClient {
    /// Adds a configuration. The hub begins to apply it soon after, not at once.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::ConfigurationAlreadyExists`] if there is one with this id, possibly from an earlier try of this
    /// call: then [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied) is true.
    /// [`HubErrorCode::InvalidConfigurationContent`], [`HubErrorCode::InvalidConfigurationTargetCondition`] and
    /// [`HubErrorCode::InvalidConfigurationCustomMetricsQuery`] for what is wrong in it.
    /// [`HubErrorCode::ConfigurationCountLimitExceeded`] if the hub has as many as it may. Without a request, if the id is
    /// not one; see [`ConfigurationId`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_registry::models::{Configuration, ConfigurationContent};
    /// use serde_json::{Map, json};
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let content = Map::from_iter([("properties.desired.interval".to_owned(), json!(60))]);
    /// let slow = Configuration::new("slow")
    ///     .with_content(ConfigurationContent::Device(content))
    ///     .with_target_condition("tags.site = 'x'")
    ///     .with_priority(10);
    /// registry.create_configuration(&slow, None).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "AddConfigurationAsync")]
    #[doc(alias = "addConfiguration")]
    pub async fn create_configuration(
        &self,
        configuration: &Configuration,
        options: Option<CreateConfigurationOptions<'_>>,
    ) -> Result<Response<Configuration>> {
        let options = options.unwrap_or_default();
        let id: ConfigurationId = configuration.id.parse()?;
        let request = self
            .hub
            .request(Method::Put, &["configurations", id.as_str()])?
            .json(configuration)?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }

    /// Reads one configuration.
    ///
    /// The hub counts metrics now and then, so their results may be minutes old, and are missing from a new one.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::ConfigurationNotFound`] if none has this id;
    /// [`try_get_configuration`](Self::try_get_configuration) makes that a `None`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let slow = registry.get_configuration(&"slow".parse()?, None).await?.into_model()?;
    /// println!("{:?} devices are configured", slow.system_metrics.results.get("appliedCount"));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetConfigurationAsync")]
    pub async fn get_configuration(
        &self,
        id: &ConfigurationId,
        options: Option<GetConfigurationOptions<'_>>,
    ) -> Result<Response<Configuration>> {
        let options = options.unwrap_or_default();
        let request = self.hub.request(Method::Get, &["configurations", id.as_str()])?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }

    /// Reads one configuration, or `None` if none has this id.
    ///
    /// # Errors
    ///
    /// As [`get_configuration`](Self::get_configuration), except for [`HubErrorCode::ConfigurationNotFound`].
    pub async fn try_get_configuration(
        &self,
        id: &ConfigurationId,
        options: Option<GetConfigurationOptions<'_>>,
    ) -> Result<Option<Response<Configuration>>> {
        match self.get_configuration(id, options).await {
            Ok(response) => Ok(Some(response)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads all configurations, in one answer: a hub has 100 at most.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// for configuration in registry.list_configurations(None).await?.into_model()? {
    ///     println!("{} goes to {:?}", configuration.id, configuration.target_condition);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// None of its own.
    #[doc(alias = "GetConfigurationsAsync")]
    #[doc(alias = "getConfigurations")]
    pub async fn list_configurations(
        &self,
        options: Option<ListConfigurationsOptions<'_>>,
    ) -> Result<Response<Vec<Configuration>>> {
        let options = options.unwrap_or_default();
        let request = self.hub.request(Method::Get, &["configurations"])?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }

    /// Replaces a configuration: its labels, priority, target condition and metrics.
    ///
    /// The content cannot change. The hub wants it nevertheless, and keeps the old one without a word; to change it,
    /// create a configuration with another id. Without other options the update takes place only if nobody else has
    /// written in between.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::PreconditionFailed`] if somebody else was faster: read again and decide again.
    /// [`HubErrorCode::ConfigurationNotFound`] if none has this id. What is wrong in it, as
    /// [`create_configuration`](Self::create_configuration). Without a request, if the configuration has no tag and the
    /// options say nothing about it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let mut slow = registry.get_configuration(&"slow".parse()?, None).await?.into_model()?;
    /// slow.priority += 1;
    /// registry.update_configuration(&slow, None).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "UpdateConfigurationAsync")]
    pub async fn update_configuration(
        &self,
        configuration: &Configuration,
        options: Option<UpdateConfigurationOptions<'_>>,
    ) -> Result<Response<Configuration>> {
        let options = options.unwrap_or_default();
        let id: ConfigurationId = configuration.id.parse()?;
        let as_read = || configuration.etag.clone().map(IfMatch::Tag);
        let condition = options.if_match.or_else(as_read).ok_or_else(|| untagged(&id))?;
        let request = self
            .hub
            .request(Method::Put, &["configurations", id.as_str()])?
            .if_match(&condition)?
            .json(configuration)?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }

    /// Deletes a configuration. What it has written into twins stays there.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::ConfigurationNotFound`] if none has this id, possibly because an earlier try of this call has
    /// deleted it: then [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied) is true.
    /// [`HubErrorCode::PreconditionFailed`] if the options name another version than the hub's.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// registry.delete_configuration(&"slow".parse()?, None).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "RemoveConfigurationAsync")]
    #[doc(alias = "removeConfiguration")]
    pub async fn delete_configuration(
        &self,
        id: &ConfigurationId,
        options: Option<DeleteConfigurationOptions<'_>>,
    ) -> Result<()> {
        let options = options.unwrap_or_default();
        let mut request = self.hub.request(Method::Delete, &["configurations", id.as_str()])?;
        // Unlike an identity, a configuration is deleted without a condition, which cannot fail while the hub writes
        // to the configuration itself.
        if let Some(condition) = &options.if_match {
            request = request.if_match(condition)?;
        }
        self.hub.send(&options.method_options.context, request).await?;
        Ok(())
    }

    /// Writes the content of a deployment to one edge device at once, without a configuration.
    ///
    /// It replaces the desired properties of the modules that it names. A configuration that matches the device may
    /// overwrite it later.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::InvalidConfigurationContent`] if there is something wrong with the content, such as that it has no
    /// `$edgeAgent`. [`HubErrorCode::DeviceNotFound`] if no device has this id. Content that is not for edge devices, and
    /// a device that is not one, are refused with status 400.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::collections::BTreeMap;
    ///
    /// use iothub_registry::models::ConfigurationContent;
    /// use serde_json::{Map, json};
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let settings = |text, value| Map::from_iter([(String::from(text), value)]);
    /// let content = ConfigurationContent::Edge(BTreeMap::from([
    ///     ("$edgeAgent".to_owned(), settings("properties.desired", json!({ "schemaVersion": "1.1" }))),
    ///     ("filter".to_owned(), settings("properties.desired.threshold", json!(25))),
    /// ]));
    /// registry.apply_configuration_content(&"gateway".parse()?, &content, None).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "ApplyConfigurationContentOnDeviceAsync")]
    #[doc(alias = "applyConfigurationContentOnDevice")]
    #[doc(alias = "SetModules")]
    pub async fn apply_configuration_content(
        &self,
        device: &DeviceId,
        content: &ConfigurationContent,
        options: Option<ApplyConfigurationContentOptions<'_>>,
    ) -> Result<()> {
        let options = options.unwrap_or_default();
        // It says what shall stand in the twins afterwards, so saying it twice does no harm.
        let request = self
            .hub
            .request(Method::Post, &["devices", device.as_str(), "applyConfigurationContent"])?
            .class(OperationClass::Idempotent)
            .json(content)?;
        self.hub.send(&options.method_options.context, request).await?;
        Ok(())
    }

    /// Has the hub check the target condition and the metric queries of a configuration before it is saved.
    ///
    /// What is wrong with them is in the answer, which is empty if nothing is.
    ///
    /// # Errors
    ///
    /// None of its own.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_registry::models::ConfigurationQueries;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let queries = ConfigurationQueries::default().with_target_condition("tags.site = 'x");
    /// let errors = registry.test_configuration_queries(&queries, None).await?.into_model()?;
    /// if let Some(error) = errors.target_condition_error {
    ///     println!("the condition is wrong: {error}");
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn test_configuration_queries(
        &self,
        queries: &ConfigurationQueries,
        options: Option<TestConfigurationQueriesOptions<'_>>,
    ) -> Result<Response<ConfigurationQueryErrors>> {
        let options = options.unwrap_or_default();
        let request = self
            .hub
            .request(Method::Post, &["configurations", "testQueries"])?
            .class(OperationClass::Read)
            .json(queries)?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }
}

fn is_missing(error: &Error) -> bool {
    HubError::of(error).is_some_and(|hub| hub.code == HubErrorCode::ConfigurationNotFound)
}

fn untagged(id: &ConfigurationId) -> Error {
    Error::with_message_fn(ErrorKind::DataConversion, || {
        format!(
            "configuration `{id}` has no etag: read it from the hub first, or overwrite whatever is there with \
             IfMatch::Any"
        )
    })
}

#[cfg(test)]
mod tests {
    use azure_core::http::StatusCode;
    use iothub_core::testing::{HttpAnswer, ScriptedHttp};
    use serde_json::{Map, json};

    use super::*;
    use crate::scripted::{body, code, refusal, registry};

    #[tokio::test]
    async fn ids_are_checked_before_anything_is_sent() {
        let http = ScriptedHttp::default();
        let registry = registry(&http);
        let capital = Configuration::new("Slow");
        let created = registry.create_configuration(&capital, None).await.unwrap_err();
        let updated = registry.update_configuration(&capital, None).await.unwrap_err();
        for error in [created, updated] {
            assert!(
                error.to_string().contains("\"Slow\" is not a configuration id"),
                "{error}"
            );
        }
        assert!(http.seen().is_empty());
    }

    #[tokio::test]
    async fn every_write_has_the_condition_that_was_asked_for() -> Result<()> {
        let http = ScriptedHttp::always(HttpAnswer::new(StatusCode::Ok, r#"{"id":"50%","etag":"MQ=="}"#));
        let registry = registry(&http);
        let id: ConfigurationId = "50%".parse()?;
        registry.create_configuration(&Configuration::new("50%"), None).await?;
        let read = registry.get_configuration(&id, None).await?.into_model()?;
        let any = UpdateConfigurationOptions {
            if_match: Some(IfMatch::Any),
            ..UpdateConfigurationOptions::default()
        };
        let tag = DeleteConfigurationOptions {
            if_match: Some(IfMatch::Tag("Mg==".into())),
            ..DeleteConfigurationOptions::default()
        };
        registry.update_configuration(&read, None).await?;
        registry.update_configuration(&read, Some(any)).await?;
        registry.delete_configuration(&id, None).await?;
        registry.delete_configuration(&id, Some(tag)).await?;
        let untagged = registry
            .update_configuration(&Configuration::new("50%"), None)
            .await
            .unwrap_err();
        assert!(
            untagged.to_string().contains("configuration `50%` has no etag"),
            "{untagged}"
        );

        let requests = http.requests();
        let seen: Vec<_> = requests
            .iter()
            .map(|seen| (seen.method.as_str().to_owned(), seen.header("if-match")))
            .collect();
        let expected = [
            ("PUT", None),
            ("GET", None),
            ("PUT", Some("\"MQ==\"")),
            ("PUT", Some("*")),
            ("DELETE", None),
            ("DELETE", Some("\"Mg==\"")),
        ];
        assert_eq!(seen, expected.map(|(method, condition)| (method.to_owned(), condition)));
        assert!(
            http.seen()
                .iter()
                .all(|seen| seen.contains(" /configurations/50%25?api-version="))
        );
        Ok(())
    }

    #[tokio::test]
    async fn a_configuration_that_was_read_is_sent_back_as_it_was() -> Result<()> {
        // As the service writes one.
        let wire = json!({
            "id": "slow", "schemaVersion": "1.0", "labels": { "App": "lights" },
            "content": { "deviceContent": { "properties.desired.interval": 60 } },
            "targetCondition": "tags.site='x'", "createdTimeUtc": "2026-01-01T00:00:00.5Z",
            "lastUpdatedTimeUtc": "2026-01-02T00:00:00.5Z", "priority": 3,
            "systemMetrics": { "results": { "targetedCount": 2 }, "queries": { "targetedCount": "select 1" } },
            "metrics": { "results": {}, "queries": { "mine": "select 2" } },
            "etag": "MQ==",
        });
        let http = ScriptedHttp::always(HttpAnswer::new(StatusCode::Ok, wire.to_string()));
        let registry = registry(&http);
        let read = registry.get_configuration(&"slow".parse()?, None).await?.into_model()?;
        registry.update_configuration(&read, None).await?;
        let sent = body(&http, 1);
        for name in ["id", "labels", "content", "targetCondition", "priority"] {
            assert_eq!(sent[name], wire[name], "{name}");
        }
        assert_eq!(sent["metrics"]["queries"], wire["metrics"]["queries"]);
        Ok(())
    }

    #[tokio::test]
    async fn try_get_configuration_is_none_for_a_missing_one_only() -> Result<()> {
        let http = ScriptedHttp::new([
            refusal(StatusCode::NotFound, "ConfigurationNotFound"),
            refusal(StatusCode::NotFound, "IotHubFailingOver"),
        ]);
        let registry = registry(&http);
        let id = "slow".parse()?;
        assert!(registry.try_get_configuration(&id, None).await?.is_none());
        let error = registry.try_get_configuration(&id, None).await.unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::IotHubFailingOver));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn posts_that_may_be_repeated_are() -> Result<()> {
        let http = ScriptedHttp::new([
            HttpAnswer::Lost,
            HttpAnswer::new(StatusCode::NoContent, ""),
            HttpAnswer::Lost,
            HttpAnswer::new(
                StatusCode::Ok,
                r#"{"targetConditionError":"no","customMetricQueryErrors":null}"#,
            ),
        ]);
        let registry = registry(&http);
        let content = ConfigurationContent::Device(Map::new());
        registry
            .apply_configuration_content(&"a?b".parse()?, &content, None)
            .await?;
        let queries = ConfigurationQueries::default().with_target_condition("*");
        let errors = registry
            .test_configuration_queries(&queries, None)
            .await?
            .into_model()?;

        assert_eq!(errors.target_condition_error.as_deref(), Some("no"));
        assert!(errors.custom_metric_query_errors.is_empty());
        let apply = "POST /devices/a%3Fb/applyConfigurationContent?api-version=2021-04-12";
        let test = "POST /configurations/testQueries?api-version=2021-04-12";
        assert_eq!(http.seen(), [apply, apply, test, test]);
        assert_eq!(body(&http, 3)["targetCondition"], "*");
        Ok(())
    }
}

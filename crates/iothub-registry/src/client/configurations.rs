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
    /// [`HubErrorCode::InvalidConfigurationContent`] if it is not content for edge devices, such as one without
    /// `$edgeAgent`. [`HubErrorCode::DeviceNotFound`] if no device has this id. A device that is not an edge device is
    /// refused with status 400.
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

use azure_core::http::{Method, Response};
use iothub_core::{
    Result,
    models::{RegistryStatistics, ServiceStatistics},
};

use super::RegistryClient;
use crate::{GetServiceStatisticsOptions, GetStatisticsOptions};

/// Counts.
impl RegistryClient {
    /// Counts the devices of the hub. The counts may be minutes old.
    ///
    /// # Errors
    ///
    /// None of its own.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let statistics = registry.get_statistics(None).await?.into_model()?;
    /// println!("{} of {} may connect", statistics.enabled_device_count, statistics.total_device_count);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetRegistryStatisticsAsync")]
    #[doc(alias = "getRegistryStatistics")]
    pub async fn get_statistics(
        &self,
        options: Option<GetStatisticsOptions<'_>>,
    ) -> Result<Response<RegistryStatistics>> {
        let options = options.unwrap_or_default();
        let request = self.hub.request(Method::Get, &["statistics", "devices"])?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }

    /// Counts the devices that are connected. The count may be minutes old.
    ///
    /// # Errors
    ///
    /// None of its own.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let statistics = registry.get_service_statistics(None).await?.into_model()?;
    /// println!("{} are connected", statistics.connected_device_count);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetServiceStatisticsAsync")]
    pub async fn get_service_statistics(
        &self,
        options: Option<GetServiceStatisticsOptions<'_>>,
    ) -> Result<Response<ServiceStatistics>> {
        let options = options.unwrap_or_default();
        let request = self.hub.request(Method::Get, &["statistics", "service"])?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }
}

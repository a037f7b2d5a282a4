use azure_core::http::{Method, Response};
use iothub_core::{Result, models::ServiceStatistics};

use super::ServiceClient;
use crate::GetServiceStatisticsOptions;

/// Statistics.
impl ServiceClient {
    /// How many devices are connected. The count may be minutes old.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(service: iothub_service::ServiceClient) -> iothub_core::Result<()> {
    /// let statistics = service.get_service_statistics(None).await?.into_model()?;
    /// println!("{} devices are connected", statistics.connected_device_count);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetServiceStatisticsAsync")]
    pub async fn get_service_statistics(
        &self,
        options: Option<GetServiceStatisticsOptions<'_>>,
    ) -> Result<Response<ServiceStatistics>> {
        let options = options.unwrap_or_default();
        let hub = self.http()?;
        let request = hub.request(Method::Get, &["statistics", "service"])?;
        let response = hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }
}

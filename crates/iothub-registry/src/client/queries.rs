use azure_core::http::Pager;
use iothub_core::{
    PagedQuery, QueryPage, Result,
    models::{TwinFormat, TwinPage},
};
use serde::de::DeserializeOwned;

use super::RegistryClient;
use crate::{ListDevicesOptions, QueryOptions};

/// Queries.
///
/// They need the permission *ServiceConnect*; with Microsoft Entra ID, the role *IoT Hub Data Reader*. A hub answers
/// from an index that is behind: a new twin shows after a second or two, and Microsoft's documentation allows minutes.
impl RegistryClient {
    /// Asks for rows of any shape: projections, aggregates, device jobs, or twins as a type of yours.
    ///
    /// A row is a JSON object that is read as a `T`. `serde_json::Value` takes every row, and
    /// `Box<serde_json::value::RawValue>` keeps its text. Whole twins are cheaper with
    /// [`query_twins`](Self::query_twins), which does not copy them.
    ///
    /// The pager is a stream of rows; [`into_pages`](azure_core::http::ItemIterator::into_pages) makes it one of pages.
    /// Nothing is sent before it is polled. Then the next page is asked for while you work on the one before, by a task
    /// that ends with the pager, and no further. Dropping the pager cancels the query. A lost connection or a hub that
    /// throttles is waited for as with every read. The pager ends after an error, and its `continuation()` still says
    /// where to resume; see [`QueryToken`](crate::QueryToken).
    ///
    /// # Errors
    ///
    /// At once if the text is empty or longer than 8192 characters, or the token in the options belongs to another
    /// text. From the stream: [`HubErrorCode::ArgumentInvalid`](iothub_core::HubErrorCode::ArgumentInvalid) if the hub
    /// does not understand the query or no longer knows the token; an error of kind `DataConversion` if a row is not a
    /// `T`; and an error if the hub leads in a circle.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Site {
    ///     site: Option<String>,
    ///     lamps: u64,
    /// }
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let text = "SELECT tags.site AS site, COUNT() AS lamps FROM devices GROUP BY tags.site";
    /// let mut sites = registry.query::<Site>(text, None)?;
    /// while let Some(Site { site, lamps }) = sites.try_next().await? {
    ///     println!("{lamps} lamps at {}", site.as_deref().unwrap_or("no site"));
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "CreateQuery")]
    #[doc(alias = "IQuery")]
    #[doc(alias = "GetNextAsJsonAsync")]
    #[doc(alias = "GetNextAsDeviceJobAsync")]
    pub fn query<T>(&self, text: &str, options: Option<QueryOptions<'_>>) -> Result<Pager<QueryPage<T>>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let options = options.unwrap_or_default();
        self.paged_query(text, &options)?.pager(options.method_options)
    }

    /// Asks for twins: `SELECT * FROM devices`, or `FROM devices.modules`, with a condition or without.
    ///
    /// The pager goes about as that of [`query`](Self::query). The twins of a page are slices of one buffer, and what is
    /// in them is parsed when you look; see [`Twin`](iothub_core::models::Twin) for what keeping one costs.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query), and from the stream if the rows are no twins.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let mut hot = registry.query_twins("SELECT * FROM devices WHERE properties.reported.temperature > 80", None)?;
    /// while let Some(twin) = hot.try_next().await? {
    ///     println!("{} has {:?}", twin.device_id(), twin.reported().get::<f64>("temperature")?);
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "CreateQuery")]
    #[doc(alias = "GetNextAsTwinAsync")]
    #[doc(alias = "QueryTwins")]
    pub fn query_twins(&self, text: &str, options: Option<QueryOptions<'_>>) -> Result<Pager<TwinPage, TwinFormat>> {
        let options = options.unwrap_or_default();
        let query = self.paged_query(text, &options)?.with_item_type("Twin");
        query.pager(options.method_options)
    }

    /// Lists all devices, by their twins, however many there are.
    ///
    /// It is the query `SELECT * FROM devices`; the hub's older list ends with the thousandth device. Where ids are
    /// enough, `SELECT deviceId FROM devices` brings much less. A twin holds no keys: those are in the identity, which
    /// [`get_device`](Self::get_device) reads.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let mut devices = registry.list_devices(None)?;
    /// while let Some(device) = devices.try_next().await? {
    ///     println!("{} is {}", device.device_id(), device.status());
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetDevicesAsync")]
    pub fn list_devices(&self, options: Option<ListDevicesOptions<'_>>) -> Result<Pager<TwinPage, TwinFormat>> {
        self.query_twins("SELECT * FROM devices", options.map(QueryOptions::from))
    }

    fn paged_query(&self, text: &str, options: &QueryOptions<'_>) -> Result<PagedQuery> {
        let query = PagedQuery::new(&self.hub, text)?;
        Ok(query
            .with_page_size(options.page_size)
            .with_reading_ahead(!options.no_read_ahead))
    }
}

#[cfg(test)]
mod tests;

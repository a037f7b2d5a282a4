use azure_core::{fmt::SafeDebug, http::pager::PagerOptions};

/// Options for [`RegistryClient::query`](crate::RegistryClient::query) and
/// [`query_twins`](crate::RegistryClient::query_twins).
#[derive(Clone, Default, SafeDebug)]
pub struct QueryOptions<'a> {
    /// How many rows a page has at most. `None` leaves it to the hub, or to the token that a query is resumed with.
    pub page_size: Option<u32>,
    /// Asks for a page only when it is wanted. Without it, the next page is asked for while the application works on the
    /// one before. Set it where one page is read and the token kept, because each page counts against the hub's quota.
    pub no_read_ahead: bool,
    /// Customizes the calls, and says where to resume: see [`QueryToken`](crate::QueryToken). Limits hold for each
    /// page, not for all together.
    pub method_options: PagerOptions<'a>,
}

/// Options for [`RegistryClient::list_devices`](crate::RegistryClient::list_devices).
#[derive(Clone, Default, SafeDebug)]
pub struct ListDevicesOptions<'a> {
    /// As in [`QueryOptions`].
    pub page_size: Option<u32>,
    /// As in [`QueryOptions`].
    pub no_read_ahead: bool,
    /// As in [`QueryOptions`].
    pub method_options: PagerOptions<'a>,
}

impl<'a> From<ListDevicesOptions<'a>> for QueryOptions<'a> {
    fn from(options: ListDevicesOptions<'a>) -> Self {
        Self {
            page_size: options.page_size,
            no_read_ahead: options.no_read_ahead,
            method_options: options.method_options,
        }
    }
}

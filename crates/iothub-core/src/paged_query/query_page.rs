use std::fmt;

use async_trait::async_trait;
use azure_core::{Result, http::pager::Page};
use serde::Deserialize;

/// Some rows of a query, in one answer of the hub.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(transparent)]
#[non_exhaustive]
pub struct QueryPage<T> {
    /// The rows, in the hub's order.
    pub rows: Vec<T>,
}

#[async_trait]
impl<T: Send> Page for QueryPage<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    async fn into_items(self) -> Result<Self::IntoIter> {
        Ok(self.rows.into_iter())
    }
}

/// Only tells how many rows there are: what they hold belongs to the application.
impl<T> fmt::Debug for QueryPage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryPage")
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

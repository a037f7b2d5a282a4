use async_trait::async_trait;
use azure_core::{
    Error, Result,
    error::ErrorKind,
    http::{
        pager::Page,
        response::ResponseBody,
        {DeserializeWith, Format},
    },
};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{Twin, read};

/// Some twins in one answer of the hub, which share its text.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TwinPage {
    /// The twins, in the hub's order.
    pub twins: Vec<Twin>,
}

impl TwinPage {
    /// Reads a JSON array of twins. Bytes are not copied.
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if this is not an array of twins.
    pub fn from_json(json: impl Into<Bytes>) -> Result<Self> {
        read::twins(&json.into()).map(|twins| Self { twins })
    }
}

#[async_trait]
impl Page for TwinPage {
    type Item = Twin;
    type IntoIter = std::vec::IntoIter<Twin>;

    async fn into_items(self) -> Result<Self::IntoIter> {
        Ok(self.twins.into_iter())
    }
}

/// The format of answers that are twins: JSON, of which the twins stay slices instead of copies.
#[derive(Clone, Copy, Debug)]
pub enum TwinFormat {}

impl Format for TwinFormat {
    fn deserialize<T: DeserializeOwned, S: AsRef<[u8]>>(body: S) -> Result<T> {
        serde_json::from_slice(body.as_ref()).map_err(|error| Error::new(ErrorKind::DataConversion, error))
    }
}

impl DeserializeWith<TwinFormat> for Twin {
    fn deserialize_with(body: ResponseBody) -> Result<Self> {
        Self::from_json(body)
    }
}

impl DeserializeWith<TwinFormat> for TwinPage {
    fn deserialize_with(body: ResponseBody) -> Result<Self> {
        Self::from_json(body)
    }
}

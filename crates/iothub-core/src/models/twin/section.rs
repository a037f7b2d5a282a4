use std::fmt;

use azure_core::{Error, Result, error::ErrorKind};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    TwinMetadata,
    member::{OwnKeys, member},
};

/// The tags, desired or reported properties of a [`Twin`](super::Twin): JSON text, parsed where you ask for a part of it.
///
/// Each question reads through the section, so ask for a struct rather than for its fields one by one.
#[derive(Clone, Copy)]
pub struct TwinSection<'a> {
    text: &'a str,
    name: &'static str,
    device_id: &'a str,
}

impl<'a> TwinSection<'a> {
    pub(super) fn new(text: &'a str, name: &'static str, device_id: &'a str) -> Self {
        Self { text, name, device_id }
    }

    /// The part with this name, or `None` if there is none.
    ///
    /// A dot goes deeper, `fan.speed`; keys of a twin hold none.
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if the part is not a `T`.
    pub fn get<T: Deserialize<'a>>(&self, path: &str) -> Result<Option<T>> {
        match self.raw(path)? {
            Some(text) => serde_json::from_str(text)
                .map(Some)
                .map_err(|error| self.mismatch(path, error)),
            None => Ok(None),
        }
    }

    /// The JSON text of the part with this name, byte for byte as the hub has it. `None` if there is no such part.
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if the section is not JSON.
    pub fn raw(&self, path: &str) -> Result<Option<&'a str>> {
        let mut text = self.text;
        for name in path.split('.') {
            match member(text, name).map_err(|error| self.mismatch(path, error))? {
                Some(value) => text = value.get(),
                None => return Ok(None),
            }
        }
        Ok(Some(text))
    }

    /// The whole section as one value, `$metadata` and `$version` included if `T` has fields for them.
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if the section is not a `T`.
    pub fn parse<T: Deserialize<'a>>(&self) -> Result<T> {
        serde_json::from_str(self.text).map_err(|error| self.mismatch("", error))
    }

    /// The section as a tree of values, without `$metadata` and `$version`.
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if the section is not a JSON object.
    pub fn to_map(&self) -> Result<Map<String, Value>> {
        let mut map: Map<String, Value> = self.parse()?;
        map.retain(|name, _| !name.starts_with('$'));
        Ok(map)
    }

    /// How often the section has been written, `$version`. `None` for tags, which have none.
    pub fn version(&self) -> Option<i64> {
        self.get("$version").ok().flatten()
    }

    /// When each part was last written, `$metadata`. Empty for tags, which have none.
    ///
    /// # Errors
    ///
    /// Of kind `DataConversion` if the metadata is not what it should be.
    pub fn metadata(&self) -> Result<TwinMetadata> {
        Ok(self.get("$metadata")?.unwrap_or_default())
    }

    /// Whether nothing has been set.
    pub fn is_empty(&self) -> bool {
        self.parse::<OwnKeys>().is_ok_and(|OwnKeys(own)| own == 0)
    }

    /// The JSON text of the section as the hub wrote it, `$metadata` and `$version` included.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    fn mismatch(&self, path: &str, error: serde_json::Error) -> Error {
        let Self { name, device_id, .. } = self;
        let part = if path.is_empty() {
            String::new()
        } else {
            format!("`{path}` in ")
        };
        Error::with_error(
            ErrorKind::DataConversion,
            error,
            format!("{part}the {name} of `{device_id}` cannot be read so"),
        )
    }
}

/// Only tells which section it is: what it holds belongs to the application.
impl fmt::Debug for TwinSection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.text.len();
        f.debug_struct("TwinSection")
            .field("name", &self.name)
            .field("bytes", &bytes)
            .finish_non_exhaustive()
    }
}

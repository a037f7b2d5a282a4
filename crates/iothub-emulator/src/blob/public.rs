use std::{fmt, time::Duration};

use azure_core::error::ErrorKind;
use bytes::Bytes;
use iothub_core::{Error, Result};

use super::{account::Account, condition::Condition, container::Put, contents::Contents, door::check_container_name};

/// A container in the storage account of an emulator: for import and export jobs, and for tests to look into.
///
/// The account speaks as much of Azure Storage's REST interface as jobs and devices need: block blobs, whole or by
/// blocks, shared access signatures and bearer tokens. It is in memory and ends with the emulator.
#[derive(Clone)]
pub struct BlobContainer {
    account: Account,
    name: String,
}

impl BlobContainer {
    pub(crate) fn open(account: Account, name: &str) -> Result<Self> {
        check_container_name(name).map_err(|refusal| {
            Error::with_message_fn(ErrorKind::DataConversion, || {
                format!("{name:?} is not the name of a container: {}", refusal.message())
            })
        })?;
        account.ensure_container(name);
        Ok(Self {
            account,
            name: name.to_owned(),
        })
    }

    /// Its URI without a signature: for identity-based access.
    pub fn uri(&self) -> String {
        format!("{}/{}", self.account.endpoint(), self.name)
    }

    /// Its URI with a signature that allows everything that jobs do, for a day: read, create, write, delete and list.
    ///
    /// It is a secret.
    pub fn sas_uri(&self) -> String {
        self.sas_uri_with("rcwdl", Duration::from_secs(24 * 3600))
    }

    /// Its URI with a signature for `permissions`, letters such as `rl`, that holds for `lifetime` by the hub's clock.
    pub fn sas_uri_with(&self, permissions: &str, lifetime: Duration) -> String {
        let expires = self.account.now() + lifetime;
        let sas = self.account.sas(&self.name, None, permissions, expires);
        format!("{}?{sas}", self.uri())
    }

    /// What a blob holds. `None` if there is no such blob.
    pub fn read_blob(&self, name: &str) -> Option<Bytes> {
        let blob = self
            .account
            .read(&self.name, |blobs| Ok(blobs.get(name)?.contents.to_bytes()));
        blob.ok()
    }

    /// Writes a blob, whatever is there by that name.
    pub fn write_blob(&self, name: &str, contents: impl Into<Bytes>) {
        let put = Put {
            content_type: "application/octet-stream".to_owned(),
            condition: Condition::default(),
            may_overwrite: true,
        };
        let (contents, now) = (Contents::from(contents.into()), self.account.now());
        // The container is there, because containers are never deleted, and nothing else can be wrong.
        let _ = self
            .account
            .write(&self.name, |blobs| blobs.put(name, contents, put, now));
    }

    /// The names of all blobs, in their order.
    pub fn blobs(&self) -> Vec<String> {
        let names = self
            .account
            .read(&self.name, |blobs| Ok(blobs.blobs.keys().cloned().collect()));
        names.unwrap_or_default()
    }
}

impl fmt::Debug for BlobContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlobContainer").field(&self.uri()).finish()
    }
}

use std::future::ready;

use bytes::Bytes;
use futures::future::BoxFuture;
use iothub_core::HubErrorCode;
use time::OffsetDateTime;
use url::Url;

use super::{account::Account, condition::Condition, container::Put, contents::Contents};
use crate::hub::{
    Failure,
    uploads::{FilePlace, FileStore, StoredFile},
};

/// The container for the files that devices upload.
#[derive(Debug)]
pub(crate) struct DeviceFiles(Account);

impl DeviceFiles {
    /// Makes the container unless it is there.
    pub(crate) fn new(account: Account) -> Self {
        account.ensure_container(Self::CONTAINER);
        Self(account)
    }

    fn find(&self, blob: &str) -> Option<StoredFile> {
        let look = self.0.read(Self::CONTAINER, |blobs| {
            let stored = blobs.get(blob)?;
            Ok((stored.contents.len(), stored.version.modified))
        });
        let (size, modified) = look.ok()?;
        let mut uri = Url::parse(self.0.endpoint()).ok()?;
        let mut segments = uri.path_segments_mut().ok()?;
        segments.push(Self::CONTAINER).extend(blob.split('/'));
        drop(segments);
        Some(StoredFile {
            uri: uri.into(),
            size,
            modified,
        })
    }

    const CONTAINER: &str = "device-files";
}

impl FileStore for DeviceFiles {
    fn place(&self, blob: &str, expires: OffsetDateTime) -> FilePlace {
        let endpoint = self.0.endpoint();
        FilePlace {
            host: endpoint.strip_prefix("https://").unwrap_or(endpoint).to_owned(),
            container: Self::CONTAINER.to_owned(),
            sas_token: format!("?{}", self.0.sas(Self::CONTAINER, Some(blob), "rw", expires)),
        }
    }

    fn look_up<'a>(&'a self, blob: &'a str) -> BoxFuture<'a, Result<Option<StoredFile>, Failure>> {
        Box::pin(ready(Ok(self.find(blob))))
    }

    fn write(&self, blob: &str, contents: Bytes) -> Result<StoredFile, Failure> {
        let put = Put {
            content_type: "application/octet-stream".to_owned(),
            condition: Condition::default(),
            may_overwrite: true,
        };
        let (contents, now) = (Contents::from(contents), self.0.now());
        // The container is there, because containers are never deleted, and nothing else can be wrong.
        let _ = self
            .0
            .write(Self::CONTAINER, |blobs| blobs.put(blob, contents, put, now));
        self.find(blob)
            .ok_or_else(|| Failure::new(HubErrorCode::InvalidStorageEndpointOrBlob, "the file was not kept"))
    }
}

//! Files that devices upload: where they may write, and the notifications of what they wrote.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use iothub_core::{DeviceId, HubErrorCode};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    Event, Failure, Hub, changes::Changes, key::Key, options::ServiceQueueOptions, service_bound::ServiceBound,
    sku::Meter, timestamp,
};

/// Uploads under way, and notifications that wait for a service.
pub(crate) struct Uploads {
    under_way: Mutex<HashMap<Uuid, Upload>>,
    changes: Changes,
    pub(crate) notifications: ServiceBound<Arc<FileNotification>>,
}

#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) device: DeviceId,
    pub(crate) blob: String,
    pub(crate) expires: OffsetDateTime,
}

/// Keeps the files of devices.
pub(crate) trait FileStore: Send + Sync {
    /// Where a blob may be written until then.
    fn place(&self, blob: &str, expires: OffsetDateTime) -> FilePlace;

    /// The blob as it is now, if it is there.
    fn look_up<'a>(&'a self, blob: &'a str) -> BoxFuture<'a, Result<Option<StoredFile>, Failure>>;

    /// Writes a blob, as a device in this process does.
    fn write(&self, blob: &str, contents: Bytes) -> Result<StoredFile, Failure>;
}

/// What a device needs to write a blob. The token is a secret.
pub(crate) struct FilePlace {
    /// With what stands before the container in the path.
    pub(crate) host: String,
    pub(crate) container: String,
    /// A query with its question mark.
    pub(crate) sas_token: String,
}

/// A blob that was uploaded.
pub(crate) struct StoredFile {
    pub(crate) uri: String,
    pub(crate) size: u64,
    pub(crate) modified: OffsetDateTime,
}

/// An upload that a device has begun.
pub(crate) struct BegunUpload {
    pub(crate) correlation_id: Uuid,
    pub(crate) blob: String,
    pub(crate) place: FilePlace,
}

/// What became of an upload.
enum UploadEnd {
    /// The device says that it did not go well.
    Failed,
    /// The device says that it went well, and there is no blob.
    Missing,
    Stored(StoredFile),
}

/// What services hear of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FileNotification {
    device_id: String,
    blob_uri: String,
    blob_name: String,
    last_updated_time: String,
    blob_size_in_bytes: u64,
    enqueued_time_utc: String,
}

impl Uploads {
    pub(crate) fn new(options: &ServiceQueueOptions, changes: &Changes) -> Self {
        Self {
            under_way: Mutex::default(),
            changes: changes.clone(),
            notifications: ServiceBound::new(options, MAX_DELIVERIES, changes, Key::FileNotification),
        }
    }

    /// Forgets what is under way, and what no service has settled.
    pub(super) fn clear(&self) {
        let mut under_way = self.under_way();
        for (id, _) in under_way.drain() {
            self.changes.note(|| Key::Upload(id));
        }
        drop(under_way);
        self.notifications.clear();
    }

    /// The uploads under way, one of which is going to begin or end.
    pub(crate) fn change(&self, id: Uuid) -> MutexGuard<'_, HashMap<Uuid, Upload>> {
        let under_way = self.under_way();
        self.changes.note(|| Key::Upload(id));
        under_way
    }

    pub(crate) fn under_way(&self) -> MutexGuard<'_, HashMap<Uuid, Upload>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Lets a device write a blob, for an hour.
    pub(crate) fn begin_upload(&self, device: &DeviceId, name: &str) -> Result<BegunUpload, Failure> {
        if name.is_empty() || name.len() > MAX_NAME {
            let text = format!("blobName has 1 to {MAX_NAME} characters");
            return Err(Failure::argument(text));
        }
        let store = self.file_store()?;
        self.spend(Meter::FileUploads, 1)?;
        let now = self.clock().now();
        let upload = Upload {
            device: device.clone(),
            blob: format!("{device}/{name}"),
            expires: now + LIFETIME,
        };
        let (blob, expires) = (upload.blob.clone(), upload.expires);
        let correlation_id = Uuid::new_v4();
        {
            let mut under_way = self.uploads().change(correlation_id);
            under_way.retain(|id, upload| {
                let is_current = upload.expires > now;
                if !is_current {
                    self.uploads().changes.note(|| Key::Upload(*id));
                }
                is_current
            });
            let count = under_way.values().filter(|upload| upload.device == *device).count();
            if count >= MAX_UNDER_WAY {
                let text = format!("{device} already has {count} uploads under way");
                return Err(Failure::new(
                    HubErrorCode::DeviceMaximumActiveFileUploadLimitExceeded,
                    text,
                ));
            }
            under_way.insert(correlation_id, upload);
        }
        Ok(BegunUpload {
            correlation_id,
            place: store.place(&blob, expires),
            blob,
        })
    }

    /// Ends an upload; services are told if it went well.
    pub(crate) async fn end_upload(
        &self,
        device: &DeviceId,
        correlation_id: &str,
        went_well: bool,
    ) -> Result<(), Failure> {
        let blob = self.blob_of_upload(device, correlation_id)?;
        // Storage may be far away, so that it is asked while nothing is locked. Without an answer the upload goes on.
        let end = match went_well {
            false => UploadEnd::Failed,
            true => match self.file_store()?.look_up(&blob).await? {
                Some(file) => UploadEnd::Stored(file),
                None => UploadEnd::Missing,
            },
        };
        self.finish_upload(device, correlation_id, end)
    }

    fn blob_of_upload(&self, device: &DeviceId, correlation_id: &str) -> Result<String, Failure> {
        let id: Option<Uuid> = correlation_id.parse().ok();
        let under_way = self.uploads().under_way();
        id.and_then(|id| under_way.get(&id))
            .filter(|upload| upload.device == *device)
            .map(|upload| upload.blob.clone())
            .ok_or_else(|| unknown(device, correlation_id))
    }

    fn finish_upload(&self, device: &DeviceId, correlation_id: &str, end: UploadEnd) -> Result<(), Failure> {
        let unknown = || unknown(device, correlation_id);
        let id: Uuid = correlation_id.parse().map_err(|_| unknown())?;
        let now = self.clock().now();
        // Locked, so that the end of the upload is stored together with the news of it.
        let _together = self.registry_mut();
        let upload = {
            let mut under_way = self.uploads().change(id);
            if under_way.get(&id).is_none_or(|upload| upload.device != *device) {
                return Err(unknown());
            }
            under_way.remove(&id).ok_or_else(unknown)?
        };
        if upload.expires <= now {
            let text = format!("the upload {correlation_id} took longer than an hour");
            return Err(Failure::new(HubErrorCode::ExpiredFileUploadCorrelationId, text));
        }
        let file = match end {
            UploadEnd::Failed => return Ok(()),
            UploadEnd::Stored(file) => file,
            UploadEnd::Missing => {
                let text = format!(
                    "there is no blob {}, and the upload is said to have gone well",
                    upload.blob
                );
                return Err(Failure::new(HubErrorCode::InvalidStorageEndpointOrBlob, text));
            }
        };
        self.journal().record(Event::FileUploaded {
            device: device.to_string(),
            blob: upload.blob.clone(),
        });
        let notification = FileNotification {
            device_id: device.to_string(),
            blob_uri: file.uri,
            blob_name: upload.blob,
            last_updated_time: timestamp::text(file.modified),
            blob_size_in_bytes: file.size,
            enqueued_time_utc: timestamp::text(now),
        };
        self.uploads().notifications.push(self, Arc::new(notification));
        Ok(())
    }

    /// Uploads a file as a device in this process does.
    pub(crate) fn upload(&self, device: &DeviceId, name: &str, contents: Bytes) -> Result<(), Failure> {
        let begun = self.begin_upload(device, name)?;
        let id = begun.correlation_id.to_string();
        match self.file_store()?.write(&begun.blob, contents) {
            Ok(file) => self.finish_upload(device, &id, UploadEnd::Stored(file)),
            Err(failure) => {
                self.finish_upload(device, &id, UploadEnd::Failed)?;
                Err(failure)
            }
        }
    }

    fn file_store(&self) -> Result<&dyn FileStore, Failure> {
        self.stored_files().ok_or_else(|| {
            let text = "no storage account is configured for uploads";
            Failure::new(HubErrorCode::DefaultStorageEndpointNotConfigured, text)
        })
    }
}

fn unknown(device: &DeviceId, correlation_id: &str) -> Failure {
    let text = format!("{device} has no upload with the correlation id {correlation_id:?}");
    Failure::new(HubErrorCode::InvalidFileUploadCorrelationId, text)
}

/// How many uploads a device may have under way, and for how long: the published limit and default.
const MAX_UNDER_WAY: usize = 10;
const LIFETIME: Duration = Duration::hours(1);

/// What is left of the limit of a blob's name after the id of a device.
const MAX_NAME: usize = 1024 - 129;

/// The default of a hub.
const MAX_DELIVERIES: u8 = 100;

use iothub_core::DeviceId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::moment::Moment;
use crate::hub::{Failure, Hub, uploads::Upload};

/// An upload that a device has begun and not ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UploadRecord {
    correlation_id: Uuid,
    device_id: Box<str>,
    blob: String,
    expiry_time: Moment,
}

impl UploadRecord {
    pub(super) fn of(hub: &Hub, id: Uuid) -> Option<Self> {
        let Upload { device, blob, expires } = hub.uploads().under_way().get(&id)?.clone();
        Some(Self {
            correlation_id: id,
            device_id: device.as_str().into(),
            blob,
            expiry_time: Moment(expires),
        })
    }

    pub(super) fn restore(self, hub: &Hub) -> Result<(), Failure> {
        let device: Result<DeviceId, _> = self.device_id.parse();
        let upload = Upload {
            device: device.map_err(|error| Failure::argument(error.to_string()))?,
            blob: self.blob,
            expires: self.expiry_time.0,
        };
        hub.uploads()
            .change(self.correlation_id)
            .insert(self.correlation_id, upload);
        Ok(())
    }
}

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error, ser::SerializeMap};
use serde_json::Value;

use super::{DirectMethodRequest, JobType, TwinPatch};

/// What a scheduled job does with each device.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ScheduledJobKind {
    /// Invokes a direct method. Devices that are not connected fail.
    #[doc(alias = "scheduleDeviceMethod")]
    InvokeMethod(DirectMethodRequest),
    /// Merges a patch into the twin. Devices need not be connected.
    #[doc(alias = "scheduleUpdateTwin")]
    UpdateTwin(TwinPatch),
    /// Something else, a job whose details the hub left out, or one that it does not know.
    Other(JobType),
}

impl From<DirectMethodRequest> for ScheduledJobKind {
    fn from(method: DirectMethodRequest) -> Self {
        Self::InvokeMethod(method)
    }
}

impl From<TwinPatch> for ScheduledJobKind {
    fn from(patch: TwinPatch) -> Self {
        Self::UpdateTwin(patch)
    }
}

impl Serialize for ScheduledJobKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::InvokeMethod(method) => {
                map.serialize_entry("type", &JobType::ScheduleDeviceMethod)?;
                map.serialize_entry("cloudToDeviceMethod", method)?;
            }
            Self::UpdateTwin(patch) => {
                map.serialize_entry("type", &JobType::ScheduleUpdateTwin)?;
                map.serialize_entry("updateTwin", &AnyVersion { etag: "*", patch })?;
            }
            Self::Other(kind) => map.serialize_entry("type", kind)?,
        }
        map.end()
    }
}

/// A job does not know which version of a twin it will meet; the hub wants to be told that this is meant.
#[derive(Serialize)]
struct AnyVersion<'a> {
    etag: &'a str,
    #[serde(flatten)]
    patch: &'a TwinPatch,
}

impl<'de> Deserialize<'de> for ScheduledJobKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Members {
            // Some answers have the one name, some the other.
            #[serde(rename = "type", alias = "jobType")]
            kind: Option<JobType>,
            // As the text that its payload is, it could not be read out of a flattened member.
            cloud_to_device_method: Option<Value>,
            update_twin: Option<TwinPatch>,
        }

        // An answer that leaves out the details still says which job it is about.
        let members = Members::deserialize(deserializer)?;
        let method = members.cloud_to_device_method.map(serde_json::from_value).transpose();
        Ok(
            match (
                members.kind.unwrap_or_default(),
                method.map_err(D::Error::custom)?,
                members.update_twin,
            ) {
                (JobType::ScheduleDeviceMethod, Some(method), _) => Self::InvokeMethod(method),
                (JobType::ScheduleUpdateTwin, _, Some(patch)) => Self::UpdateTwin(patch),
                (kind, ..) => Self::Other(kind),
            },
        )
    }
}

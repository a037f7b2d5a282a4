use ::bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{bytes, count, moment, moment::Moment};
use crate::hub::{
    D2cMessage, Failure, Hub, Target,
    authentication::Authentication,
    telemetry::{Extent, TelemetryEvent},
};

/// What a partition of the built-in endpoint counts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PartitionRecord {
    partition: usize,
    #[serde(deserialize_with = "count::read")]
    first_sequence_number: u64,
    #[serde(deserialize_with = "count::read")]
    next_sequence_number: u64,
    #[serde(deserialize_with = "count::read")]
    next_offset: u64,
}

/// A message from a device.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EventRecord {
    partition: usize,
    #[serde(deserialize_with = "count::read")]
    sequence_number: u64,
    #[serde(deserialize_with = "count::read")]
    offset: u64,
    enqueued_time: Moment,
    device_id: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    module_id: Option<Box<str>>,
    generation_id: String,
    authentication: String,
    #[serde(with = "D2cRecord")]
    message: D2cMessage,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "D2cMessage", rename_all = "camelCase", deny_unknown_fields)]
struct D2cRecord {
    #[serde(with = "bytes")]
    body: Bytes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "bytes::option")]
    user_id: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "moment::option")]
    expiry: Option<OffsetDateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    creation_time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_schema: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    /// In the order they came, in which a name may come twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    properties: Vec<(String, String)>,
}

impl PartitionRecord {
    pub(super) fn of(hub: &Hub, partition: usize) -> Option<Self> {
        let extent = hub.telemetry().extent(partition)?;
        Some(Self {
            partition,
            first_sequence_number: extent.first_sequence,
            next_sequence_number: extent.next_sequence,
            next_offset: extent.next_offset,
        })
    }

    pub(super) fn restore(self, hub: &Hub) {
        let extent = Extent {
            first_sequence: self.first_sequence_number,
            next_sequence: self.next_sequence_number,
            next_offset: self.next_offset,
        };
        hub.telemetry().restore_extent(self.partition, extent);
    }
}

impl EventRecord {
    pub(super) fn of(hub: &Hub, partition: usize, sequence: u64) -> Option<Self> {
        // Taken apart, so that nothing can be added to an event and forgotten here.
        let TelemetryEvent {
            message,
            source,
            generation_id,
            authentication,
            partition,
            sequence_number,
            offset,
            enqueued_time,
        } = (*hub.telemetry().event(partition, sequence)?).clone();
        Some(Self {
            partition,
            sequence_number,
            offset,
            enqueued_time: Moment(enqueued_time),
            device_id: source.device().into(),
            module_id: source.module().map(Into::into),
            generation_id,
            authentication: authentication.to_owned(),
            message,
        })
    }

    pub(super) fn restore(self, hub: &Hub) -> Result<(), Failure> {
        let authentication = Authentication::kind_named(&self.authentication).ok_or_else(|| {
            let text = format!(
                "authentication is {:?}, and has to be sas, selfSigned, certificateAuthority or none",
                self.authentication
            );
            Failure::argument(text)
        })?;
        hub.telemetry().restore_event(TelemetryEvent {
            message: self.message,
            source: Target::parse(&self.device_id, self.module_id.as_deref())?,
            generation_id: self.generation_id,
            authentication,
            partition: self.partition,
            sequence_number: self.sequence_number,
            offset: self.offset,
            enqueued_time: self.enqueued_time.0,
        })
    }
}

use std::sync::Arc;

use ::bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    bytes, count,
    moment::{self, Moment},
    target,
};
use crate::hub::{
    Ack, C2dMessage, Failure, Hub, Target, key::Key, lock_queue::Waiting, queue::Queue, registry::Registry,
};

/// How many messages a device or module was ever sent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct QueueRecord {
    device_id: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    module_id: Option<Box<str>>,
    #[serde(deserialize_with = "count::read")]
    last_sequence_number: u64,
}

/// A message that waits for a device or module, or that it holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MessageRecord {
    device_id: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    module_id: Option<Box<str>>,
    #[serde(deserialize_with = "count::read")]
    sequence_number: u64,
    enqueued_time: Moment,
    expiry_time: Moment,
    #[serde(default)]
    delivery_count: u8,
    #[serde(with = "C2dRecord")]
    message: C2dMessage,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "C2dMessage", rename_all = "camelCase", deny_unknown_fields)]
struct C2dRecord {
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
    #[serde(default, with = "AckRecord")]
    ack: Ack,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    creation_time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_schema: Option<String>,
    /// In the order they came, in which a name may come twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    properties: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Ack", rename_all = "camelCase")]
enum AckRecord {
    None,
    Positive,
    Negative,
    Full,
}

impl QueueRecord {
    pub(super) fn of(registry: &Registry, device: &str, module: &str) -> Option<Self> {
        let (module_id, queue) = queue(registry, device, module)?;
        Some(Self {
            device_id: device.into(),
            module_id,
            last_sequence_number: queue.last_sequence(),
        })
    }

    pub(super) fn restore(self, hub: &Hub) -> Result<(), Failure> {
        let target = Target::parse(&self.device_id, self.module_id.as_deref())?;
        let mut registry = hub.registry_mut();
        registry.queue(&target)?.count_on(self.last_sequence_number);
        hub.changes().note(|| Key::queue(&target));
        Ok(())
    }
}

impl MessageRecord {
    pub(super) fn of(registry: &Registry, device: &str, module: &str, sequence: u64) -> Option<Self> {
        let (module_id, queue) = queue(registry, device, module)?;
        let Waiting {
            message,
            sequence,
            enqueued,
            expires,
            deliveries,
        } = queue.waiting(sequence)?;
        Some(Self {
            device_id: device.into(),
            module_id,
            sequence_number: sequence,
            enqueued_time: Moment(enqueued),
            expiry_time: Moment(expires),
            delivery_count: deliveries,
            message: (*message).clone(),
        })
    }

    pub(super) fn restore(self, hub: &Hub) -> Result<(), Failure> {
        let target = Target::parse(&self.device_id, self.module_id.as_deref())?;
        let (sequence, expires) = (self.sequence_number, self.expiry_time.0);
        let check = {
            let mut registry = hub.registry_mut();
            let queue = registry.queue(&target)?;
            queue.restore(Waiting {
                message: Arc::new(self.message),
                sequence,
                enqueued: self.enqueued_time.0,
                expires,
                deliveries: self.delivery_count,
            });
            let check = queue.watch(Some(expires));
            registry.note_message(&target, sequence);
            check
        };
        hub.check_messages_at(check, &target);
        Ok(())
    }
}

/// The queue of a device, or of a module if `module` is not empty.
fn queue<'a>(registry: &'a Registry, device: &str, module: &str) -> Option<(Option<Box<str>>, &'a Queue)> {
    let target = target(device, module).ok()?;
    let queue = registry.identity(&target).ok()?.queue.as_deref()?;
    Some((target.module().map(Into::into), queue))
}

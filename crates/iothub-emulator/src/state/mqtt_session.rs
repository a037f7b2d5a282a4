use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use super::target;
use crate::hub::{
    Failure, Hub, Target,
    registry::Registry,
    stored_sessions::{Confirmation, MOST_UNCONFIRMED, StoredSession, Subscriptions},
};

/// What a device or module has subscribed to over MQTT, and wants to find again when it connects.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MqttSessionRecord {
    device_id: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    module_id: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    messages: Option<Quality>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    methods: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    twin_answers: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    desired: bool,
    #[serde(default)]
    last_packet_id: u16,
    /// The oldest first.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    unconfirmed: Box<[UnconfirmedRecord]>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Quality {
    AtMostOnce,
    AtLeastOnce,
}

/// A message that was sent and not confirmed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UnconfirmedRecord {
    packet_id: NonZeroU16,
    sequence_number: u64,
}

impl MqttSessionRecord {
    pub(super) fn of(registry: &Registry, device: &str, module: &str) -> Option<Self> {
        let target = target(device, module).ok()?;
        let stored = registry.identity(&target).ok()?.stored_session.as_ref()?.lock();
        // Taken apart, so that nothing can be added to it and forgotten here.
        let Subscriptions {
            messages,
            methods,
            twin_answers,
            desired,
            unconfirmed,
            last_number,
        } = &*stored;
        let unconfirmed = unconfirmed.iter().filter_map(|(number, sequence)| {
            Some(UnconfirmedRecord {
                packet_id: NonZeroU16::new(*number)?,
                sequence_number: *sequence,
            })
        });
        Some(Self {
            device_id: device.into(),
            module_id: target.module().map(Into::into),
            messages: messages.map(|confirmation| match confirmation {
                Confirmation::Never => Quality::AtMostOnce,
                Confirmation::Always => Quality::AtLeastOnce,
            }),
            methods: *methods,
            twin_answers: *twin_answers,
            desired: *desired,
            last_packet_id: *last_number,
            unconfirmed: unconfirmed.collect(),
        })
    }

    pub(super) fn restore(self, hub: &Hub) -> Result<(), Failure> {
        let target = Target::parse(&self.device_id, self.module_id.as_deref())?;
        if self.unconfirmed.len() > MOST_UNCONFIRMED {
            let text = format!("a session has at most {MOST_UNCONFIRMED} messages that are not confirmed");
            return Err(Failure::argument(text));
        }
        let unconfirmed = self.unconfirmed.iter();
        let subscriptions = Subscriptions {
            messages: self.messages.map(|quality| match quality {
                Quality::AtMostOnce => Confirmation::Never,
                Quality::AtLeastOnce => Confirmation::Always,
            }),
            methods: self.methods,
            twin_answers: self.twin_answers,
            desired: self.desired,
            unconfirmed: unconfirmed
                .map(|record| (record.packet_id.get(), record.sequence_number))
                .collect(),
            last_number: self.last_packet_id,
        };
        let mut registry = hub.registry_mut();
        let identity = registry.identity_unnoted(&target)?;
        identity.stored_session = Some(StoredSession::kept(hub.changes(), &target, subscriptions));
        Ok(())
    }
}

use std::sync::RwLockReadGuard;

use super::{
    Configurations, Hub,
    key::Key,
    registry::{Identity, Registry},
};

/// The hub at one moment. As long as this lives, nothing changes that makes sense only together.
pub(crate) struct Still<'a> {
    pub(crate) configurations: RwLockReadGuard<'a, Configurations>,
    pub(crate) registry: RwLockReadGuard<'a, Registry>,
}

impl Hub {
    pub(crate) fn hold_still(&self) -> Still<'_> {
        Still {
            configurations: self.configurations(),
            registry: self.registry(),
        }
    }

    /// The keys of everything that the hub keeps.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let still = self.hold_still();
        let mut keys = vec![Key::Hub, Key::OpenFeedback];
        for (id, device) in &still.registry.devices {
            keys.push(Key::Device(id.clone()));
            keys_of_belongings(id, "", &device.identity, &mut keys);
            for (name, module) in &device.modules {
                keys.push(Key::Module(id.clone(), name.clone()));
                keys_of_belongings(id, name, &module.identity, &mut keys);
            }
        }
        keys.extend(self.feedback().batches.messages().sequences().map(Key::FeedbackBatch));
        keys.extend(self.uploads().under_way().keys().copied().map(Key::Upload));
        let notifications = self.uploads().notifications.messages();
        keys.extend(notifications.sequences().map(Key::FileNotification));
        keys.extend(still.configurations.ids().map(|id| Key::Configuration(id.into())));
        keys.extend(self.transfers().ids().into_iter().map(|id| Key::Transfer(id.into())));
        keys.extend(self.scheduled_jobs().ids().into_iter().map(Key::ScheduledJob));
        let used = |partition: &usize| {
            let extent = self.telemetry().extent(*partition);
            extent.is_some_and(|extent| extent.next_sequence > 0)
        };
        keys.extend((0..self.telemetry().len()).filter(used).map(Key::Partition));
        let events = self.telemetry().events();
        keys.extend(
            events
                .iter()
                .map(|event| Key::Event(event.partition, event.sequence_number)),
        );
        keys
    }
}

fn keys_of_belongings(device: &str, module: &str, identity: &Identity, keys: &mut Vec<Key>) {
    if identity.stored_session.is_some() {
        keys.push(Key::MqttSession(device.into(), module.into()));
    }
    let Some(queue) = identity.queue.as_deref().filter(|queue| queue.last_sequence() > 0) else {
        return;
    };
    keys.push(Key::Queue(device.into(), module.into()));
    let messages = queue.sequences();
    keys.extend(messages.map(|sequence| Key::Message(device.into(), module.into(), sequence)));
}

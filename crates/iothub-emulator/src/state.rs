//! What a hub keeps, as records: to be stored and read back, exported, compared, and written by hand.

mod bytes;
pub(crate) mod count;
mod event;
mod hub_record;
mod identity;
mod message;
mod moment;
mod mqtt_session;
mod section;
mod service_bound;
mod storage;
mod transfer;
mod upload;

use serde::{Deserialize, Serialize};

use self::{
    event::{EventRecord, PartitionRecord},
    hub_record::HubRecord,
    identity::IdentityRecord,
    message::{MessageRecord, QueueRecord},
    mqtt_session::MqttSessionRecord,
    service_bound::{FeedbackBatchRecord, FileNotificationRecord, OpenFeedbackRecord},
    storage::{BlobRecord, BlockRecord, ContainerRecord, StorageRecord},
    transfer::TransferRecord,
    upload::UploadRecord,
};
pub(crate) use self::{hub_record::check_format, moment::Moment};
use crate::{
    blob::Containers,
    hub::{ConfigurationRecord, Failure, Hub, HubOptions, Still, Target, key::Key, scheduled_jobs::ScheduledJobRecord},
};

/// Everything that is kept: a hub, and the blobs of its storage account. Clones are handles to the same.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) hub: Hub,
    pub(crate) containers: Containers,
}

/// One thing that is kept: a line of a state file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Record {
    Hub(HubRecord),
    Device(Box<IdentityRecord>),
    Module(Box<IdentityRecord>),
    Queue(QueueRecord),
    Message(Box<MessageRecord>),
    MqttSession(MqttSessionRecord),
    OpenFeedback(OpenFeedbackRecord),
    FeedbackBatch(FeedbackBatchRecord),
    Upload(UploadRecord),
    FileNotification(FileNotificationRecord),
    Configuration(Box<ConfigurationRecord>),
    Transfer(TransferRecord),
    ScheduledJob(ScheduledJobRecord),
    Partition(PartitionRecord),
    Event(Box<EventRecord>),
    Storage(StorageRecord),
    Container(ContainerRecord),
    Block(BlockRecord),
    Blob(BlobRecord),
    /// It is gone, whatever an earlier line says.
    Deleted(Key),
}

impl State {
    /// What a new hub without devices keeps, to read a state into that nobody uses meanwhile.
    pub(crate) fn empty() -> Result<Self, Failure> {
        let mut options = HubOptions::default();
        // As many as any hub has; those that nothing was ever sent to are not exported.
        options.events.partitions = MOST_PARTITIONS;
        let hub = Hub::with_options(vec!["localhost".to_owned()], Vec::new(), options);
        let containers = Containers::new(hub.changes())?;
        Ok(Self { hub, containers })
    }

    /// Brings all twins in line with the configurations, after things were put back one by one.
    pub(crate) fn settle(&self) {
        if self.hub.configurations().ids().next().is_some() {
            self.hub.configure_all();
        }
    }

    /// What a key names, as it is now. `None` if it is not there any more.
    pub(crate) fn record(&self, still: &Still<'_>, key: &Key) -> Option<Record> {
        let (hub, registry, containers) = (&self.hub, &*still.registry, &self.containers);
        let identity = |device: &str, module: Option<&str>| {
            let target = Target::parse(device, module).ok()?;
            IdentityRecord::of(registry, &target).map(Box::new)
        };
        Some(match key {
            Key::Hub => Record::Hub(HubRecord::of(hub, still)),
            Key::Device(id) => Record::Device(identity(id, None)?),
            Key::Module(device, id) => Record::Module(identity(device, Some(id))?),
            Key::Queue(device, module) => Record::Queue(QueueRecord::of(registry, device, module)?),
            Key::Message(device, module, sequence) => {
                Record::Message(Box::new(MessageRecord::of(registry, device, module, *sequence)?))
            }
            Key::MqttSession(device, module) => Record::MqttSession(MqttSessionRecord::of(registry, device, module)?),
            Key::OpenFeedback => Record::OpenFeedback(OpenFeedbackRecord::of(hub)?),
            Key::FeedbackBatch(number) => Record::FeedbackBatch(FeedbackBatchRecord::of_batch(hub, *number)?),
            Key::Upload(id) => Record::Upload(UploadRecord::of(hub, *id)?),
            Key::FileNotification(number) => Record::FileNotification(FileNotificationRecord::of_file(hub, *number)?),
            Key::Configuration(id) => {
                Record::Configuration(Box::new(ConfigurationRecord::of(&still.configurations, id)?))
            }
            Key::Transfer(id) => Record::Transfer(TransferRecord::of(hub, id)?),
            Key::ScheduledJob(id) => Record::ScheduledJob(ScheduledJobRecord::of(hub, id)?),
            Key::Partition(number) => Record::Partition(PartitionRecord::of(hub, *number)?),
            Key::Event(partition, sequence) => Record::Event(Box::new(EventRecord::of(hub, *partition, *sequence)?)),
            Key::Storage => Record::Storage(StorageRecord::of(containers)),
            Key::Container(name) => Record::Container(ContainerRecord::of(containers, name)?),
            Key::Block(container, blob, number) => {
                Record::Block(BlockRecord::of(containers, container, blob, *number)?)
            }
            Key::Blob(container, name) => Record::Blob(BlobRecord::of(containers, container, name)?),
        })
    }

    /// Puts a thing where it was, in the place of what is there by its name.
    ///
    /// # Errors
    ///
    /// It is not what a hub could have kept, or it belongs to something that is not there.
    pub(crate) fn restore(&self, record: Record) -> Result<(), Failure> {
        let (hub, containers, now) = (&self.hub, &self.containers, self.hub.clock().now());
        match record {
            Record::Hub(counts) => counts.restore(hub)?,
            Record::Device(device) => device.restore_device(&mut hub.registry_mut(), now)?,
            Record::Module(module) => module.restore_module(&mut hub.registry_mut(), now)?,
            Record::Queue(queue) => queue.restore(hub)?,
            Record::Message(message) => message.restore(hub)?,
            Record::MqttSession(session) => session.restore(hub)?,
            Record::OpenFeedback(open) => open.restore(hub),
            Record::FeedbackBatch(batch) => batch.restore(hub),
            Record::Upload(upload) => upload.restore(hub)?,
            Record::FileNotification(notification) => notification.restore(hub),
            Record::Configuration(configuration) => configuration.restore(&mut hub.configurations_mut(), now)?,
            Record::Transfer(job) => job.restore(hub, now),
            Record::ScheduledJob(job) => job.restore(hub, now)?,
            Record::Partition(partition) => partition.restore(hub),
            Record::Event(event) => event.restore(hub)?,
            Record::Storage(storage) => storage.restore(containers)?,
            Record::Container(container) => container.restore(containers, now)?,
            Record::Block(block) => block.restore(containers)?,
            Record::Blob(blob) => blob.restore(containers, now)?,
            Record::Deleted(key) => self.forget(&key),
        }
        Ok(())
    }

    /// Takes away what a key names, if it is there.
    fn forget(&self, key: &Key) {
        let (hub, containers) = (&self.hub, &self.containers);
        match key {
            // These are never gone.
            Key::Hub | Key::Partition(_) | Key::Storage => {}
            Key::Device(id) => drop(hub.registry_mut().remove_device(id)),
            Key::Module(device, id) => drop(hub.registry_mut().remove_module(device, id)),
            // It goes with the one it belongs to.
            Key::Queue(..) => {}
            Key::Message(device, module, sequence) => {
                if let Ok(target) = target(device, module)
                    && let Ok(queue) = hub.registry_mut().queue(&target)
                {
                    queue.forget(*sequence);
                }
            }
            Key::MqttSession(device, module) => {
                if let Ok(target) = target(device, module)
                    && let Ok(identity) = hub.registry_mut().identity_unnoted(&target)
                {
                    identity.stored_session = None;
                }
            }
            Key::OpenFeedback => hub.forget_open_feedback(),
            Key::FeedbackBatch(number) => hub.feedback().batches.forget(*number),
            Key::Upload(id) => drop(hub.uploads().change(*id).remove(id)),
            Key::FileNotification(number) => hub.uploads().notifications.forget(*number),
            Key::Configuration(id) => hub.configurations_mut().remove(id),
            Key::Transfer(id) => hub.transfers().forget(id),
            Key::ScheduledJob(id) => hub.scheduled_jobs().forget(id),
            // Partitions forget by themselves.
            Key::Event(..) => {}
            Key::Container(name) => containers.forget(name),
            Key::Block(container, blob, number) => {
                containers.change(container, |blobs| blobs.forget_block(blob, *number));
            }
            Key::Blob(container, name) => containers.change(container, |blobs| blobs.forget(name)),
        }
    }

    /// The keys of everything that is kept, in their order.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys = self.hub.keys();
        keys.extend(self.containers.keys());
        keys.sort_unstable();
        keys
    }
}

/// A device, or a module if `module` is not empty.
fn target(device: &str, module: &str) -> Result<Target, Failure> {
    Target::parse(device, Some(module).filter(|module| !module.is_empty()))
}

/// The most partitions of a built-in endpoint.
const MOST_PARTITIONS: usize = 128;

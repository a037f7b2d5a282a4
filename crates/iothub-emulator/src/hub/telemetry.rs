//! Messages from devices, kept for those who read the built-in endpoint.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use iothub_core::HubErrorCode;
use time::{Duration, OffsetDateTime};
use tokio::sync::{Notify, futures::Notified};

use super::{D2cMessage, Event, Failure, Hub, Target, changes::Changes, key::Key};

/// A message from a device, and what the hub adds to it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TelemetryEvent {
    /// What the device sent.
    pub message: D2cMessage,
    /// Who sent it.
    pub source: Target,
    /// The generation of the identity that sent it.
    pub generation_id: String,
    /// How the sender showed who it is: `sas`, `selfSigned`, `certificateAuthority` or `none`.
    pub authentication: &'static str,
    /// The partition it is kept in; all messages of a device are in the same.
    pub partition: usize,
    /// Its place in the partition, from 0.
    pub sequence_number: u64,
    /// Where it begins in the partition, in bytes.
    pub offset: u64,
    /// When the hub accepted it.
    pub enqueued_time: OffsetDateTime,
}

/// The partitions of the built-in endpoint.
pub(crate) struct Telemetry {
    partitions: Box<[Mutex<Partition>]>,
    /// A message has come, to any of them.
    arrived: Notify,
    changes: Changes,
}

#[derive(Default)]
struct Partition {
    events: VecDeque<Arc<TelemetryEvent>>,
    next_sequence: u64,
    next_offset: u64,
}

/// What a partition holds.
#[derive(Clone, Debug)]
pub(crate) struct PartitionState {
    /// The first message that is still there, or the next if there is none.
    pub(crate) first_sequence: u64,
    pub(crate) next_sequence: u64,
    pub(crate) last: Option<Arc<TelemetryEvent>>,
}

/// What a partition counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// The first message that is still there, or the next if there is none.
    pub(crate) first_sequence: u64,
    pub(crate) next_sequence: u64,
    pub(crate) next_offset: u64,
}

impl Hub {
    /// Keeps a message of a device for those who read them.
    pub(crate) fn receive_telemetry(&self, source: &Target, message: D2cMessage) -> Result<(), Failure> {
        self.receive_batch(source, vec![message])
    }

    /// Keeps messages of a device for those who read them, all of them or none.
    ///
    /// # Errors
    ///
    /// There is no such device, it is disabled, or the messages together are larger than one may be.
    pub(crate) fn receive_batch(&self, source: &Target, messages: Vec<D2cMessage>) -> Result<(), Failure> {
        let size: usize = messages.iter().map(D2cMessage::size).sum();
        if size > MAX_SIZE {
            let text = format!("device-to-cloud messages sent at once have at most {MAX_SIZE} bytes, these {size}");
            return Err(Failure::new(HubErrorCode::MessageTooLarge, text));
        }
        let (generation, authentication) = {
            let registry = self.registry();
            registry.must_be_enabled(source)?;
            let identity = registry.identity(source)?;
            (identity.generation, identity.authentication.kind())
        };
        self.spend_message(size)?;
        let messages = self.inject(source, messages)?;
        let now = self.clock().now();
        let partition = partition_of(source.device(), self.telemetry().len());
        let count = messages.len();
        let first = {
            let mut kept = self.telemetry().lock(partition);
            let first = kept.next_sequence;
            self.telemetry().note(partition, (first..).take(count));
            for message in messages {
                let (sequence_number, offset) = (kept.next_sequence, kept.next_offset);
                kept.next_sequence += 1;
                kept.next_offset += message.size() as u64;
                kept.make_room(now);
                kept.events.push_back(Arc::new(TelemetryEvent {
                    message,
                    source: source.clone(),
                    generation_id: generation.to_string(),
                    authentication,
                    partition,
                    sequence_number,
                    offset,
                    enqueued_time: now,
                }));
            }
            first
        };
        self.telemetry().arrived.notify_waiters();
        for sequence_number in (first..).take(count) {
            self.journal().record(Event::Telemetry {
                source: source.clone(),
                partition,
                sequence_number,
            });
        }
        Ok(())
    }
}

impl Telemetry {
    pub(crate) fn new(partitions: usize, changes: Changes) -> Self {
        Self {
            partitions: (0..partitions).map(|_| Mutex::default()).collect(),
            arrived: Notify::new(),
            changes,
        }
    }

    /// How many partitions there are.
    pub(crate) fn len(&self) -> usize {
        self.partitions.len()
    }

    /// The first message with this number or a higher one that is like this, in an existing partition.
    pub(super) fn first_from(
        &self,
        partition: usize,
        sequence: u64,
        is_like: impl Fn(&TelemetryEvent) -> bool,
    ) -> Option<Arc<TelemetryEvent>> {
        let kept = self.lock(partition);
        let first = kept.events.partition_point(|event| event.sequence_number < sequence);
        kept.events.range(first..).find(|event| is_like(event)).cloned()
    }

    /// Returns when the next message comes. Whichever did while the future was enabled is not missed.
    pub(super) fn arrival(&self) -> Notified<'_> {
        self.arrived.notified()
    }

    /// What an existing partition holds.
    pub(crate) fn state(&self, partition: usize) -> PartitionState {
        let kept = self.lock(partition);
        let first = kept.events.front().map(|event| event.sequence_number);
        PartitionState {
            first_sequence: first.unwrap_or(kept.next_sequence),
            next_sequence: kept.next_sequence,
            last: kept.events.back().cloned(),
        }
    }

    /// What a partition counts. `None` if there is no such partition.
    pub(crate) fn extent(&self, partition: usize) -> Option<Extent> {
        let kept = self.partitions.get(partition)?;
        Some(kept.lock().unwrap_or_else(PoisonError::into_inner).extent())
    }

    /// The message with a number, if it is still there.
    pub(crate) fn event(&self, partition: usize, sequence: u64) -> Option<Arc<TelemetryEvent>> {
        let kept = self.partitions.get(partition)?;
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept
            .events
            .binary_search_by_key(&sequence, |event| event.sequence_number);
        kept.events.get(at.ok()?).cloned()
    }

    /// Counts on from where a partition was, and forgets what was gone by then.
    pub(crate) fn restore_extent(&self, partition: usize, extent: Extent) {
        if partition < self.len() {
            let mut kept = self.lock(partition);
            kept.next_sequence = kept.next_sequence.max(extent.next_sequence);
            kept.next_offset = kept.next_offset.max(extent.next_offset);
            while kept.extent().first_sequence < extent.first_sequence && kept.events.pop_front().is_some() {}
            self.changes.note(|| Key::Partition(partition));
        }
    }

    /// Puts a message back that was stored. It has to be the next of its partition.
    pub(crate) fn restore_event(&self, event: TelemetryEvent) -> Result<(), Failure> {
        let (partition, sequence) = (event.partition, event.sequence_number);
        if partition >= self.len() {
            let text = format!(
                "the hub has {} partitions, and none has the number {partition}",
                self.len()
            );
            return Err(Failure::argument(text));
        }
        let mut kept = self.lock(partition);
        match kept.events.back().map(|last| last.sequence_number + 1) {
            Some(next) if next != sequence => {
                return Err(Failure::argument(format!(
                    "the next message of partition {partition} has the number {next}, not {sequence}"
                )));
            }
            _ => {}
        }
        kept.next_sequence = kept.next_sequence.max(sequence + 1);
        kept.next_offset = kept.next_offset.max(event.offset + event.message.size() as u64);
        kept.events.push_back(Arc::new(event));
        self.note(partition, [sequence].into_iter());
        Ok(())
    }

    /// Notes that messages have come, before which others may have gone.
    fn note(&self, partition: usize, sequences: impl Iterator<Item = u64>) {
        let events = sequences.map(|sequence| Key::Event(partition, sequence));
        self.changes
            .note_all([Key::Partition(partition)].into_iter().chain(events));
    }

    /// What is kept, by partition and there in the order in which it came.
    pub(crate) fn events(&self) -> Vec<Arc<TelemetryEvent>> {
        let kept = (0..self.len()).map(|partition| self.lock(partition).events.clone());
        kept.flatten().collect()
    }

    /// Forgets what is kept; sequence numbers and offsets go on.
    pub(super) fn clear(&self) {
        for partition in 0..self.len() {
            let mut kept = self.lock(partition);
            let events = kept.events.drain(..);
            let gone: Vec<u64> = events.map(|event| event.sequence_number).collect();
            self.note(partition, gone.into_iter());
        }
    }

    fn lock(&self, partition: usize) -> MutexGuard<'_, Partition> {
        self.partitions[partition]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Partition {
    fn extent(&self) -> Extent {
        let first = self.events.front().map(|event| event.sequence_number);
        Extent {
            first_sequence: first.unwrap_or(self.next_sequence),
            next_sequence: self.next_sequence,
            next_offset: self.next_offset,
        }
    }

    /// Forgets what is too old, and the oldest when there is too much.
    fn make_room(&mut self, now: OffsetDateTime) {
        let is_old = |event: &mut Arc<TelemetryEvent>| event.enqueued_time <= now - RETENTION;
        while self.events.len() >= CAPACITY || self.events.front_mut().is_some_and(is_old) {
            self.events.pop_front();
        }
    }
}

/// The same for a device in every run: FNV-1a.
fn partition_of(device: &str, partitions: usize) -> usize {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = device.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    (hash % partitions as u64) as usize
}

/// The default of a hub.
const RETENTION: Duration = Duration::days(1);

/// How many messages a partition keeps, which a hub in the cloud does not count.
const CAPACITY: usize = 25_000;

/// The published limit.
const MAX_SIZE: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // The test vector of FNV-1a, 64 bits: "foobar" is 85944171f73967e8.
        assert_eq!(partition_of("foobar", 4), (0x8594_4171_f739_67e8_u64 % 4) as usize);
        assert_eq!(partition_of("", 4), (0xcbf2_9ce4_8422_2325_u64 % 4) as usize);
    }
}

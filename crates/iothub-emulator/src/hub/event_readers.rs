//! Who reads the messages of devices from the built-in endpoint, from where, and who has to make way for whom.

use std::{
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use iothub_core::HubErrorCode;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::{EventsOptions, Failure, Hub, telemetry::TelemetryEvent};

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With what comes from now on.
    Latest,
    /// With the first message whose offset is greater than this; or equal, if inclusive.
    Offset { than: i64, inclusive: bool },
    /// The same with the sequence number.
    Sequence { than: i64, inclusive: bool },
    /// The same with the time of arrival, in milliseconds since the Unix epoch.
    Time { than: i64, inclusive: bool },
}

/// Why somebody may not read.
#[derive(Debug)]
pub(crate) enum NoReader {
    /// Somebody reads who goes first.
    Outranked(String),
    /// As many as may read without an epoch do so already.
    TooMany(String),
    /// There is nothing to read.
    Failure(Failure),
}

/// Reads a partition for a consumer group.
pub(crate) struct EventReader {
    hub: Hub,
    partition: usize,
    start: Start,
    /// Where it goes on.
    next: AtomicU64,
    number: u64,
    end: watch::Receiver<bool>,
}

/// Everybody who reads.
pub(crate) struct EventReaders {
    groups: Vec<String>,
    readers: Mutex<Vec<Registered>>,
    count: AtomicU64,
}

struct Registered {
    number: u64,
    group: usize,
    partition: usize,
    epoch: Option<i64>,
    end: watch::Sender<bool>,
}

impl Hub {
    /// Begins to read. With an epoch, those who have a lower one, the same, or none have to stop.
    pub(crate) fn read_events(
        &self,
        group: &str,
        partition: &str,
        start: Start,
        epoch: Option<i64>,
    ) -> Result<EventReader, NoReader> {
        let readers = self.event_readers();
        let known = readers
            .groups
            .iter()
            .position(|known| known.eq_ignore_ascii_case(group));
        let group = known.ok_or_else(|| {
            let text = format!("there is no consumer group {group:?}");
            NoReader::Failure(Failure::new(HubErrorCode::GenericNotFound, text))
        })?;
        let partition = self.partition(partition).map_err(NoReader::Failure)?;
        let start = match start {
            Start::Latest => {
                let next = self.telemetry().state(partition).next_sequence;
                Start::Sequence {
                    than: i64::try_from(next).unwrap_or(i64::MAX),
                    inclusive: true,
                }
            }
            start => start,
        };
        let (number, end) = readers.enter(group, partition, epoch)?;
        Ok(EventReader {
            hub: self.clone(),
            partition,
            start,
            next: AtomicU64::new(0),
            number,
            end,
        })
    }

    /// The partition with this id, which is a number from 0.
    pub(crate) fn partition(&self, id: &str) -> Result<usize, Failure> {
        let partitions = self.telemetry().len();
        let partition = id.parse().ok().filter(|partition| *partition < partitions);
        partition.ok_or_else(|| {
            let text = format!("there is no partition {id:?}: they go from 0 to {}", partitions - 1);
            Failure::argument(text)
        })
    }

    /// What the built-in endpoint is called as an event hub.
    pub(crate) fn event_hub(&self) -> String {
        format!("iothub-ehub-{}", self.name().split('.').next().unwrap_or_default())
    }
}

impl EventReader {
    /// Waits for the next message. Dropping the future loses nothing; it is asked once at a time.
    pub(crate) async fn next(&self) -> Arc<TelemetryEvent> {
        let telemetry = self.hub.telemetry();
        loop {
            let arrived = telemetry.arrival();
            tokio::pin!(arrived);
            // Registered before the partition is read, so that nothing can arrive in between.
            arrived.as_mut().enable();
            let next = self.next.load(Ordering::Relaxed);
            let found = telemetry.first_from(self.partition, next, |event| self.start.admits(event));
            if let Some(event) = found {
                self.next.store(event.sequence_number + 1, Ordering::Relaxed);
                return event;
            }
            arrived.await;
        }
    }

    /// The last message of the partition, and when that was asked.
    pub(crate) fn last(&self) -> (Option<Arc<TelemetryEvent>>, OffsetDateTime) {
        let now = self.hub.clock().now();
        (self.hub.telemetry().state(self.partition).last, now)
    }

    /// Resolves when the reader has to make way for another.
    pub(crate) fn outranked(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut end = self.end.clone();
        async move {
            // An error says that the reader has stopped by itself.
            if end.wait_for(|end| *end).await.is_err() {
                pending::<()>().await;
            }
        }
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        let number = self.number;
        self.hub.event_readers().lock().retain(|reader| reader.number != number);
    }
}

impl EventReaders {
    pub(super) fn new(options: &EventsOptions) -> Self {
        let default = std::iter::once("$Default".to_owned());
        Self {
            groups: default.chain(options.consumer_groups.iter().cloned()).collect(),
            readers: Mutex::default(),
            count: AtomicU64::new(0),
        }
    }

    fn enter(
        &self,
        group: usize,
        partition: usize,
        epoch: Option<i64>,
    ) -> Result<(u64, watch::Receiver<bool>), NoReader> {
        let mut readers = self.lock();
        let rivals = || {
            let all = readers.iter();
            all.filter(|reader| (reader.group, reader.partition) == (group, partition))
        };
        // None is lower than any.
        if let Some(highest) = rivals().filter_map(|rival| rival.epoch).max()
            && Some(highest) > epoch
        {
            let text = format!("a receiver with the epoch {highest} reads partition {partition} already");
            return Err(NoReader::Outranked(text));
        }
        if epoch.is_none() && rivals().count() >= MAX_READERS {
            let text = format!("partition {partition} has {MAX_READERS} receivers of the group, and may not have more");
            return Err(NoReader::TooMany(text));
        }
        if epoch.is_some() {
            for rival in rivals() {
                rival.end.send_replace(true);
            }
            readers.retain(|reader| (reader.group, reader.partition) != (group, partition));
        }
        let (end, ended) = watch::channel(false);
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        readers.push(Registered {
            number,
            group,
            partition,
            epoch,
            end,
        });
        Ok((number, ended))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Registered>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Start {
    fn admits(self, event: &TelemetryEvent) -> bool {
        let (is, than, inclusive) = match self {
            Self::Latest => return true,
            Self::Offset { than, inclusive } => (event.offset.into(), than, inclusive),
            Self::Sequence { than, inclusive } => (event.sequence_number.into(), than, inclusive),
            Self::Time { than, inclusive } => (milliseconds(event.enqueued_time), than, inclusive),
        };
        is > i128::from(than) || (inclusive && is == i128::from(than))
    }
}

fn milliseconds(time: OffsetDateTime) -> i128 {
    time.unix_timestamp_nanos() / 1_000_000
}

/// How many may read a partition for one group without an epoch: the published limit.
const MAX_READERS: usize = 5;

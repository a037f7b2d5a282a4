use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use iothub_core::HubErrorCode;
use serde::{Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::Notify;

use super::{AmqpEvent, Clock, Failure, Outcome, Principal, Target, sessions::SessionEnd};

/// What happened in the hub, in order.
///
/// A client that says it sent a message once is believed when the journal says so too: it counts what was executed,
/// not what was answered. The newest 100 000 entries are kept. Clones are handles to the same journal.
#[derive(Clone)]
pub struct Journal {
    entries: Arc<Mutex<Entries>>,
    written: Arc<Notify>,
    clock: Clock,
}

#[derive(Default)]
struct Entries {
    kept: VecDeque<Entry>,
    count: u64,
}

/// One line of the [`Journal`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// The first entry of a hub has number 1.
    pub number: u64,
    /// The hub's time.
    #[serde(serialize_with = "rfc3339")]
    pub at: OffsetDateTime,
    /// What happened.
    pub event: Event,
}

/// What an [`Entry`] is about.
///
/// As JSON an event is an object with its `type` and its fields in camel case.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Event {
    /// A door answered a request, or dropped it, which is status 0.
    Request {
        /// Where it came in.
        door: Door,
        /// Method and path, such as `GET /devices/lamp`.
        operation: String,
        /// The status of the answer.
        status: u16,
    },
    /// Somebody showed a token that holds.
    Authorized {
        /// Who.
        #[serde(serialize_with = "as_text")]
        principal: Principal,
    },
    /// The hub said no.
    Refused {
        /// The hub's code for it.
        #[serde(serialize_with = "as_text")]
        code: HubErrorCode,
        /// Why.
        message: String,
    },
    /// The hub changed something. A request that changes one thing leaves one such entry, however often it is answered.
    Executed {
        /// What was done.
        operation: Operation,
        /// To what: the id of a device, `device/module`, or the id of a configuration or job.
        on: String,
    },
    /// A cloud-to-device message was accepted.
    Queued {
        /// Whom it is for.
        target: Target,
        /// Its number in the queue of that target.
        sequence: u64,
        /// The sender's id for it.
        message_id: Option<String>,
    },
    /// A cloud-to-device message was handed to its device.
    Delivered {
        /// Who has it now.
        target: Target,
        /// Its number in the queue of that target.
        sequence: u64,
        /// The sender's id for it.
        message_id: Option<String>,
    },
    /// A cloud-to-device message came to an end, or went back to wait.
    Settled {
        /// Whose it was.
        target: Target,
        /// Its number in the queue of that target.
        sequence: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// A batch of feedback was closed, and waits for a service.
    FeedbackBatched {
        /// How many messages it is about.
        records: usize,
    },
    /// A device uploaded a file, and a notification of it waits for a service.
    FileUploaded {
        /// Which device.
        device: String,
        /// The name of the blob, with the device in front.
        blob: String,
    },
    /// A device or module connected.
    Connected {
        /// Which.
        target: Target,
        /// How.
        door: Door,
    },
    /// A connection of a device or module ended.
    Disconnected {
        /// Whose.
        target: Target,
        /// How it was connected.
        door: Door,
        /// Why the hub ended it. `None` if the device did.
        end: Option<SessionEnd>,
    },
    /// A service invoked a method on a device that does not listen, and waits for it to connect.
    MethodWaits {
        /// Which device or module.
        target: Target,
    },
    /// A device got the request to run a method: as often as this is here, so often it may have run it.
    MethodInvoked {
        /// Which device or module.
        target: Target,
        /// The name of the method.
        name: String,
    },
    /// A device answered a method in time.
    MethodAnswered {
        /// Which device or module.
        target: Target,
        /// The status of the answer.
        status: i32,
    },
    /// A message of a device was accepted.
    Telemetry {
        /// Who sent it.
        source: Target,
        /// The partition that keeps it.
        partition: usize,
        /// Its place there, from 0.
        sequence_number: u64,
    },
    /// Something happened on an AMQP connection.
    Amqp {
        /// How the connection came in.
        door: Door,
        /// The number of the connection.
        connection: u64,
        /// What happened.
        event: AmqpEvent,
    },
    /// A fault that somebody asked for happened.
    Fault {
        /// Its name.
        name: &'static str,
    },
}

/// A change that the hub made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Operation {
    /// An identity was created.
    Create,
    /// An identity was replaced.
    Update,
    /// An identity was deleted.
    Delete,
    /// Tags or desired properties were written.
    UpdateTwin,
    /// A configuration was written into a twin.
    Configure,
    /// An import job was started.
    Import,
    /// An export job was started.
    Export,
    /// A job was scheduled.
    ScheduleJob,
    /// A scheduled job was cancelled.
    CancelJob,
}

/// Where requests come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Door {
    /// HTTPS.
    Http,
    /// AMQP over TLS.
    Amqp,
    /// AMQP over WebSocket.
    AmqpWebSocket,
    /// MQTT over TLS.
    Mqtt,
    /// MQTT over WebSocket.
    MqttWebSocket,
    /// No door: a device in this process.
    InProcess,
    /// The token endpoint.
    Entra,
    /// The storage account.
    Blob,
}

impl Journal {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            entries: Arc::default(),
            written: Arc::default(),
            clock,
        }
    }

    pub(crate) fn record(&self, event: Event) {
        let at = self.clock.now();
        // Dropped when nobody waits for the lock any more.
        let _oldest = {
            let mut entries = self.lock();
            let full = entries.kept.len() == CAPACITY;
            let oldest = if full { entries.kept.pop_front() } else { None };
            entries.count += 1;
            let number = entries.count;
            entries.kept.push_back(Entry { number, at, event });
            oldest
        };
        self.written.notify_waiters();
    }

    /// What is kept, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().kept.iter().cloned().collect()
    }

    /// What is kept and came after entry `number`, oldest first, at most so many.
    pub fn since(&self, number: u64, most: usize) -> Vec<Entry> {
        let entries = self.lock();
        let first = entries.count - entries.kept.len() as u64;
        let skipped = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        entries.kept.iter().skip(skipped).take(most).cloned().collect()
    }

    /// Returns when there is an entry after `number`.
    pub async fn newer_than(&self, number: u64) {
        loop {
            // From here on it hears of every entry.
            let written = self.written.notified();
            if self.lock().count > number {
                return;
            }
            written.await;
        }
    }

    /// How many of the events that are kept are like this.
    pub fn count(&self, like: impl Fn(&Event) -> bool) -> usize {
        self.lock().kept.iter().filter(|entry| like(&entry.event)).count()
    }

    /// Returns the first event like this, or waits until one happens.
    pub async fn wait_for(&self, like: impl Fn(&Event) -> bool) -> Entry {
        let mut seen = 0;
        loop {
            let written = self.written.notified();
            {
                let entries = self.lock();
                let mut new = entries.kept.iter().filter(|entry| entry.number > seen);
                if let Some(entry) = new.find(|entry| like(&entry.event)) {
                    return entry.clone();
                }
                seen = entries.count;
            }
            written.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("count", &self.lock().count)
            .finish_non_exhaustive()
    }
}

fn rfc3339<S: Serializer>(at: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    let text = at.format(&Rfc3339).map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&text)
}

fn as_text<S: Serializer>(what: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(what)
}

impl Event {
    pub(crate) fn refused(failure: &Failure) -> Self {
        Self::Refused {
            code: failure.code.clone(),
            message: failure.message.clone(),
        }
    }
}

const CAPACITY: usize = 100_000;

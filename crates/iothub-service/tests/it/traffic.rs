use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use iothub_core::{CallFacts, Result};
use iothub_emulator::{AmqpEvent, Emulator, Event, Journal};
use iothub_service::{
    Ack, CloudToDeviceMessage, Deliveries, FeedbackBatch, ReceiverState, ReceiverWatch, SendAllOptions, Sent,
    ServiceClient, Target,
};
use tokio::{
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
};

use crate::hub::soon;

/// Messages that go out and feedback that comes back without end, and what the application knows of both.
pub(crate) struct Traffic {
    load: Load,
    stop: oneshot::Sender<()>,
    sending: JoinHandle<Vec<Result<Sent>>>,
    read: watch::Receiver<Read>,
    watch: ReceiverWatch,
    delays: Delays,
    /// Ends with this value.
    _tasks: JoinSet<()>,
}

/// How messages are sent.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// The time between two of them.
    pub(crate) pace: Duration,
    pub(crate) at_least_once: bool,
}

/// What was read of the feedback.
#[derive(Default)]
struct Read {
    /// How often a record came for a message.
    records: BTreeMap<String, usize>,
    /// How many batches the application set out to complete.
    completed: usize,
    last: Option<Instant>,
}

/// The devices at the other end: they take everything at once.
pub(crate) fn lamps(hub: &Emulator) -> JoinSet<()> {
    LAMPS
        .iter()
        .map(|name| {
            let lamp = hub.add_device(name).unwrap();
            async move {
                loop {
                    // What was held for too long comes again.
                    drop(lamp.recv().await.complete());
                }
            }
        })
        .collect()
}

impl Traffic {
    pub(crate) fn start(service: &ServiceClient, load: Load) -> Self {
        let (stop, stopped) = oneshot::channel();
        let sending = tokio::spawn(send(service.clone(), load, stopped));
        let feedback = service.feedback(None);
        let watch = feedback.watch();
        let (seen, read) = watch::channel(Read::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(read_all(feedback, seen));
        let delays = Delays::default();
        tasks.spawn(delays.clone().measure());
        Self {
            load,
            stop,
            sending,
            read,
            watch,
            delays,
            _tasks: tasks,
        }
    }

    /// Returns when feedback has come.
    pub(crate) async fn flows(&self) {
        let (mut read, now) = (self.read.clone(), Instant::now());
        let is_read = read.wait_for(|read| read.last > Some(now));
        drop(soon("feedback", is_read).await.expect("somebody reads"));
    }

    /// Checks that after a fault the receiver is back in time, and says when that was.
    ///
    /// Time in which this machine did something else is not held against the receiver.
    pub(crate) async fn is_back(&self, after: &str, fault: Instant, within: Duration) -> Duration {
        let before = self.delays.total();
        let mut watch = self.watch.clone();
        let back = soon(after, async {
            loop {
                let status = watch.status();
                if matches!(status.state, ReceiverState::Connected) && status.since > fault {
                    return status.since;
                }
                watch.changed().await.expect("the client lives");
            }
        });
        let took = back.await - fault;
        let delayed = self.delays.total() - before;
        assert!(
            took <= within + delayed,
            "{after}: back after {took:?}, in spite of {delayed:?} lost to others"
        );
        took
    }

    /// Stops, waits until all is told, and compares what the application knows with the journals of its hub, or of its
    /// hubs if one took the place of another.
    pub(crate) async fn ends_well(self, earlier: &[Journal], hub: &Emulator) {
        self.flows().await;
        let Self {
            load,
            stop,
            sending,
            mut read,
            ..
        } = self;
        stop.send(()).expect("somebody sends");
        let sent = soon("the last settlements", sending).await.expect("no panic");
        let told = async {
            loop {
                // Batches close, and what a link that is gone has taken with it is free again.
                hub.clock().advance(Duration::from_secs(15));
                let stored = stored(&[hub.journal().clone()]);
                let is_told = read.wait_for(|read| stored.keys().all(|id| read.records.contains_key(id)));
                if tokio::time::timeout(Duration::from_millis(250), is_told).await.is_ok() {
                    return;
                }
            }
        };
        soon("feedback on every message", told).await;

        let journals = [earlier, &[hub.journal().clone()]].concat();
        let stored = stored(&journals);
        assert!(sent.len() >= 64, "{} messages are no load", sent.len());
        for (number, sent) in sent.iter().enumerate() {
            let id = id(number);
            let times = stored.get(&id).copied().unwrap_or(0);
            let (least, most) = match sent {
                Ok(sent) => (1, sent.attempts as usize),
                Err(error) => match CallFacts::of(error).expect("every error of a call has facts") {
                    CallFacts {
                        maybe_applied: false, ..
                    } => (0, 0),
                    facts => (0, facts.attempts as usize),
                },
            };
            let most = if load.at_least_once { most } else { most.min(1) };
            assert!(
                (least..=most).contains(&times),
                "{id} was stored {times} times: {sent:?}"
            );
        }
        let settled = count(&journals, |event| {
            matches!(event, Event::Amqp { event: AmqpEvent::Settled { address, outcome }, .. }
                if address.ends_with("feedback") && outcome == "accepted")
        });
        let completed = read.borrow().completed;
        assert!(
            settled <= completed,
            "{settled} batches were settled, {completed} completed"
        );
    }
}

async fn send(service: ServiceClient, load: Load, stopped: oneshot::Receiver<()>) -> Vec<Result<Sent>> {
    let messages = stream::unfold(0, move |number: usize| async move {
        tokio::time::sleep(load.pace).await;
        let lamp = Target::Device(LAMPS[number % LAMPS.len()].parse().unwrap());
        let message = CloudToDeviceMessage {
            message_id: Some(id(number)),
            ack: Ack::Full,
            ..CloudToDeviceMessage::new("on")
        };
        Some(((lamp, message), number + 1))
    });
    let options = SendAllOptions {
        at_least_once: load.at_least_once,
        ..SendAllOptions::default()
    };
    let messages = Box::pin(messages.take_until(stopped));
    service.send_all(messages, Some(options)).collect().await
}

async fn read_all(mut feedback: Deliveries<FeedbackBatch>, read: watch::Sender<Read>) {
    while let Some(batch) = feedback.next().await {
        // An error is told once, and the stream goes on.
        let Ok(batch) = batch else { continue };
        read.send_modify(|read| {
            for record in &batch.records {
                *read.records.entry(record.original_message_id.clone()).or_default() += 1;
            }
            read.completed += 1;
            read.last = Some(Instant::now());
        });
        // Whatever could not be completed comes again.
        drop(batch.complete().await);
    }
}

/// How often each message was put into a queue.
fn stored(journals: &[Journal]) -> BTreeMap<String, usize> {
    let mut stored = BTreeMap::new();
    for entry in journals.iter().flat_map(Journal::entries) {
        if let Event::Queued {
            message_id: Some(id), ..
        } = entry.event
        {
            *stored.entry(id).or_default() += 1;
        }
    }
    stored
}

fn count(journals: &[Journal], like: impl Fn(&Event) -> bool) -> usize {
    journals.iter().map(|journal| journal.count(&like)).sum()
}

fn id(number: usize) -> String {
    format!("m-{number}")
}

/// The time by which sleeps in this runtime took too long.
#[derive(Clone, Default)]
struct Delays(Arc<AtomicU64>);

impl Delays {
    async fn measure(self) {
        const NAP: Duration = Duration::from_millis(20);
        loop {
            let begun = Instant::now();
            tokio::time::sleep(NAP).await;
            let late = begun.elapsed().saturating_sub(NAP);
            self.0
                .fetch_add(u64::try_from(late.as_micros()).unwrap(), Ordering::Relaxed);
        }
    }

    fn total(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

impl Default for Load {
    fn default() -> Self {
        Self {
            pace: Duration::from_millis(2),
            at_least_once: false,
        }
    }
}

const LAMPS: [&str; 4] = ["lamp-0", "lamp-1", "lamp-2", "lamp-3"];

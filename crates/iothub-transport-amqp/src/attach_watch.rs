use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use fe2o3_amqp_types::performatives::Performative;
use tokio::sync::watch;

/// Sees from the peer's frames what becomes of an attach.
///
/// A peer that refuses a link has to attach it first and detach it after; the engine reports that attach as a success,
/// and shows neither credit nor detach before the link is used. The frames show both.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttachWatch(Arc<Watched>);

#[derive(Debug, Default)]
struct Watched {
    links: Mutex<HashMap<String, Link>>,
    /// How many links are in there, to be read without the lock.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Link {
    /// Channel and handle, once the peer has attached.
    place: Option<(u16, u32)>,
    verdict: watch::Sender<Verdict>,
}

/// What the peer has said about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing yet.
    Open,
    /// It gave credit.
    Granted,
    /// It detached.
    Refused,
}

impl AttachWatch {
    /// Watches the link with this name until the returned value is dropped.
    pub(crate) fn expect(&self, name: &str) -> Expected {
        let verdict = watch::Sender::new(Verdict::Open);
        let expected = Expected {
            watch: self.clone(),
            name: name.to_owned(),
            verdict: verdict.subscribe(),
        };
        self.links().insert(name.to_owned(), Link { place: None, verdict });
        self.0.count.fetch_add(1, Ordering::Relaxed);
        expected
    }

    pub(crate) fn wants(&self, code: u8) -> bool {
        matches!(code, ATTACH | FLOW | DETACH) && self.0.count.load(Ordering::Relaxed) > 0
    }

    /// Takes note of a frame that the peer sent.
    pub(crate) fn heard(&self, channel: u16, frame: &Performative) {
        let mut links = self.links();
        let decide = |handle: u32, verdict| {
            let at = Some((channel, handle));
            if let Some(link) = links.values().find(|link| link.place == at) {
                link.verdict.send_replace(verdict);
            }
        };
        match frame {
            Performative::Attach(attach) => {
                if let Some(link) = links.get_mut(&attach.name) {
                    link.place = Some((channel, attach.handle.0));
                }
            }
            Performative::Flow(flow) => {
                if let (Some(handle), Some(1..)) = (&flow.handle, flow.link_credit) {
                    decide(handle.0, Verdict::Granted);
                }
            }
            Performative::Detach(detach) => decide(detach.handle.0, Verdict::Refused),
            _ => {}
        }
    }

    fn links(&self) -> MutexGuard<'_, HashMap<String, Link>> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A link that is watched.
pub(crate) struct Expected {
    watch: AttachWatch,
    name: String,
    verdict: watch::Receiver<Verdict>,
}

impl Expected {
    /// What the peer has said so far.
    pub(crate) fn verdict(&self) -> Verdict {
        *self.verdict.borrow()
    }

    /// Waits until the peer has said something.
    pub(crate) async fn decided(&mut self) -> Verdict {
        // The sender stands in the map until `self` is dropped.
        let decided = self.verdict.wait_for(|verdict| *verdict != Verdict::Open).await;
        match decided.map(|verdict| *verdict) {
            Ok(verdict) => verdict,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.watch.links().remove(&self.name);
        self.watch.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

const ATTACH: u8 = 0x12;
const FLOW: u8 = 0x13;
const DETACH: u8 = 0x16;

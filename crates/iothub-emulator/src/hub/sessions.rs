//! Connections of devices: who is there, and what the hub can hand to it.
//!
//! A door opens a [`Session`] when a device has shown who it is, keeps it as long as the connection, and drops it with
//! the connection. Everything that a device does and gets goes through it, whatever the protocol.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use iothub_core::HubErrorCode;
use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};
use uuid::Uuid;

use super::{
    Break, D2cMessage, Door, Event, Failure, Hub, Outcome, Target,
    desired::{DesiredChange, DesiredChanges},
    injected_faults::InjectedFault,
    methods::{MethodRequest, MethodRequests},
    queue::{LOCK, LockedMessage},
};

/// A connection of a device or module. There is one at most for each; a newer one takes over.
///
/// Dropping it is how the device goes away.
pub(crate) struct Session {
    hub: Hub,
    live: Arc<Live>,
    left: AtomicBool,
}

/// Why the hub ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum SessionEnd {
    /// The device or module connected again.
    TakenOver,
    /// Its identity was deleted.
    Deleted,
    /// Its identity was disabled.
    Disabled,
    /// It did not take what it asked to be sent.
    TooSlow,
    /// Somebody asked the hub to end it.
    Disconnected,
}

/// The sessions of all devices.
#[derive(Default)]
pub(crate) struct Sessions {
    /// By the id of the device, together with those of its modules.
    live: Mutex<HashMap<String, Vec<Arc<Live>>>>,
    count: AtomicU64,
    /// Somebody began to listen for methods.
    listening: Notify,
}

/// What the hub knows of a session.
struct Live {
    number: u64,
    target: Target,
    generation: u64,
    door: Door,
    ended: watch::Sender<Option<SessionEnd>>,
    methods: Mutex<Option<mpsc::Sender<MethodRequest>>>,
    desired: Mutex<Option<mpsc::Sender<DesiredChange>>>,
    /// How its connection is broken in parts, if its protocol has parts.
    breaks: OnceLock<mpsc::UnboundedSender<Break>>,
}

impl Hub {
    /// Opens a session, and ends the one that this device or module may have had.
    ///
    /// # Errors
    ///
    /// It does not exist, or the device is disabled.
    pub(crate) fn connect(&self, target: &Target, door: Door) -> Result<Session, Failure> {
        let now = self.clock().now();
        let (live, older) = {
            let mut registry = self.registry_mut();
            registry.must_be_enabled(target)?;
            let identity = registry.identity_mut(target)?;
            identity.connection.connected = true;
            identity.connection.updated = Some(now);
            identity.connection.last_activity = Some(now);
            let live = Arc::new(Live {
                number: self.sessions().count.fetch_add(1, Ordering::Relaxed) + 1,
                target: target.clone(),
                generation: identity.generation,
                door,
                ended: watch::Sender::new(None),
                methods: Mutex::default(),
                desired: Mutex::default(),
                breaks: OnceLock::new(),
            });
            let mut all = self.sessions().live();
            let family = all.entry(target.device().to_owned()).or_default();
            let older = family.iter().position(|live| live.target == *target);
            let older = older.map(|at| family.swap_remove(at));
            family.push(Arc::clone(&live));
            (live, older)
        };
        if let Some(older) = older {
            older.end(SessionEnd::TakenOver);
        }
        self.journal().record(Event::Connected {
            target: target.clone(),
            door,
        });
        Ok(Session {
            hub: self.clone(),
            live,
            left: AtomicBool::new(false),
        })
    }

    /// Ends the sessions of a device and its modules that no longer may be: after its identity was changed.
    pub(super) fn review_sessions(&self, device: &str) {
        let registry = self.registry();
        let all = self.sessions().live();
        for live in all.get(device).into_iter().flatten() {
            let generation = registry.identity(&live.target).map(|identity| identity.generation);
            if generation != Ok(live.generation) {
                live.end(SessionEnd::Deleted);
            } else if registry.must_be_enabled(&live.target).is_err() {
                live.end(SessionEnd::Disabled);
            }
        }
    }

    /// Where method requests for a device go, if it listens for them.
    pub(super) fn method_line(&self, target: &Target) -> Option<mpsc::Sender<MethodRequest>> {
        let live = self.sessions().find(target)?;
        let line = lock(&live.methods).clone()?;
        (!line.is_closed()).then_some(line)
    }

    /// Returns when somebody begins to listen for methods. Whoever did while the future was enabled is not missed.
    pub(super) fn method_listener(&self) -> tokio::sync::futures::Notified<'_> {
        self.sessions().listening.notified()
    }

    /// Hands a change of desired properties to a device that watches them.
    ///
    /// Called with the registry locked, so that changes arrive in the order of their versions.
    pub(super) fn tell_desired(&self, target: &Target, change: impl FnOnce() -> DesiredChange) {
        let Some(live) = self.sessions().find(target) else {
            return;
        };
        let sent = lock(&live.desired).as_ref().map(|line| line.try_send(change()));
        if let Some(Err(mpsc::error::TrySendError::Full(_))) = sent {
            // Leaving one out would leave the device with wrong properties; when it is back, it reads the twin.
            live.end(SessionEnd::TooSlow);
        }
    }

    /// Who is connected, in the order of ids.
    pub(crate) fn online(&self) -> Vec<(Target, Door)> {
        let live = self.sessions().live();
        let sessions = live.values().flatten();
        let mut online: Vec<_> = sessions.map(|live| (live.target.clone(), live.door)).collect();
        online.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        online
    }

    /// Ends the session of a device or module, if it has one.
    pub(crate) fn disconnect(&self, target: &Target) -> bool {
        let live = self.sessions().find(target);
        if let Some(live) = &live {
            live.end(SessionEnd::Disconnected);
        }
        live.is_some()
    }

    /// Hands a fault to the door of a device; gives it back if that cannot break its connection in parts.
    pub(super) fn tell_door(&self, device: &Target, fault: InjectedFault) -> Result<(), InjectedFault> {
        let live = self.sessions().find(device);
        let Some(breaks) = live.as_ref().and_then(|live| live.breaks.get()) else {
            return Err(fault);
        };
        let device = device.clone();
        match breaks.send(Break::Injected { device, fault }) {
            Err(mpsc::error::SendError(Break::Injected { fault, .. })) => Err(fault),
            _ => Ok(()),
        }
    }

    /// Ends every session that came in by a door, and drops every other connection.
    pub(crate) fn drop_connections(&self) {
        for live in self.sessions().live().values().flatten() {
            if live.door != Door::InProcess {
                live.end(SessionEnd::Disconnected);
            }
        }
        self.faults().drop_connections();
    }

    /// Remembers that a device was heard of.
    pub(super) fn touch(&self, target: &Target) {
        let now = self.clock().now();
        if let Ok(identity) = self.registry_mut().identity_unnoted(target) {
            identity.connection.last_activity = Some(now);
        }
    }
}

impl Session {
    /// Whose it is.
    pub(crate) fn target(&self) -> &Target {
        &self.live.target
    }

    /// Returns when the hub ends the session; the door then closes the connection.
    pub(crate) async fn ended(&self) -> SessionEnd {
        self.ending().await
    }

    /// The same, without keeping the session. If the device goes away by itself, it never resolves.
    pub(crate) fn ending(&self) -> impl Future<Output = SessionEnd> + Send + use<> {
        let mut ended = self.live.ended.subscribe();
        async move {
            match ended.wait_for(Option::is_some).await.map(|end| *end) {
                Ok(Some(end)) => end,
                _ => std::future::pending().await,
            }
        }
    }

    /// Why the hub has ended the session, if it has.
    pub(crate) fn end(&self) -> Option<SessionEnd> {
        *self.live.ended.borrow()
    }

    /// Waits for the next cloud-to-device message and locks it for the device. Dropping the future loses nothing.
    pub(crate) async fn next_message(&self) -> LockedMessage {
        self.hub.next_message(self.target(), LOCK).await
    }

    /// The next cloud-to-device message, if one waits.
    pub(crate) fn take_message(&self) -> Result<Option<LockedMessage>, Failure> {
        self.active()?;
        self.hub.take_message(self.target(), LOCK)
    }

    /// Says what became of a cloud-to-device message.
    ///
    /// What a session holds when it ends can still be given back, and nothing else.
    pub(crate) fn settle_message(&self, token: Uuid, outcome: Outcome) -> Result<(), Failure> {
        if outcome != Outcome::Abandoned || self.end().is_none() {
            self.active()?;
        }
        self.hub.settle_message(self.target(), token, outcome)
    }

    /// Says how the connection is broken in parts, when a device asks for it. The first one stays.
    pub(crate) fn broken_by(&self, breaks: mpsc::UnboundedSender<Break>) {
        let _ = self.live.breaks.set(breaks);
    }

    /// Begins to take method requests; earlier listeners of this session get no more. Dropping the listener ends it.
    pub(crate) fn listen_for_methods(&self) -> MethodRequests {
        let (sender, receiver) = mpsc::channel(LINE);
        *lock(&self.live.methods) = Some(sender);
        self.hub.sessions().listening.notify_waiters();
        MethodRequests::new(self.hub.clone(), self.target().clone(), receiver)
    }

    /// Answers a method request. An empty payload is null.
    ///
    /// # Errors
    ///
    /// Nobody waits for this answer, or waits any more; or the payload is not JSON.
    pub(crate) fn answer_method(&self, id: Uuid, status: i32, payload: bytes::Bytes) -> Result<(), Failure> {
        self.active()?;
        self.hub.answer_method(self.target(), id, status, payload)
    }

    /// Begins to watch desired properties; earlier watchers of this session get no more. Dropping the watcher ends it.
    ///
    /// What changed before is in the [`twin`](Self::twin).
    pub(crate) fn watch_desired(&self) -> DesiredChanges {
        let (sender, receiver) = mpsc::channel(LINE);
        *lock(&self.live.desired) = Some(sender);
        DesiredChanges::new(receiver)
    }

    /// The twin as a device sees it: JSON with `desired` and `reported`, each with its `$version`.
    pub(crate) fn twin(&self) -> Result<String, Failure> {
        self.active()?;
        self.hub.device_twin(self.target())
    }

    /// Merges into the reported properties, and returns their version.
    pub(crate) fn report(&self, patch: &str) -> Result<u64, Failure> {
        self.active()?;
        self.hub.report(self.target(), patch)
    }

    /// Takes a message for the services.
    pub(crate) fn send(&self, message: D2cMessage) -> Result<(), Failure> {
        self.send_all(vec![message])
    }

    /// Takes messages for the services, all of them or none.
    pub(crate) fn send_all(&self, messages: Vec<D2cMessage>) -> Result<(), Failure> {
        self.active()?;
        self.hub.receive_batch(self.target(), messages)
    }

    /// The device goes away, as it does when the session is dropped. After it, nothing can be done with the session.
    pub(crate) fn leave(&self) {
        if self.left.swap(true, Ordering::AcqRel) {
            return;
        }
        self.live.close();
        let now = self.hub.clock().now();
        {
            let mut registry = self.hub.registry_mut();
            if self.hub.sessions().remove(&self.live)
                && let Ok(identity) = registry.identity_mut(&self.live.target)
                && identity.generation == self.live.generation
            {
                identity.connection.connected = false;
                identity.connection.updated = Some(now);
                identity.connection.last_activity = Some(now);
            }
        }
        self.hub.journal().record(Event::Disconnected {
            target: self.live.target.clone(),
            door: self.live.door,
            end: self.end(),
        });
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Refuses what comes over a connection that has ended.
    pub(super) fn active(&self) -> Result<(), Failure> {
        match self.end() {
            None if self.left.load(Ordering::Acquire) => {
                let text = format!("{} has gone offline", self.target());
                Err(Failure::new(HubErrorCode::DeviceNotOnline, text))
            }
            None => {
                self.hub.touch(self.target());
                Ok(())
            }
            Some(end) => {
                let text = format!("the hub has ended this connection of {}: {end:?}", self.target());
                Err(Failure::new(HubErrorCode::DeviceNotOnline, text))
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Sessions {
    fn live(&self) -> MutexGuard<'_, HashMap<String, Vec<Arc<Live>>>> {
        lock(&self.live)
    }

    fn find(&self, target: &Target) -> Option<Arc<Live>> {
        let all = self.live();
        let family = all.get(target.device())?;
        family.iter().find(|live| live.target == *target).map(Arc::clone)
    }

    /// False if a newer session has taken its place.
    fn remove(&self, live: &Live) -> bool {
        let mut all = self.live();
        let Some(family) = all.get_mut(live.target.device()) else {
            return false;
        };
        let count = family.len();
        family.retain(|known| known.number != live.number);
        let removed = family.len() < count;
        if family.is_empty() {
            all.remove(live.target.device());
        }
        removed
    }
}

impl Live {
    fn close(&self) {
        *lock(&self.methods) = None;
        *lock(&self.desired) = None;
    }

    /// Hands out nothing any more. The first reason stays.
    fn end(&self, end: SessionEnd) {
        self.close();
        self.ended.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert(end);
            is_first
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much may wait for a device that is slow to take it.
const LINE: usize = 100;

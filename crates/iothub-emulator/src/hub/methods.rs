//! Direct methods: a request that waits for a device, and the answer it gets.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use iothub_core::HubErrorCode;
use time::Duration;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{DataAction, Event, Failure, Grant, Hub, Target, method_call::MethodCall, sku::Meter, twins::as_device};

/// A method that a service invokes on a device, as the device gets it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MethodRequest {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// JSON, byte for byte as the service wrote it.
    pub(crate) payload: Bytes,
}

/// What a device answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MethodAnswer {
    pub(crate) status: i32,
    /// JSON, byte for byte as the device wrote it.
    pub(crate) payload: Bytes,
}

/// The method requests of one session. Dropping it ends the subscription.
pub(crate) struct MethodRequests {
    hub: Hub,
    target: Target,
    receiver: mpsc::Receiver<MethodRequest>,
}

/// The services that wait for an answer.
#[derive(Default)]
pub(crate) struct PendingMethods(Mutex<HashMap<Uuid, Pending>>);

struct Pending {
    target: Target,
    answer: oneshot::Sender<Result<MethodAnswer, Failure>>,
}

impl Hub {
    /// Invokes a method on a connected device, and waits for its answer.
    ///
    /// # Errors
    ///
    /// `DeviceNotOnline` if the device got no request, `GatewayTimeout` if it may have.
    pub(crate) async fn invoke_method(
        &self,
        grant: &Grant,
        target: &Target,
        call: MethodCall,
    ) -> Result<MethodAnswer, Failure> {
        grant.require(DataAction::InvokeMethods)?;
        // Jobs have a figure of their own.
        if !grant.is_unlimited() {
            self.spend(Meter::Methods, kilobytes(call.payload.len()))?;
        }
        self.registry().identity(target).map_err(as_device)?;
        let line = self.wait_for_line(target, call.connect_timeout).await?;
        let due = self.clock().now() + call.response_timeout - MARGIN;
        let (id, answer) = self.pending_methods().add(target);
        // However this ends, nobody waits for the answer after it.
        let _end = Removal { hub: self, id };
        let request = MethodRequest {
            id,
            name: call.name,
            payload: call.payload,
        };
        let answered = async {
            line.send(request).await.map_err(|_| not_online())?;
            answer.await.unwrap_or_else(|_| Err(no_answer()))
        };
        tokio::select! {
            biased;
            answered = answered => answered,
            () = self.clock().until(due) => Err(no_answer()),
        }
    }

    /// Takes the answer of a device to the service that waits for it.
    pub(crate) fn answer_method(&self, target: &Target, id: Uuid, status: i32, payload: Bytes) -> Result<(), Failure> {
        let payload = if payload.is_empty() {
            Bytes::from_static(b"null")
        } else {
            payload
        };
        let pending = self.pending_methods().take(target, id).ok_or_else(|| {
            let text = format!("nobody waits for an answer of {target} to the method request {id}");
            Failure::new(HubErrorCode::GenericNotFound, text)
        })?;
        let verdict = match serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
            Ok(_) => Ok(MethodAnswer { status, payload }),
            Err(error) => {
                let text = format!("the payload that {target} answered with is not JSON: {error}");
                Err(Failure::new(HubErrorCode::GenericBadGateway, text))
            }
        };
        self.journal().record(Event::MethodAnswered {
            target: target.clone(),
            status,
        });
        let outcome = verdict.as_ref().map(drop).map_err(Clone::clone);
        // The service may have gone in this moment.
        let _ = pending.answer.send(verdict);
        outcome
    }

    /// Waits for a device to listen for methods.
    async fn wait_for_line(&self, target: &Target, patience: Duration) -> Result<mpsc::Sender<MethodRequest>, Failure> {
        let due = self.clock().now() + patience;
        let mut waits = false;
        loop {
            let listener = self.method_listener();
            tokio::pin!(listener);
            // Registered before the sessions are read, so that nobody can begin to listen in between.
            listener.as_mut().enable();
            if let Some(line) = self.method_line(target) {
                return Ok(line);
            }
            if !std::mem::replace(&mut waits, true) && patience.is_positive() {
                self.journal().record(Event::MethodWaits { target: target.clone() });
            }
            tokio::select! {
                () = listener => {}
                () = self.clock().until(due) => return Err(not_online()),
            }
        }
    }
}

impl MethodRequests {
    pub(super) fn new(hub: Hub, target: Target, receiver: mpsc::Receiver<MethodRequest>) -> Self {
        Self { hub, target, receiver }
    }

    /// Waits for the next request. `None` if there are no more, because there is a newer listener or no session.
    ///
    /// Dropping the future loses nothing. What it returns counts as invoked, so it has to reach the device.
    pub(crate) async fn recv(&mut self) -> Option<MethodRequest> {
        let request = self.receiver.recv().await?;
        self.hub.journal().record(Event::MethodInvoked {
            target: self.target.clone(),
            name: request.name.clone(),
        });
        Some(request)
    }
}

impl PendingMethods {
    fn add(&self, target: &Target) -> (Uuid, oneshot::Receiver<Result<MethodAnswer, Failure>>) {
        let (answer, answered) = oneshot::channel();
        let id = Uuid::new_v4();
        let target = target.clone();
        self.lock().insert(id, Pending { target, answer });
        (id, answered)
    }

    /// Only the device that was asked may answer.
    fn take(&self, target: &Target, id: Uuid) -> Option<Pending> {
        let mut pending = self.lock();
        pending.get(&id).filter(|pending| pending.target == *target)?;
        pending.remove(&id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Removal<'a> {
    hub: &'a Hub,
    id: Uuid,
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        self.hub.pending_methods().lock().remove(&self.id);
    }
}

impl fmt::Debug for MethodRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MethodRequests").field(&self.target).finish()
    }
}

/// What a payload counts as: it is counted in steps of four kilobytes.
fn kilobytes(payload: usize) -> u32 {
    u32::try_from(payload.div_ceil(4096).max(1) * 4).unwrap_or(u32::MAX)
}

fn not_online() -> Failure {
    Failure::new(
        HubErrorCode::DeviceNotOnline,
        "Timed out waiting for device to connect.",
    )
}

fn no_answer() -> Failure {
    let text = "Timed out waiting for the response from device.";
    Failure::new(HubErrorCode::GatewayTimeout, text)
}

/// Some clients give up at the very moment that the response time-out names, and shall hear of it before.
const MARGIN: Duration = Duration::milliseconds(250);

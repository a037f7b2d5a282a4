use std::sync::{Arc, Weak};

use bytes::Bytes;
use iothub_core::HubErrorCode;
use uuid::Uuid;

use crate::hub::{
    D2cMessage, Failure, Hub, Outcome, Session, Target,
    queue::{LOCK, LockedMessage},
};

/// How a device reaches the hub.
#[derive(Clone)]
pub(super) enum Line {
    /// By calls, each for itself.
    Calls(Hub, Target),
    /// Over a connection, as long as it is there. It is the device that keeps it, and not what it received.
    Connection(Weak<Session>, Target),
}

impl Line {
    pub(super) fn over(session: &Arc<Session>) -> Self {
        Self::Connection(Arc::downgrade(session), session.target().clone())
    }

    pub(super) fn target(&self) -> &Target {
        match self {
            Self::Calls(_, target) | Self::Connection(_, target) => target,
        }
    }

    pub(super) fn take_message(&self) -> Result<Option<LockedMessage>, Failure> {
        match self {
            Self::Calls(hub, target) => hub.take_message(target, LOCK),
            Self::Connection(..) => self.session()?.take_message(),
        }
    }

    pub(super) fn settle_message(&self, token: Uuid, outcome: Outcome) -> Result<(), Failure> {
        match self {
            Self::Calls(hub, target) => {
                hub.settle_message(target, token, outcome)?;
                hub.wait_until_persisted()
            }
            Self::Connection(..) => {
                let session = self.session()?;
                session.settle_message(token, outcome)?;
                session.hub().wait_until_persisted()
            }
        }
    }

    pub(super) fn answer_method(&self, id: Uuid, status: i32, payload: Bytes) -> Result<(), Failure> {
        self.session()?.answer_method(id, status, payload)
    }

    pub(super) fn twin(&self) -> Result<String, Failure> {
        match self {
            Self::Calls(hub, target) => hub.device_twin(target),
            Self::Connection(..) => self.session()?.twin(),
        }
    }

    pub(super) fn report(&self, patch: &str) -> Result<u64, Failure> {
        match self {
            Self::Calls(hub, target) => {
                let version = hub.report(target, patch)?;
                hub.wait_until_persisted().map(|()| version)
            }
            Self::Connection(..) => {
                let session = self.session()?;
                let version = session.report(patch)?;
                session.hub().wait_until_persisted().map(|()| version)
            }
        }
    }

    pub(super) fn send(&self, message: D2cMessage) -> Result<(), Failure> {
        match self {
            Self::Calls(hub, target) => {
                hub.receive_telemetry(target, message)?;
                hub.wait_until_persisted()
            }
            Self::Connection(..) => {
                let session = self.session()?;
                session.send(message)?;
                session.hub().wait_until_persisted()
            }
        }
    }

    fn session(&self) -> Result<Arc<Session>, Failure> {
        let session = match self {
            Self::Calls(..) => None,
            Self::Connection(session, _) => session.upgrade(),
        };
        session.ok_or_else(|| {
            let text = format!("{} is offline", self.target());
            Failure::new(HubErrorCode::DeviceNotOnline, text)
        })
    }
}

use std::collections::BTreeMap;

use iothub_core::HubErrorCode;
use time::OffsetDateTime;

use super::{
    Failure, Target,
    authentication::{Authentication, Key},
    configurations::Assignment,
    queue::Queue,
    stored_sessions::StoredSession,
    twin::Twin,
};

/// Everything that the hub knows about its devices, in the order of their ids.
///
/// A record is small because there may be a million: documents are kept as compact text, and what only a few devices
/// have is behind an `Option<Box<_>>`.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    pub(crate) devices: BTreeMap<Box<str>, Device>,
    last_generation: u64,
    last_etag: u64,
}

/// A device: its identity, its status, and the modules on it.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) identity: Identity,
    pub(crate) status: Status,
    pub(crate) edge: bool,
    /// An edge device's own scope, for its children to name.
    pub(crate) scope: Option<Box<str>>,
    pub(crate) parents: Box<[Box<str>]>,
    pub(crate) modules: BTreeMap<Box<str>, Module>,
}

/// A module on a device.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) identity: Identity,
    pub(crate) managed_by: Option<Box<str>>,
}

/// What devices and modules have in common.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) generation: u64,
    pub(crate) etag: u64,
    pub(crate) authentication: Authentication,
    pub(crate) connection: Connection,
    /// The model of Plug and Play that the device has named last.
    pub(crate) model_id: Option<Box<str>>,
    pub(crate) twin: Twin,
    /// The configurations that are for this twin, the strongest first.
    pub(crate) assignments: Box<[Assignment]>,
    pub(crate) queue: Option<Box<Queue>>,
    pub(crate) stored_session: Option<StoredSession>,
}

/// Whether a device may connect, since when, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Status {
    pub(crate) disabled: bool,
    pub(crate) reason: Option<Box<str>>,
    pub(crate) updated: Option<OffsetDateTime>,
}

/// Whether a device or module is connected, and when it was last heard of.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Connection {
    pub(crate) connected: bool,
    pub(crate) updated: Option<OffsetDateTime>,
    pub(crate) last_activity: Option<OffsetDateTime>,
}

impl Registry {
    /// A generation that no identity had before: .NET ticks, as the service has them.
    pub(crate) fn next_generation(&mut self, now: OffsetDateTime) -> u64 {
        let ticks = (now - time::macros::datetime!(0001-01-01 00:00 UTC)).whole_nanoseconds() / 100;
        self.last_generation = u64::try_from(ticks).unwrap_or(0).max(self.last_generation + 1);
        self.last_generation
    }

    /// A tag that no identity had before, so that the tag of a deleted one never fits its successor.
    pub(crate) fn next_etag(&mut self) -> u64 {
        self.last_etag += 1;
        self.last_etag
    }

    pub(crate) fn device(&self, id: &str) -> Result<&Device, Failure> {
        self.devices.get(id).ok_or_else(|| Failure::device_not_found(id))
    }

    pub(crate) fn device_mut(&mut self, id: &str) -> Result<&mut Device, Failure> {
        self.devices.get_mut(id).ok_or_else(|| Failure::device_not_found(id))
    }

    pub(crate) fn identity(&self, target: &Target) -> Result<&Identity, Failure> {
        let device = self.device(target.device())?;
        match target.module() {
            None => Ok(&device.identity),
            Some(module) => match device.modules.get(module) {
                Some(module) => Ok(&module.identity),
                None => Err(module_not_found(target)),
            },
        }
    }

    pub(crate) fn identity_mut(&mut self, target: &Target) -> Result<&mut Identity, Failure> {
        let device = self.device_mut(target.device())?;
        match target.module() {
            None => Ok(&mut device.identity),
            Some(module) => match device.modules.get_mut(module) {
                Some(module) => Ok(&mut module.identity),
                None => Err(module_not_found(target)),
            },
        }
    }

    /// The keys that an enabled device or module signs with.
    pub(crate) fn keys_of(&self, target: &Target) -> Option<[Key; 2]> {
        match self.enabled_authentication(target)? {
            Authentication::Sas(keys) => Some((**keys).clone()),
            _ => None,
        }
    }

    /// How an enabled device or module proves who it is.
    pub(crate) fn enabled_authentication(&self, target: &Target) -> Option<&Authentication> {
        if self.device(target.device()).ok()?.status.disabled {
            return None;
        }
        Some(&self.identity(target).ok()?.authentication)
    }

    /// The queue of a device that exists, made if it has none.
    pub(crate) fn queue(&mut self, target: &Target) -> Result<&mut Queue, Failure> {
        Ok(self.identity_mut(target)?.queue.get_or_insert_default())
    }

    /// The queue of a device that may be sent to.
    pub(crate) fn open_queue(&mut self, target: &Target) -> Result<&mut Queue, Failure> {
        if self.device(target.device())?.status.disabled {
            let text = format!("device {} is disabled", target.device());
            return Err(Failure::new(HubErrorCode::DeviceDisabled, text));
        }
        self.queue(target)
    }
}

impl Status {
    pub(crate) fn as_str(&self) -> &'static str {
        if self.disabled { "disabled" } else { "enabled" }
    }
}

impl Device {
    /// The scope that clients see: an edge device's own, or that of the edge device that a leaf is a child of.
    pub(crate) fn shown_scope(&self) -> Option<&str> {
        match &self.scope {
            Some(own) => Some(own),
            None => self.parents.first().map(|parent| &**parent),
        }
    }
}

impl Identity {
    pub(crate) fn new(generation: u64, etag: u64, authentication: Authentication) -> Self {
        Self {
            generation,
            etag,
            authentication,
            connection: Connection::default(),
            model_id: None,
            twin: Twin::default(),
            assignments: Box::default(),
            queue: None,
            stored_session: None,
        }
    }

    /// The model that it has named, or nothing.
    pub(crate) fn model_id(&self) -> &str {
        self.model_id.as_deref().unwrap_or_default()
    }

    /// How many messages wait for it or are locked by it.
    pub(crate) fn message_count(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }
}

fn module_not_found(target: &Target) -> Failure {
    let text = format!("module {target} not registered");
    Failure::new(HubErrorCode::ModuleNotFound, text)
}

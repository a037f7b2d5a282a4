use std::collections::BTreeMap;

use iothub_core::HubErrorCode;
use time::OffsetDateTime;

use super::{
    Failure, Target,
    authentication::{self, Authentication},
    changes::Changes,
    configurations::Assignment,
    key::Key,
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
    pub(crate) devices: Devices,
    last_generation: u64,
    last_etag: u64,
    changes: Changes,
}

type Devices = BTreeMap<Box<str>, Device>;

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
    pub(crate) fn new(changes: Changes) -> Self {
        Self {
            changes,
            ..Self::default()
        }
    }

    /// A generation that no identity had before: .NET ticks, as the service has them.
    pub(crate) fn next_generation(&mut self, now: OffsetDateTime) -> u64 {
        let ticks = (now - time::macros::datetime!(0001-01-01 00:00 UTC)).whole_nanoseconds() / 100;
        self.last_generation = u64::try_from(ticks).unwrap_or(0).max(self.last_generation + 1);
        self.changes.note(|| Key::Hub);
        self.last_generation
    }

    /// A tag that no identity had before, so that the tag of a deleted one never fits its successor.
    pub(crate) fn next_etag(&mut self) -> u64 {
        self.last_etag += 1;
        self.changes.note(|| Key::Hub);
        self.last_etag
    }

    /// The last generation and the last tag that were given.
    pub(crate) fn last_numbers(&self) -> (u64, u64) {
        (self.last_generation, self.last_etag)
    }

    /// Gives only higher numbers than these from now on.
    pub(crate) fn count_on(&mut self, generation: u64, etag: u64) {
        self.last_generation = self.last_generation.max(generation);
        self.last_etag = self.last_etag.max(etag);
    }

    /// Notes that an identity was made, changed or removed.
    pub(crate) fn note(&self, target: &Target) {
        self.changes.note(|| Key::identity(target));
    }

    /// Notes that a message has come, changed or gone.
    pub(crate) fn note_message(&self, target: &Target, sequence: u64) {
        self.changes.note(|| Key::queue(target));
        self.changes.note(|| Key::message(target, sequence));
    }

    /// Notes a device and every module on it.
    pub(crate) fn note_family(&self, id: &str) {
        self.changes.note(|| Key::Device(id.into()));
        for module in self.devices.get(id).iter().flat_map(|device| device.modules.keys()) {
            self.changes.note(|| Key::Module(id.into(), module.clone()));
        }
    }

    /// Takes a device out, with all that belongs to it.
    pub(crate) fn remove_device(&mut self, id: &str) -> Option<Device> {
        self.note_family(id);
        let device = self.devices.remove(id)?;
        self.note_belongings(id, "", &device.identity);
        for (name, module) in &device.modules {
            self.note_belongings(id, name, &module.identity);
        }
        Some(device)
    }

    /// Notes what is gone with the one it belonged to.
    fn note_belongings(&self, device: &str, module: &str, identity: &Identity) {
        if identity.stored_session.is_some() {
            self.changes.note(|| Key::MqttSession(device.into(), module.into()));
        }
        if let Some(queue) = &identity.queue {
            self.changes.note(|| Key::Queue(device.into(), module.into()));
            for sequence in queue.sequences() {
                self.changes
                    .note(|| Key::Message(device.into(), module.into(), sequence));
            }
        }
    }

    pub(crate) fn device(&self, id: &str) -> Result<&Device, Failure> {
        self.devices.get(id).ok_or_else(|| Failure::device_not_found(id))
    }

    /// Takes a module out, with all that belongs to it.
    pub(crate) fn remove_module(&mut self, device: &str, id: &str) -> Result<(), Failure> {
        if let Some(module) = self.modules_mut(device, id)?.remove(id) {
            self.note_belongings(device, id, &module.identity);
        }
        Ok(())
    }

    /// The modules of a device, one of which is going to be made, changed or removed.
    pub(crate) fn modules_mut(
        &mut self,
        device: &str,
        module: &str,
    ) -> Result<&mut BTreeMap<Box<str>, Module>, Failure> {
        let found = find_device_mut(&mut self.devices, device)?;
        self.changes.note(|| Key::Module(device.into(), module.into()));
        Ok(&mut found.modules)
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

    /// The same, to be changed: that is noted.
    pub(crate) fn identity_mut(&mut self, target: &Target) -> Result<&mut Identity, Failure> {
        let identity = find_mut(&mut self.devices, target)?;
        self.changes.note(|| Key::identity(target));
        Ok(identity)
    }

    /// The same for what is stored elsewhere, or not worth storing by itself.
    pub(crate) fn identity_unnoted(&mut self, target: &Target) -> Result<&mut Identity, Failure> {
        find_mut(&mut self.devices, target)
    }

    /// The keys that an enabled device or module signs with.
    pub(crate) fn keys_of(&self, target: &Target) -> Option<[authentication::Key; 2]> {
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
        Ok(self.identity_unnoted(target)?.queue.get_or_insert_default())
    }

    /// The queue of a device that may be sent to.
    pub(crate) fn open_queue(&mut self, target: &Target) -> Result<&mut Queue, Failure> {
        let device = find_device_mut(&mut self.devices, target.device())?;
        if device.status.disabled {
            let text = format!("device {} is disabled", target.device());
            return Err(Failure::new(HubErrorCode::DeviceDisabled, text));
        }
        Ok(find_on_mut(device, target)?.queue.get_or_insert_default())
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

fn find_mut<'a>(devices: &'a mut Devices, target: &Target) -> Result<&'a mut Identity, Failure> {
    find_on_mut(find_device_mut(devices, target.device())?, target)
}

fn find_device_mut<'a>(devices: &'a mut Devices, id: &str) -> Result<&'a mut Device, Failure> {
    devices.get_mut(id).ok_or_else(|| Failure::device_not_found(id))
}

fn find_on_mut<'a>(device: &'a mut Device, target: &Target) -> Result<&'a mut Identity, Failure> {
    match target.module() {
        None => Ok(&mut device.identity),
        Some(module) => match device.modules.get_mut(module) {
            Some(module) => Ok(&mut module.identity),
            None => Err(module_not_found(target)),
        },
    }
}

fn module_not_found(target: &Target) -> Failure {
    let text = format!("module {target} not registered");
    Failure::new(HubErrorCode::ModuleNotFound, text)
}

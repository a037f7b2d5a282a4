//! Edge devices: scopes, parents, and the modules of the edge runtime.

use iothub_core::HubErrorCode;
use time::OffsetDateTime;

use super::{
    Failure,
    authentication::Authentication,
    identity_request::DeviceRequest,
    registry::{Device, Identity, Module, Registry},
};

/// Where a device stands among edge devices.
pub(super) struct Family {
    /// An edge device's own scope.
    pub(super) scope: Option<Box<str>>,
    pub(super) parents: Box<[Box<str>]>,
}

/// The family of a device that does not exist yet.
///
/// An edge device gets a scope of its own whatever it asks for, and names its parent in `parentScopes`; a leaf names its
/// parent in `deviceScope`.
pub(super) fn family_of_new(
    registry: &Registry,
    id: &str,
    request: &DeviceRequest,
    generation: u64,
) -> Result<Family, Failure> {
    if request.edge {
        return Ok(Family {
            scope: Some(scope_of_new(id, generation)),
            parents: parents(registry, id, request.parents.first().map(|parent| &**parent))?,
        });
    }
    leaf(registry, id, request)
}

/// The scope that an edge device is made with.
pub(crate) fn scope_of_new(id: &str, generation: u64) -> Box<str> {
    format!("{SCHEME}{id}-{generation}").into()
}

/// The family of `device` after it was replaced.
pub(super) fn family_after(
    registry: &Registry,
    id: &str,
    device: &Device,
    request: &DeviceRequest,
) -> Result<Family, Failure> {
    match (&device.scope, request.edge) {
        (Some(own), true) if request.scope.as_ref() != Some(own) => {
            Err(Failure::argument(format!("Device scope is immutable: {id} has {own}")))
        }
        (Some(own), true) => Ok(Family {
            scope: Some(own.clone()),
            parents: parents(registry, id, request.parents.first().map(|parent| &**parent))?,
        }),
        // The service leaves the number out when a leaf becomes an edge device.
        (None, true) => Ok(Family {
            scope: Some(format!("{SCHEME}{id}-").into()),
            parents: parents(registry, id, request.parents.first().map(|parent| &**parent))?,
        }),
        (Some(_), false) => Ok(Family {
            scope: None,
            parents: Box::default(),
        }),
        (None, false) => leaf(registry, id, request),
    }
}

impl Registry {
    /// What runs on every edge device, without keys and managed by the edge runtime.
    pub(crate) fn add_edge_modules(&mut self, device: &mut Device, now: OffsetDateTime) {
        for name in EDGE_MODULES {
            let module = Module {
                identity: Identity::new(self.next_generation(now), self.next_etag(), Authentication::None),
                managed_by: Some("iotEdge".into()),
            };
            device.modules.insert(name.into(), module);
        }
    }
}

pub(super) fn remove_edge_modules(device: &mut Device) {
    for name in EDGE_MODULES {
        device.modules.remove(name);
    }
}

fn leaf(registry: &Registry, id: &str, request: &DeviceRequest) -> Result<Family, Failure> {
    Ok(Family {
        scope: None,
        parents: parents(registry, id, request.scope.as_deref())?,
    })
}

/// Checks that the scope is that of an edge device. A scope holds its device's id, so no search is needed.
fn parents(registry: &Registry, id: &str, scope: Option<&str>) -> Result<Box<[Box<str>]>, Failure> {
    let Some(scope) = scope.filter(|scope| !scope.is_empty()) else {
        return Ok(Box::default());
    };
    let parent = scope
        .strip_prefix(SCHEME)
        .and_then(|rest| rest.rsplit_once('-'))
        .and_then(|(parent, _)| Some((parent, registry.devices.get(parent)?)))
        .filter(|(parent, device)| *parent != id && device.scope.as_deref() == Some(scope));
    if parent.is_none() {
        let text = format!("{scope} is not the scope of another edge device");
        return Err(Failure::new(HubErrorCode::InvalidDeviceScope, text));
    }
    Ok([scope.into()].into())
}

const SCHEME: &str = "ms-azure-iot-edge://";

const EDGE_MODULES: [&str; 2] = ["$edgeAgent", "$edgeHub"];

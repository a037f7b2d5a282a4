use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::{count, hub_record::Digits, moment::Moment, section};
use crate::hub::{
    Failure, Target,
    authentication::{Authentication, Key},
    configurations::Assignment,
    edge,
    registry::{Connection, Device, Identity, Module, Registry, Status},
    twin::Twin,
};

/// A device or a module with its twin. What is not mentioned is as with a new one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IdentityRecord {
    device_id: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    module_id: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation_id: Option<Digits>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "count::read_option"
    )]
    etag: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<StatusRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_reason: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_updated_time: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authentication: Option<AuthenticationRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    managed_by: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    iot_edge: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_scope: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    parent_scopes: Box<[Box<str>]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection_state_updated_time: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_activity_time: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model_id: Option<Box<str>>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "count::read_option"
    )]
    twin_version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tags: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    desired: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reported: Option<Box<RawValue>>,
    /// The configurations that are for the twin, the strongest first.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    configurations: Box<[Assignment]>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StatusRecord {
    Enabled,
    Disabled,
}

/// Keys are secrets, and stand here in clear.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum AuthenticationRecord {
    #[serde(rename_all = "camelCase")]
    Sas {
        primary_key: String,
        secondary_key: String,
    },
    #[serde(rename_all = "camelCase")]
    SelfSigned {
        primary_thumbprint: Option<Box<str>>,
        secondary_thumbprint: Option<Box<str>>,
    },
    CertificateAuthority,
    None,
}

impl IdentityRecord {
    pub(super) fn of(registry: &Registry, target: &Target) -> Option<Self> {
        let device = registry.device(target.device()).ok()?;
        // Taken apart, so that nothing can be added to an identity and forgotten here.
        let Some(module) = target.module() else {
            let Device {
                identity,
                status,
                edge,
                scope,
                parents,
                modules: _,
            } = device;
            let Status {
                disabled,
                reason,
                updated,
            } = status;
            let status = match disabled {
                true => StatusRecord::Disabled,
                false => StatusRecord::Enabled,
            };
            return Some(Self {
                status: Some(status),
                status_reason: reason.clone(),
                status_updated_time: updated.map(Moment),
                iot_edge: *edge,
                device_scope: scope.clone(),
                parent_scopes: parents.clone(),
                ..Self::common(target, identity)
            });
        };
        let Module { identity, managed_by } = device.modules.get(module)?;
        Some(Self {
            managed_by: managed_by.clone(),
            ..Self::common(target, identity)
        })
    }

    fn common(target: &Target, identity: &Identity) -> Self {
        let Identity {
            generation,
            etag,
            authentication,
            connection,
            model_id,
            twin,
            assignments,
            stored_session: _,
            queue: _,
        } = identity;
        let Twin {
            tags,
            desired,
            reported,
            revision: _,
        } = twin;
        Self {
            device_id: target.device().into(),
            module_id: target.module().map(Into::into),
            generation_id: Some(Digits(*generation)),
            etag: Some(*etag),
            status: None,
            status_reason: None,
            status_updated_time: None,
            authentication: Some(AuthenticationRecord::of(authentication)),
            managed_by: None,
            iot_edge: false,
            device_scope: None,
            parent_scopes: Box::default(),
            connection_state_updated_time: connection.updated.map(Moment),
            last_activity_time: connection.last_activity.map(Moment),
            model_id: model_id.clone(),
            twin_version: Some(twin.version()),
            tags: section::tags_record(tags),
            desired: section::record(desired),
            reported: section::record(reported),
            configurations: assignments.clone(),
        }
    }

    pub(super) fn restore_device(self, registry: &mut Registry, now: OffsetDateTime) -> Result<(), Failure> {
        let Target::Device(id) = Target::parse(&self.device_id, self.module_id.as_deref())? else {
            return Err(Failure::argument("a device has no moduleId"));
        };
        if self.managed_by.is_some() {
            return Err(Failure::argument("managedBy is for modules"));
        }
        let status = Status {
            disabled: self.status == Some(StatusRecord::Disabled),
            reason: self.status_reason.clone(),
            updated: self.status_updated_time.map(|Moment(time)| time),
        };
        let (edge, mut scope, parents) = (self.iot_edge, self.device_scope.clone(), self.parent_scopes.clone());
        let is_new = self.generation_id.is_none();
        let identity = self.into_identity(registry, now)?;
        let previous = registry.devices.remove(id.as_str());
        let (modules, identity) = match previous {
            Some(device) => (device.modules, identity.with_belongings_of(device.identity)),
            None => (BTreeMap::new(), identity),
        };
        if edge && is_new && scope.is_none() {
            scope = Some(edge::scope_of_new(id.as_str(), identity.generation));
        }
        let mut device = Device {
            identity,
            status,
            edge,
            scope,
            parents,
            modules,
        };
        if edge && is_new {
            registry.add_edge_modules(&mut device, now);
        }
        registry.devices.insert(id.as_str().into(), device);
        registry.note_family(id.as_str());
        Ok(())
    }

    pub(super) fn restore_module(self, registry: &mut Registry, now: OffsetDateTime) -> Result<(), Failure> {
        let target = Target::parse(&self.device_id, self.module_id.as_deref())?;
        let Some(id) = target.module() else {
            return Err(Failure::argument("a module needs a moduleId"));
        };
        if self.status.is_some() || self.status_reason.is_some() || self.iot_edge || self.device_scope.is_some() {
            return Err(Failure::argument("status, iotEdge and deviceScope are for devices"));
        }
        let managed_by = self.managed_by.clone();
        let identity = self.into_identity(registry, now)?;
        let modules = registry.modules_mut(target.device(), id)?;
        let identity = match modules.remove(id) {
            Some(previous) => identity.with_belongings_of(previous.identity),
            None => identity,
        };
        modules.insert(id.into(), Module { identity, managed_by });
        Ok(())
    }

    fn into_identity(self, registry: &mut Registry, now: OffsetDateTime) -> Result<Identity, Failure> {
        let generation = match self.generation_id {
            Some(Digits(generation)) => generation,
            None => registry.next_generation(now),
        };
        let etag = self.etag.unwrap_or_else(|| registry.next_etag());
        registry.count_on(generation, etag);
        let authentication = match self.authentication {
            Some(authentication) => authentication.read()?,
            None => Authentication::generated()?,
        };
        let mut twin = Twin {
            tags: section::read_tags(self.tags.as_deref())?,
            desired: section::read("desired", self.desired.as_deref(), now)?,
            reported: section::read("reported", self.reported.as_deref(), now)?,
            ..Twin::default()
        };
        if let Some(version) = self.twin_version {
            twin.set_version(version)?;
        }
        Ok(Identity {
            generation,
            etag,
            authentication,
            connection: Connection {
                // Whoever was connected is not any more.
                connected: false,
                updated: self.connection_state_updated_time.map(|Moment(time)| time),
                last_activity: self.last_activity_time.map(|Moment(time)| time),
            },
            model_id: self.model_id,
            twin,
            assignments: self.configurations,
            stored_session: None,
            queue: None,
        })
    }
}

impl Identity {
    /// What is stored in lines of its own goes on with the identity.
    fn with_belongings_of(self, previous: Self) -> Self {
        Self {
            queue: previous.queue,
            stored_session: previous.stored_session,
            ..self
        }
    }
}

impl AuthenticationRecord {
    fn of(authentication: &Authentication) -> Self {
        match authentication {
            Authentication::Sas(keys) => {
                let [primary_key, secondary_key] = keys.each_ref().map(Key::to_base64);
                Self::Sas {
                    primary_key,
                    secondary_key,
                }
            }
            Authentication::SelfSigned(thumbprints) => {
                let [primary_thumbprint, secondary_thumbprint] = (**thumbprints).clone();
                Self::SelfSigned {
                    primary_thumbprint,
                    secondary_thumbprint,
                }
            }
            Authentication::Authority => Self::CertificateAuthority,
            Authentication::None => Self::None,
        }
    }

    fn read(self) -> Result<Authentication, Failure> {
        Ok(match self {
            Self::Sas {
                primary_key,
                secondary_key,
            } => Authentication::Sas(Box::new([Key::parse(&primary_key)?, Key::parse(&secondary_key)?])),
            Self::SelfSigned {
                primary_thumbprint,
                secondary_thumbprint,
            } => Authentication::SelfSigned(Box::new([primary_thumbprint, secondary_thumbprint])),
            Self::CertificateAuthority => Authentication::Authority,
            Self::None => Authentication::None,
        })
    }
}

impl std::fmt::Debug for AuthenticationRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthenticationRecord")
    }
}

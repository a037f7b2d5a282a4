use std::{collections::BTreeMap, fs, io, path::Path};

use azure_core::{
    credentials::Secret,
    error::{ErrorKind, ResultExt},
};
use iothub_core::{Error, Result};
use serde::Deserialize;

use super::{DataAction, Failure, Rights, authentication::Key, options::wrong};
use crate::tls::{Secrecy, write};

/// A shared access policy: a name, two keys, and what their holder may do.
#[derive(Clone, Debug)]
pub(crate) struct SharedAccessPolicy {
    pub(crate) name: String,
    pub(crate) primary: Key,
    pub(crate) secondary: Key,
    pub(crate) rights: Rights,
}

/// A shared access policy that a hub is to have.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyOptions {
    /// Its name: 1 to 64 letters, digits and `-._@`.
    pub name: String,
    /// What its holder may do. Without it, what the policy of this name is born with.
    pub permissions: Vec<Permission>,
    /// The base64 of 16 to 64 bytes. Without it, that of the policy of this name, or a generated one.
    pub primary_key: Option<Secret>,
    /// The same.
    pub secondary_key: Option<Secret>,
}

/// What shared access policies are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum Permission {
    /// Identities, configurations, import and export jobs, statistics, all to read.
    RegistryRead,
    /// The same to read and to write.
    RegistryWrite,
    /// Everything that goes to running devices and comes from them.
    ServiceConnect,
    /// Everything a device does.
    DeviceConnect,
}

impl PolicyOptions {
    pub(super) fn check(&self) -> Result<()> {
        let name = &self.name;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._@".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
            return Err(wrong(format!(
                "hub.policies: {name:?} is not the name of a policy: 1 to 64 letters, digits and -._@"
            )));
        }
        if self.permissions.is_empty() && !DEFAULTS.iter().any(|(known, _)| known == name) {
            return Err(wrong(format!("hub.policies: {name} has no permissions")));
        }
        for key in [&self.primary_key, &self.secondary_key].into_iter().flatten() {
            Key::parse(key.secret()).map_err(|failure| wrong(format!("hub.policies: {name}: {}", failure.message)))?;
        }
        Ok(())
    }

    fn apply(&self, policies: &mut Vec<SharedAccessPolicy>) -> std::result::Result<(), Failure> {
        let at = match policies.iter().position(|known| known.name == self.name) {
            Some(at) => at,
            None => {
                policies.push(SharedAccessPolicy {
                    name: self.name.clone(),
                    primary: Key::generated()?,
                    secondary: Key::generated()?,
                    rights: Rights::NONE,
                });
                policies.len() - 1
            }
        };
        let policy = &mut policies[at];
        if let Some(key) = &self.primary_key {
            policy.primary = Key::parse(key.secret())?;
        }
        if let Some(key) = &self.secondary_key {
            policy.secondary = Key::parse(key.secret())?;
        }
        if !self.permissions.is_empty() {
            let permissions = self.permissions.iter();
            policy.rights = permissions.fold(Rights::NONE, |rights, permission| rights.and(permission.rights()));
        }
        Ok(())
    }
}

impl Permission {
    fn rights(self) -> Rights {
        match self {
            Self::RegistryRead => REGISTRY_READ,
            Self::RegistryWrite => REGISTRY_READ.and(REGISTRY_WRITE),
            Self::ServiceConnect => SERVICE_CONNECT,
            Self::DeviceConnect => DEVICE_CONNECT,
        }
    }
}

/// The policies that every hub is born with, changed as `options` say.
///
/// The keys of the former live in the data directory, if there is one; those in the options do not go there.
pub(crate) fn open(directory: Option<&Path>, options: &[PolicyOptions]) -> Result<Vec<SharedAccessPolicy>> {
    let mut policies = load_or_generate(directory)?;
    for policy in options {
        policy
            .apply(&mut policies)
            .map_err(|failure| Error::with_message(ErrorKind::Other, failure.message))?;
    }
    Ok(policies)
}

fn load_or_generate(directory: Option<&Path>) -> Result<Vec<SharedAccessPolicy>> {
    let Some(directory) = directory else {
        return generate();
    };
    let file = directory.join("policies.json");
    let text = match fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let policies = generate()?;
            let keys: BTreeMap<_, _> = policies
                .iter()
                .map(|policy| (&policy.name, [&policy.primary, &policy.secondary].map(Key::to_base64)))
                .collect();
            let text = serde_json::to_string_pretty(&keys).with_context(ErrorKind::DataConversion, "writing keys")?;
            write(&file, &text, Secrecy::Secret)?;
            return Ok(policies);
        }
        read => read.with_context_fn(ErrorKind::Io, || format!("reading {}", file.display()))?,
    };
    let wrong =
        |why: String| Error::with_message_fn(ErrorKind::DataConversion, || format!("{}: {why}", file.display()));
    let keys: BTreeMap<String, [String; 2]> =
        serde_json::from_str(&text).map_err(|error| wrong(format!("expected two keys a policy, {error}")))?;
    DEFAULTS
        .iter()
        .map(|(name, rights)| {
            let pair = keys
                .get(*name)
                .ok_or_else(|| wrong(format!("there are no keys for {name}")))?;
            let key = |text: &String| Key::parse(text).map_err(|failure| wrong(format!("{name}: {}", failure.message)));
            Ok(SharedAccessPolicy {
                name: (*name).to_owned(),
                primary: key(&pair[0])?,
                secondary: key(&pair[1])?,
                rights: *rights,
            })
        })
        .collect()
}

fn generate() -> Result<Vec<SharedAccessPolicy>> {
    let key = || Key::generated().map_err(|failure| Error::with_message(ErrorKind::Other, failure.message));
    DEFAULTS
        .iter()
        .map(|(name, rights)| {
            Ok(SharedAccessPolicy {
                name: (*name).to_owned(),
                primary: key()?,
                secondary: key()?,
                rights: *rights,
            })
        })
        .collect()
}

/// `RegistryRead`: identities, configurations, import and export jobs, statistics, all to read.
pub(crate) const REGISTRY_READ: Rights = Rights::of(&[
    DataAction::ReadDevices,
    DataAction::ReadConfigurations,
    DataAction::ReadTransfers,
    DataAction::ReadDeviceStatistics,
]);

/// `RegistryWrite`, without what `RegistryRead` has.
pub(crate) const REGISTRY_WRITE: Rights = Rights::of(&[
    DataAction::WriteDevices,
    DataAction::DeleteDevices,
    DataAction::WriteConfigurations,
    DataAction::DeleteConfigurations,
    DataAction::TestConfigurationQueries,
    DataAction::ApplyConfiguration,
    DataAction::WriteTransfers,
    DataAction::DeleteTransfers,
]);

/// `ServiceConnect`: everything that goes to running devices and comes from them.
pub(crate) const SERVICE_CONNECT: Rights = Rights::of(&[
    DataAction::ReadTwins,
    DataAction::WriteTwins,
    DataAction::InvokeMethods,
    DataAction::ReadJobs,
    DataAction::WriteJobs,
    DataAction::DeleteJobs,
    DataAction::SendMessages,
    DataAction::ReceiveFeedback,
    DataAction::PurgeMessages,
    DataAction::ReceiveFileNotifications,
    DataAction::ReadTelemetry,
    DataAction::ReadServiceStatistics,
]);

/// `DeviceConnect`: everything a device does.
pub(crate) const DEVICE_CONNECT: Rights = Rights::of(&[DataAction::Connect]);

/// The policies that every hub is born with.
const DEFAULTS: [(&str, Rights); 5] = [
    (
        "iothubowner",
        REGISTRY_READ
            .and(REGISTRY_WRITE)
            .and(SERVICE_CONNECT)
            .and(DEVICE_CONNECT),
    ),
    ("service", SERVICE_CONNECT),
    ("device", DEVICE_CONNECT),
    ("registryRead", REGISTRY_READ),
    ("registryReadWrite", REGISTRY_READ.and(REGISTRY_WRITE)),
];

use std::{collections::BTreeMap, fs, io, path::Path};

use azure_core::error::{ErrorKind, ResultExt};
use iothub_core::{Error, Result};

use super::{DataAction, Rights, authentication::Key};
use crate::tls::{Secrecy, write};

/// A shared access policy: a name, two keys, and what their holder may do.
#[derive(Clone, Debug)]
pub(crate) struct SharedAccessPolicy {
    pub(crate) name: String,
    pub(crate) primary: Key,
    pub(crate) secondary: Key,
    pub(crate) rights: Rights,
}

/// The policies that every hub is born with; their keys live in the data directory, if there is one.
pub(crate) fn load_or_generate(directory: Option<&Path>) -> Result<Vec<SharedAccessPolicy>> {
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

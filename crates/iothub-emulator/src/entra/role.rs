use serde::Deserialize;

use crate::hub::{DataAction, Rights};

/// A role that Azure has built in for the data of IoT hubs and of storage.
///
/// The management roles `Owner` and `Contributor` carry no data action, so an app that has only those may do nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[non_exhaustive]
pub enum Role {
    /// IoT Hub Data Contributor: everything.
    #[serde(rename = "IoT Hub Data Contributor")]
    DataContributor,
    /// IoT Hub Data Reader: reads everything, and receives file-upload notifications.
    #[serde(rename = "IoT Hub Data Reader")]
    DataReader,
    /// IoT Hub Registry Contributor: reads, writes and deletes identities.
    #[serde(rename = "IoT Hub Registry Contributor")]
    RegistryContributor,
    /// IoT Hub Twin Contributor: reads and writes twins.
    #[serde(rename = "IoT Hub Twin Contributor")]
    TwinContributor,
    /// Storage Blob Data Contributor: reads, writes and deletes blobs in the emulator's storage account, and nothing at
    /// the hub. The machine's managed identity has it, with which the hub itself reaches storage.
    #[serde(rename = "Storage Blob Data Contributor")]
    StorageBlobDataContributor,
}

impl Role {
    /// The data actions below `Microsoft.Devices/IotHubs/`, as the definition of the role has them.
    fn data_actions(self) -> &'static [&'static str] {
        match self {
            Self::DataContributor => &["*"],
            Self::DataReader => &["*/read", "fileUpload/notifications/action"],
            Self::RegistryContributor => &["devices/*"],
            Self::TwinContributor => &["twins/*"],
            Self::StorageBlobDataContributor => &[],
        }
    }

    pub(crate) fn rights(self) -> Rights {
        let granted = |action: &DataAction| self.data_actions().iter().any(|pattern| covers(pattern, action.name()));
        // Being a device is no data action of Entra.
        let actions: Vec<_> = DataAction::ALL
            .iter()
            .copied()
            .filter(|action| *action != DataAction::Connect && granted(action))
            .collect();
        Rights::of(&actions)
    }
}

/// In a pattern, one `*` stands for any text.
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => name.len() >= pattern.len() - 1 && name.starts_with(start) && name.ends_with(end),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_carries_the_data_actions_of_its_definition() {
        let names = |role: Role| -> Vec<_> {
            DataAction::ALL
                .iter()
                .filter(|action| role.rights().contains(**action))
                .map(|action| action.name())
                .collect()
        };
        assert_eq!(
            names(Role::RegistryContributor),
            ["devices/read", "devices/write", "devices/delete"]
        );
        assert_eq!(names(Role::TwinContributor), ["twins/read", "twins/write"]);
        let reader = names(Role::DataReader);
        assert!(reader.contains(&"fileUpload/notifications/action"));
        assert!(
            reader
                .iter()
                .all(|name| name.ends_with("/read") || name.starts_with("fileUpload"))
        );
        let contributor = names(Role::DataContributor);
        assert_eq!(contributor.len(), DataAction::ALL.len() - 1);
        assert!(!contributor.contains(&"deviceConnect"));
    }
}

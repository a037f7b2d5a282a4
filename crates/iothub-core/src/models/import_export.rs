use azure_core::{credentials::Secret, fmt::SafeDebug};
use serde::{Serialize, Serializer};

use super::JobType;

/// An export of the registry to a blob: one line of JSON for each device and module, as
/// [`ExportImportDevice`](super::ExportImportDevice).
///
/// # Examples
///
/// ```
/// use iothub_core::models::ExportDevices;
///
/// let export = ExportDevices::new("https://acct.blob.core.windows.net/backup?<token>").with_exclude_keys(true);
/// ```
#[derive(Clone, PartialEq, SafeDebug)]
#[safe(true)]
#[non_exhaustive]
pub struct ExportDevices {
    /// Where to: the address of a blob container. With [`StorageAuthentication::KeyBased`] it ends with a shared access
    /// signature that may read, write, delete, create and list.
    pub output_container: Secret,
    /// The blob, `devices.txt` unless named.
    pub output_blob_name: Option<String>,
    /// Whether to leave the keys out. An import of such a file has the hub make new keys.
    pub exclude_keys: bool,
    /// Whether configurations come along, in a blob of their own.
    pub include_configurations: bool,
    /// The blob for the configurations, `configurations.txt` unless named.
    pub configurations_blob_name: Option<String>,
    /// How the hub gets at the container.
    pub storage: StorageAuthentication,
}

impl ExportDevices {
    /// An export with keys and without configurations.
    pub fn new(output_container: impl Into<Secret>) -> Self {
        Self {
            output_container: output_container.into(),
            output_blob_name: None,
            exclude_keys: false,
            include_configurations: false,
            configurations_blob_name: None,
            storage: StorageAuthentication::default(),
        }
    }

    /// Sets [`output_blob_name`](Self::output_blob_name).
    #[must_use]
    pub fn with_output_blob_name(mut self, name: impl Into<String>) -> Self {
        self.output_blob_name = Some(name.into());
        self
    }

    /// Sets [`exclude_keys`](Self::exclude_keys).
    #[must_use]
    pub fn with_exclude_keys(mut self, exclude: bool) -> Self {
        self.exclude_keys = exclude;
        self
    }

    /// Has configurations come along, in the blob `configurations.txt` unless named.
    #[must_use]
    pub fn with_configurations(mut self, blob_name: Option<String>) -> Self {
        self.include_configurations = true;
        self.configurations_blob_name = blob_name;
        self
    }

    /// Sets [`storage`](Self::storage).
    #[must_use]
    pub fn with_storage(mut self, storage: StorageAuthentication) -> Self {
        self.storage = storage;
        self
    }
}

/// Changes to the registry from a blob: one line of JSON for each device and module, as
/// [`ExportImportDevice`](super::ExportImportDevice).
///
/// Lines that fail are listed in the blob `importErrors.log` of the output container; the job completes all the same.
#[derive(Clone, PartialEq, SafeDebug)]
#[safe(true)]
#[non_exhaustive]
pub struct ImportDevices {
    /// Where from: the address of a blob container, with a shared access signature as in
    /// [`ExportDevices::output_container`].
    pub input_container: Secret,
    /// Where errors are listed. May be the container of the input.
    pub output_container: Secret,
    /// The blob, `devices.txt` unless named.
    pub input_blob_name: Option<String>,
    /// Whether configurations come along, from a blob of their own.
    pub include_configurations: bool,
    /// The blob for the configurations, `configurations.txt` unless named.
    pub configurations_blob_name: Option<String>,
    /// How the hub gets at the containers.
    pub storage: StorageAuthentication,
}

impl ImportDevices {
    /// An import without configurations.
    pub fn new(input_container: impl Into<Secret>, output_container: impl Into<Secret>) -> Self {
        Self {
            input_container: input_container.into(),
            output_container: output_container.into(),
            input_blob_name: None,
            include_configurations: false,
            configurations_blob_name: None,
            storage: StorageAuthentication::default(),
        }
    }

    /// Sets [`input_blob_name`](Self::input_blob_name).
    #[must_use]
    pub fn with_input_blob_name(mut self, name: impl Into<String>) -> Self {
        self.input_blob_name = Some(name.into());
        self
    }

    /// Has configurations come along, from the blob `configurations.txt` unless named.
    #[must_use]
    pub fn with_configurations(mut self, blob_name: Option<String>) -> Self {
        self.include_configurations = true;
        self.configurations_blob_name = blob_name;
        self
    }

    /// Sets [`storage`](Self::storage).
    #[must_use]
    pub fn with_storage(mut self, storage: StorageAuthentication) -> Self {
        self.storage = storage;
        self
    }
}

/// How the hub gets at the blob containers of an import or export.
#[doc(alias = "StorageAuthenticationType")]
#[doc(alias = "ManagedIdentity")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageAuthentication {
    /// By the shared access signatures in the addresses.
    #[default]
    KeyBased,
    /// As the hub's system-assigned identity, which needs the role Storage Blob Data Contributor. Azure takes minutes to
    /// make a new role known; until then the hub answers `BlobContainerValidationError`.
    SystemAssignedIdentity,
    /// As a user-assigned identity of the hub, by its resource id
    /// (`/subscriptions/…/Microsoft.ManagedIdentity/userAssignedIdentities/…`).
    UserAssignedIdentity(String),
}

impl Serialize for ExportDevices {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire {
            kind: JobType::Export,
            input_blob_container_uri: None,
            input_blob_name: None,
            output_blob_container_uri: &self.output_container,
            output_blob_name: self.output_blob_name.as_deref(),
            exclude_keys_in_export: Some(self.exclude_keys),
            include_configurations: self.include_configurations,
            configurations_blob_name: self.configurations_blob_name.as_deref(),
            storage: StorageWire::from(&self.storage),
        }
        .serialize(serializer)
    }
}

impl Serialize for ImportDevices {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire {
            kind: JobType::Import,
            input_blob_container_uri: Some(&self.input_container),
            input_blob_name: self.input_blob_name.as_deref(),
            output_blob_container_uri: &self.output_container,
            output_blob_name: None,
            exclude_keys_in_export: None,
            include_configurations: self.include_configurations,
            configurations_blob_name: self.configurations_blob_name.as_deref(),
            storage: StorageWire::from(&self.storage),
        }
        .serialize(serializer)
    }
}

/// One shape for both on the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: JobType,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_blob_container_uri: Option<&'a Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_blob_name: Option<&'a str>,
    output_blob_container_uri: &'a Secret,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_blob_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclude_keys_in_export: Option<bool>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    include_configurations: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    configurations_blob_name: Option<&'a str>,
    #[serde(flatten)]
    storage: StorageWire<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StorageWire<'a> {
    storage_authentication_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Identity<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    user_assigned_identity: &'a str,
}

impl<'a> From<&'a StorageAuthentication> for StorageWire<'a> {
    fn from(storage: &'a StorageAuthentication) -> Self {
        let (storage_authentication_type, identity) = match storage {
            StorageAuthentication::KeyBased => ("keyBased", None),
            StorageAuthentication::SystemAssignedIdentity => ("identityBased", None),
            StorageAuthentication::UserAssignedIdentity(id) => (
                "identityBased",
                Some(Identity {
                    user_assigned_identity: id,
                }),
            ),
        };
        Self {
            storage_authentication_type,
            identity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_export_names_its_container_and_how_to_get_at_it() {
        let export = ExportDevices::new("https://acct.blob.core.windows.net/c?sig=x");
        assert_eq!(
            serde_json::to_value(&export).unwrap(),
            json!({
                "type": "export",
                "outputBlobContainerUri": "https://acct.blob.core.windows.net/c?sig=x",
                "excludeKeysInExport": false,
                "storageAuthenticationType": "keyBased",
            })
        );
        assert!(!format!("{export:?}").contains("sig"), "{export:?}");
    }

    #[test]
    fn an_import_as_an_identity_names_the_identity() {
        let storage = StorageAuthentication::UserAssignedIdentity("/subscriptions/s/i".to_owned());
        let import = ImportDevices::new("https://in", "https://out")
            .with_configurations(None)
            .with_storage(storage);
        assert_eq!(
            serde_json::to_value(&import).unwrap(),
            json!({
                "type": "import",
                "inputBlobContainerUri": "https://in",
                "outputBlobContainerUri": "https://out",
                "includeConfigurations": true,
                "storageAuthenticationType": "identityBased",
                "identity": { "userAssignedIdentity": "/subscriptions/s/i" },
            })
        );
    }
}

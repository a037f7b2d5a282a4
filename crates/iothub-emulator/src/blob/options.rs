use azure_core::{credentials::Secret, error::ErrorKind};
use iothub_core::{Error, Result};
use serde::Deserialize;

use super::foreign::ForeignAccount;

/// A storage account that devices upload their files to, in place of the emulator's own.
///
/// Devices dial it by HTTPS, whatever the connection string says: that is how Microsoft's SDKs are made.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileUploadOptions {
    /// The connection string of the account, with its key: one of Azure Storage, or an emulator's such as Azurite.
    pub connection_string: Secret,
    /// The container for the files, which has to be there.
    pub container: String,
}

impl FileUploadOptions {
    /// Refuses what names no container of an account.
    pub(crate) fn check(&self) -> Result<()> {
        let checked = super::door::check_container_name(&self.container)
            .map_err(|refusal| format!("container: {}", refusal.message()))
            .and_then(|()| ForeignAccount::parse(self.connection_string.secret()).map(drop));
        checked.map_err(|error| Error::with_message(ErrorKind::Other, format!("file_uploads: {error}")))
    }
}

use std::{fmt, sync::Arc};

use time::OffsetDateTime;

use super::{
    container::Blobs,
    containers::Containers,
    refusal::Refusal,
    sas::{Resource, ServiceSas},
};
use crate::{
    entra::Entra,
    hub::{Clock, Hub, authentication::Key},
};

/// A storage account with block blobs. Clones are handles to the same account.
#[derive(Clone)]
pub(crate) struct Account(Arc<Inner>);

struct Inner {
    /// Where it is, without a slash at the end.
    endpoint: String,
    clock: Clock,
    entra: Entra,
    containers: Containers,
}

impl Account {
    /// What the account goes by: the name that storage emulators have.
    pub(crate) const NAME: &'static str = "devstoreaccount1";

    /// The account with these containers.
    pub(crate) fn new(origin: &str, hub: &Hub, entra: Entra, containers: Containers) -> Self {
        Self(Arc::new(Inner {
            endpoint: format!("{origin}/{}", Self::NAME),
            clock: hub.clock().clone(),
            entra,
            containers,
        }))
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    pub(super) fn key(&self) -> Key {
        self.0.containers.key()
    }

    pub(super) fn entra(&self) -> &Entra {
        &self.0.entra
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        self.0.clock.now()
    }

    /// What a connection string for libraries of Azure Storage holds.
    pub(crate) fn connection_string(&self) -> String {
        format!(
            "DefaultEndpointsProtocol=https;AccountName={};AccountKey={};BlobEndpoint={};",
            Self::NAME,
            self.key().to_base64(),
            self.endpoint()
        )
    }

    /// The query of a URI that allows this much until then. `blob` narrows it to one blob.
    pub(crate) fn sas(
        &self,
        container: &str,
        blob: Option<&str>,
        permissions: &str,
        expires: OffsetDateTime,
    ) -> String {
        let resource = Resource { container, blob };
        ServiceSas::new(resource, permissions, expires).sign(&self.key())
    }

    /// Makes a container unless there is one by that name.
    pub(super) fn ensure_container(&self, name: &str) {
        self.0.containers.ensure(name, self.now());
    }

    pub(super) fn create_container(&self, name: &str) -> Result<(), Refusal> {
        self.0.containers.create(name, self.now())
    }

    pub(super) async fn persisted(&self) -> Result<(), Refusal> {
        self.0.containers.persisted().await
    }

    pub(super) fn read<T>(
        &self,
        container: &str,
        read: impl FnOnce(&Blobs) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.0.containers.read(container, read)
    }

    pub(super) fn write<T>(
        &self,
        container: &str,
        write: impl FnOnce(&mut Blobs) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.0.containers.write(container, write)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("endpoint", &self.endpoint())
            .finish_non_exhaustive()
    }
}

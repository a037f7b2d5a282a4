use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use time::OffsetDateTime;

use super::{
    container::Blobs,
    refusal::Refusal,
    sas::{Resource, ServiceSas},
};
use crate::{
    entra::Entra,
    hub::{Clock, Failure, Hub, authentication::Key},
};

/// A storage account with block blobs, in memory. Clones are handles to the same account.
#[derive(Clone)]
pub(crate) struct Account(Arc<Inner>);

struct Inner {
    /// Where it is, without a slash at the end.
    endpoint: String,
    key: Key,
    clock: Clock,
    entra: Entra,
    containers: RwLock<BTreeMap<String, Blobs>>,
}

impl Account {
    /// What the account goes by: the name that storage emulators have.
    pub(crate) const NAME: &'static str = "devstoreaccount1";

    /// An empty account with a new key.
    pub(crate) fn new(origin: &str, hub: &Hub, entra: Entra) -> Result<Self, Failure> {
        Ok(Self(Arc::new(Inner {
            endpoint: format!("{origin}/{}", Self::NAME),
            key: Key::generated()?,
            clock: hub.clock().clone(),
            entra,
            containers: RwLock::default(),
        })))
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    pub(super) fn key(&self) -> &Key {
        &self.0.key
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
        ServiceSas::new(resource, permissions, expires).sign(self.key())
    }

    /// Makes a container unless there is one by that name.
    pub(super) fn ensure_container(&self, name: &str) {
        let now = self.now();
        let mut containers = self.containers_mut();
        containers.entry(name.to_owned()).or_insert_with(|| Blobs::new(now));
    }

    pub(super) fn create_container(&self, name: &str) -> Result<(), Refusal> {
        let now = self.now();
        let mut containers = self.containers_mut();
        if containers.contains_key(name) {
            return Err(Refusal::ContainerAlreadyExists);
        }
        containers.insert(name.to_owned(), Blobs::new(now));
        Ok(())
    }

    pub(super) fn read<T>(
        &self,
        container: &str,
        read: impl FnOnce(&Blobs) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        read(self.containers().get(container).ok_or(Refusal::ContainerNotFound)?)
    }

    pub(super) fn write<T>(
        &self,
        container: &str,
        write: impl FnOnce(&mut Blobs) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        write(
            self.containers_mut()
                .get_mut(container)
                .ok_or(Refusal::ContainerNotFound)?,
        )
    }

    fn containers(&self) -> RwLockReadGuard<'_, BTreeMap<String, Blobs>> {
        self.0.containers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn containers_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Blobs>> {
        self.0.containers.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("endpoint", &self.endpoint())
            .finish_non_exhaustive()
    }
}

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use time::OffsetDateTime;

use super::{container::Blobs, door::check_container_name, refusal::Refusal};
use crate::hub::{Failure, authentication, changes::Changes, key::Key};

/// The containers of a storage account, and the key that it signs with. Clones are handles to the same.
#[derive(Clone)]
pub(crate) struct Containers(Arc<Inner>);

struct Inner {
    key: RwLock<authentication::Key>,
    all: RwLock<BTreeMap<String, Blobs>>,
    changes: Changes,
}

impl Containers {
    /// None yet, and a new key.
    pub(crate) fn new(changes: &Changes) -> Result<Self, Failure> {
        Ok(Self(Arc::new(Inner {
            key: RwLock::new(authentication::Key::generated()?),
            all: RwLock::default(),
            changes: changes.clone(),
        })))
    }

    pub(crate) fn key(&self) -> authentication::Key {
        self.0.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Signs with another key from now on.
    pub(crate) fn set_key(&self, key: authentication::Key) {
        *self.0.key.write().unwrap_or_else(PoisonError::into_inner) = key;
        self.0.changes.note(|| Key::Storage);
    }

    /// Makes a container unless there is one by that name.
    pub(super) fn ensure(&self, name: &str, now: OffsetDateTime) {
        // That there is one is no reason to wait for those who write.
        if !self.all().contains_key(name) {
            let _ = self.create(name, now);
        }
    }

    pub(super) fn create(&self, name: &str, now: OffsetDateTime) -> Result<(), Refusal> {
        let mut all = self.all_mut();
        if all.contains_key(name) {
            return Err(Refusal::ContainerAlreadyExists);
        }
        self.0.changes.note(|| Key::Container(name.into()));
        all.insert(name.to_owned(), Blobs::new(name, now, self.0.changes.clone()));
        Ok(())
    }

    pub(crate) fn read<T>(
        &self,
        container: &str,
        read: impl FnOnce(&Blobs) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        read(self.all().get(container).ok_or(Refusal::ContainerNotFound)?)
    }

    pub(crate) fn write<T>(
        &self,
        container: &str,
        write: impl FnOnce(&mut Blobs) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        write(self.all_mut().get_mut(container).ok_or(Refusal::ContainerNotFound)?)
    }

    /// Puts a container back that was stored, or lets the one that is there count on from it.
    pub(crate) fn restore(&self, name: &str, modified: OffsetDateTime, writes: u64) -> Result<(), Failure> {
        check_container_name(name).map_err(|refusal| Failure::argument(format!("{name:?}: {}", refusal.message())))?;
        self.ensure(name, modified);
        let restored = self.write(name, |blobs| {
            blobs.restore_container(modified, writes);
            Ok(())
        });
        restored.map_err(|refusal| Failure::argument(refusal.message()))
    }

    /// Changes what is in a container, if it is there.
    pub(crate) fn change(&self, container: &str, change: impl FnOnce(&mut Blobs)) {
        if let Some(blobs) = self.all_mut().get_mut(container) {
            change(blobs);
        }
    }

    /// Takes a container out.
    pub(crate) fn forget(&self, name: &str) {
        self.all_mut().remove(name);
    }

    /// Returns when everything that was written so far would survive a crash.
    pub(super) async fn persisted(&self) -> Result<(), Refusal> {
        // The log of the one who stores says more.
        self.0.changes.persisted().await.map_err(|_| Refusal::InternalError)
    }

    /// The keys of everything in the account.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let all = self.all();
        let keys = all.values().flat_map(Blobs::keys);
        [Key::Storage].into_iter().chain(keys).collect()
    }

    fn all(&self) -> RwLockReadGuard<'_, BTreeMap<String, Blobs>> {
        self.0.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Blobs>> {
        self.0.all.write().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The storage account in records: blobs by what they consist of.

use ::bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Moment, bytes, count};
use crate::{
    blob::{Blob, Block, Containers, Version},
    hub::{Failure, authentication::Key},
};

/// The key that shared access signatures of the account are made with. It is a secret.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StorageRecord {
    account_key: String,
}

/// A container of blobs. What is not mentioned is as with a new one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ContainerRecord {
    name: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<Moment>,
    /// The last number that a block or blob was given.
    #[serde(default, deserialize_with = "count::read")]
    writes: u64,
}

/// A part of a blob, or one that waits to become that.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BlockRecord {
    container: Box<str>,
    blob: Box<str>,
    #[serde(deserialize_with = "count::read")]
    number: u64,
    /// As the client called it; empty for a blob that was written as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    block_id: String,
    #[serde(with = "bytes")]
    contents: Bytes,
}

/// A blob. Its blocks stand before it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BlobRecord {
    container: Box<str>,
    name: Box<str>,
    /// The number of the write that made it, which its tag holds.
    #[serde(default, deserialize_with = "count::read")]
    version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<Moment>,
    content_type: String,
    /// The numbers of its blocks, in their order.
    blocks: Vec<u64>,
}

impl StorageRecord {
    pub(super) fn of(containers: &Containers) -> Self {
        Self {
            account_key: containers.key().to_base64(),
        }
    }

    pub(super) fn restore(self, containers: &Containers) -> Result<(), Failure> {
        containers.set_key(Key::parse(&self.account_key)?);
        Ok(())
    }
}

impl ContainerRecord {
    pub(super) fn of(containers: &Containers, name: &str) -> Option<Self> {
        let (version, writes) = containers
            .read(name, |blobs| Ok((blobs.version(), blobs.writes())))
            .ok()?;
        Some(Self {
            name: name.into(),
            last_modified: Some(Moment(version.modified)),
            writes,
        })
    }

    pub(super) fn restore(self, containers: &Containers, now: OffsetDateTime) -> Result<(), Failure> {
        let modified = self.last_modified.map_or(now, |Moment(time)| time);
        containers.restore(&self.name, modified, self.writes)
    }
}

impl BlockRecord {
    pub(super) fn of(containers: &Containers, container: &str, blob: &str, number: u64) -> Option<Self> {
        let block = containers.read(container, |blobs| Ok(blobs.block(blob, number).cloned()));
        let block = block.ok()??;
        Some(Self {
            container: container.into(),
            blob: blob.into(),
            number,
            block_id: block.id,
            contents: block.contents.to_bytes(),
        })
    }

    pub(super) fn restore(self, containers: &Containers) -> Result<(), Failure> {
        let block = Block {
            id: self.block_id,
            contents: self.contents.into(),
        };
        let restored = containers.write(&self.container, |blobs| {
            blobs.restore_block(&self.blob, self.number, block);
            Ok(())
        });
        restored.map_err(|_| no_container(&self.container))
    }
}

impl BlobRecord {
    pub(super) fn of(containers: &Containers, container: &str, name: &str) -> Option<Self> {
        let Blob {
            version,
            created,
            content_type,
            contents: _,
            blocks,
        } = containers.read(container, |blobs| blobs.get(name).cloned()).ok()?;
        Some(Self {
            container: container.into(),
            name: name.into(),
            version: version.number,
            created: Some(Moment(created)),
            last_modified: Some(Moment(version.modified)),
            content_type,
            blocks,
        })
    }

    pub(super) fn restore(self, containers: &Containers, now: OffsetDateTime) -> Result<(), Failure> {
        let modified = self.last_modified.map_or(now, |Moment(time)| time);
        let version = Version {
            number: self.version,
            modified,
        };
        let created = self.created.map_or(modified, |Moment(time)| time);
        let restored = containers.write(&self.container, |blobs| {
            Ok(blobs.restore(&self.name, version, created, self.content_type, self.blocks))
        });
        match restored {
            Ok(true) => Ok(()),
            Ok(false) => {
                let text = format!("not all blocks of the blob {} stand before it", self.name);
                Err(Failure::argument(text))
            }
            Err(_) => Err(no_container(&self.container)),
        }
    }
}

impl std::fmt::Debug for StorageRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StorageRecord")
    }
}

fn no_container(name: &str) -> Failure {
    Failure::argument(format!(
        "there is no container {name}, which has to stand before what is in it"
    ))
}

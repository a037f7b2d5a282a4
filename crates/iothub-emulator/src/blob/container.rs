use std::collections::{BTreeMap, HashMap};

use time::OffsetDateTime;

use super::{
    block_list::{From, Reference},
    condition::Condition,
    contents::Contents,
    refusal::Refusal,
};

/// A container of block blobs.
#[derive(Debug)]
pub(crate) struct Blobs {
    pub(super) version: Version,
    pub(super) blobs: BTreeMap<String, Blob>,
    /// Blocks that wait for a list which names them, by blob and block id.
    staged: HashMap<String, HashMap<String, Contents>>,
    writes: u64,
}

/// A block blob.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(super) version: Version,
    pub(super) created: OffsetDateTime,
    pub(super) content_type: String,
    pub(super) contents: Contents,
    blocks: Vec<(String, Contents)>,
}

/// When something was last written, and which write that was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version {
    pub(super) number: u64,
    pub(super) modified: OffsetDateTime,
}

/// What a write needs besides the bytes.
#[derive(Debug)]
pub(crate) struct Put {
    pub(super) content_type: String,
    pub(super) condition: Condition,
    /// Whoever may only create must not overwrite.
    pub(super) may_overwrite: bool,
}

impl Blobs {
    pub(super) fn new(now: OffsetDateTime) -> Self {
        Self {
            version: Version {
                number: 0,
                modified: now,
            },
            blobs: BTreeMap::new(),
            staged: HashMap::new(),
            writes: 0,
        }
    }

    pub(super) fn get(&self, name: &str) -> Result<&Blob, Refusal> {
        self.blobs.get(name).ok_or(Refusal::BlobNotFound)
    }

    pub(super) fn put(
        &mut self,
        name: &str,
        contents: Contents,
        put: Put,
        now: OffsetDateTime,
    ) -> Result<Version, Refusal> {
        self.check_put(name, &put)?;
        Ok(self.insert(name, contents, Vec::new(), put.content_type, now))
    }

    pub(super) fn put_block(&mut self, name: &str, id: String, contents: Contents) {
        self.staged.entry(name.to_owned()).or_default().insert(id, contents);
    }

    /// Makes a blob of blocks; blocks that the list does not name are forgotten.
    pub(super) fn put_block_list(
        &mut self,
        name: &str,
        list: &[Reference],
        put: Put,
        now: OffsetDateTime,
    ) -> Result<Version, Refusal> {
        self.check_put(name, &put)?;
        let (mut contents, mut blocks) = (Contents::default(), Vec::with_capacity(list.len()));
        for reference in list {
            let block = self.block(name, reference).ok_or(Refusal::InvalidBlockList)?;
            contents.extend(block);
            blocks.push((reference.id.clone(), block.clone()));
        }
        Ok(self.insert(name, contents, blocks, put.content_type, now))
    }

    pub(super) fn delete(&mut self, name: &str, condition: &Condition) -> Result<(), Refusal> {
        condition.check(Some(self.get(name)?.version))?;
        self.blobs.remove(name);
        self.staged.remove(name);
        Ok(())
    }

    fn check_put(&self, name: &str, put: &Put) -> Result<(), Refusal> {
        let stored = self.blobs.get(name);
        if stored.is_some() && !put.may_overwrite {
            return Err(Refusal::AuthorizationPermissionMismatch);
        }
        put.condition.check(stored.map(|blob| blob.version))
    }

    fn block(&self, name: &str, reference: &Reference) -> Option<&Contents> {
        let staged = || self.staged.get(name)?.get(&reference.id);
        let committed = || {
            let blocks = &self.blobs.get(name)?.blocks;
            blocks
                .iter()
                .find(|(id, _)| *id == reference.id)
                .map(|(_, block)| block)
        };
        match reference.from {
            From::Uncommitted => staged(),
            From::Committed => committed(),
            From::Latest => staged().or_else(committed),
        }
    }

    fn insert(
        &mut self,
        name: &str,
        contents: Contents,
        blocks: Vec<(String, Contents)>,
        content_type: String,
        now: OffsetDateTime,
    ) -> Version {
        self.staged.remove(name);
        self.writes += 1;
        let version = Version {
            number: self.writes,
            modified: now,
        };
        let created = self.blobs.get(name).map_or(now, |blob| blob.created);
        let blob = Blob {
            version,
            created,
            content_type,
            contents,
            blocks,
        };
        self.blobs.insert(name.to_owned(), blob);
        version
    }
}

impl Version {
    /// The tag, with its quotes.
    pub(super) fn etag(self) -> String {
        let seconds = self.modified.unix_timestamp();
        format!("\"0x{seconds:X}{:06X}\"", self.number)
    }
}

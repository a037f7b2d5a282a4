use std::collections::{BTreeMap, HashMap};

use time::OffsetDateTime;

use super::{
    block_list::{From, Reference},
    condition::Condition,
    contents::Contents,
    refusal::Refusal,
};
use crate::hub::{changes::Changes, key::Key};

/// A container of block blobs.
#[derive(Debug)]
pub(crate) struct Blobs {
    name: Box<str>,
    pub(super) version: Version,
    pub(super) blobs: BTreeMap<String, Blob>,
    /// By blob and number: those that blobs consist of, and those that wait for a list which names them.
    blocks: BTreeMap<(Box<str>, u64), Block>,
    /// The last number of a block or version.
    writes: u64,
    changes: Changes,
}

/// A block blob.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) version: Version,
    pub(crate) created: OffsetDateTime,
    pub(crate) content_type: String,
    pub(crate) contents: Contents,
    /// The numbers of its blocks. One that was written as a whole has a single block.
    pub(crate) blocks: Vec<u64>,
}

/// A part of a blob.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// As the client called it, in base64; empty for a blob that was written as a whole.
    pub(crate) id: String,
    pub(crate) contents: Contents,
}

/// When something was last written, and which write that was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version {
    pub(crate) number: u64,
    pub(crate) modified: OffsetDateTime,
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
    pub(super) fn new(name: &str, now: OffsetDateTime, changes: Changes) -> Self {
        Self {
            name: name.into(),
            version: Version {
                number: 0,
                modified: now,
            },
            blobs: BTreeMap::new(),
            blocks: BTreeMap::new(),
            writes: 0,
            changes,
        }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn writes(&self) -> u64 {
        self.writes
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Blob, Refusal> {
        self.blobs.get(name).ok_or(Refusal::BlobNotFound)
    }

    /// A block of a blob, or one that waits to become that.
    pub(crate) fn block(&self, name: &str, number: u64) -> Option<&Block> {
        self.blocks.get(&(name.into(), number))
    }

    pub(super) fn put(
        &mut self,
        name: &str,
        contents: Contents,
        put: Put,
        now: OffsetDateTime,
    ) -> Result<Version, Refusal> {
        self.check_put(name, &put)?;
        let id = String::new();
        let number = self.add(name, Block { id, contents });
        Ok(self.insert(name, vec![number], put.content_type, now))
    }

    pub(super) fn put_block(&mut self, name: &str, id: String, contents: Contents) {
        let committed = self.blobs.get(name).map_or(&[][..], |blob| &blob.blocks);
        let same = self
            .blocks_of(name)
            .find(|(number, block)| block.id == id && !committed.contains(number));
        if let Some(number) = same.map(|(number, _)| number) {
            self.remove_block(name, number);
        }
        self.add(name, Block { id, contents });
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
        let stored = self.blobs.get(name).map_or(&[][..], |blob| &blob.blocks);
        let (mut committed, mut uncommitted) = (HashMap::new(), HashMap::new());
        for (number, block) in self.blocks_of(name) {
            match stored.contains(&number) {
                true => committed.insert(block.id.as_str(), number),
                false => uncommitted.insert(block.id.as_str(), number),
            };
        }
        let find = |reference: &Reference| {
            let id = reference.id.as_str();
            let found = match reference.from {
                From::Uncommitted => uncommitted.get(id),
                From::Committed => committed.get(id),
                From::Latest => uncommitted.get(id).or_else(|| committed.get(id)),
            };
            found.copied().ok_or(Refusal::InvalidBlockList)
        };
        let numbers = list.iter().map(find).collect::<Result<_, _>>()?;
        Ok(self.insert(name, numbers, put.content_type, now))
    }

    pub(super) fn delete(&mut self, name: &str, condition: &Condition) -> Result<(), Refusal> {
        condition.check(Some(self.get(name)?.version))?;
        self.forget(name);
        self.keep_blocks(name, &[]);
        Ok(())
    }

    /// Puts a block back that was stored.
    pub(crate) fn restore_block(&mut self, name: &str, number: u64, block: Block) {
        self.writes = self.writes.max(number);
        self.note_block(name, number);
        self.blocks.insert((name.into(), number), block);
    }

    /// Puts a blob back that was stored. False if not all of its blocks are there.
    pub(crate) fn restore(
        &mut self,
        name: &str,
        version: Version,
        created: OffsetDateTime,
        content_type: String,
        blocks: Vec<u64>,
    ) -> bool {
        let Some(contents) = self.contents(name, &blocks) else {
            return false;
        };
        self.writes = self.writes.max(version.number);
        self.note(name);
        let blob = Blob {
            version,
            created,
            content_type,
            contents,
            blocks,
        };
        self.blobs.insert(name.to_owned(), blob);
        true
    }

    /// Takes a blob out. Its blocks are gone by themselves.
    pub(crate) fn forget(&mut self, name: &str) {
        self.note(name);
        self.blobs.remove(name);
    }

    pub(crate) fn forget_block(&mut self, name: &str, number: u64) {
        self.blocks.remove(&(name.into(), number));
    }

    /// Counts on from where the container was.
    pub(super) fn restore_container(&mut self, modified: OffsetDateTime, writes: u64) {
        self.version.modified = modified;
        self.writes = self.writes.max(writes);
    }

    /// The keys of the container and of what is in it.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        let blocks = self.blocks.keys();
        let blocks = blocks.map(|(blob, number)| Key::Block(self.name.clone(), blob.clone(), *number));
        let blobs = self
            .blobs
            .keys()
            .map(|blob| Key::Blob(self.name.clone(), blob.as_str().into()));
        [Key::Container(self.name.clone())]
            .into_iter()
            .chain(blocks)
            .chain(blobs)
    }

    fn check_put(&self, name: &str, put: &Put) -> Result<(), Refusal> {
        let stored = self.blobs.get(name);
        if stored.is_some() && !put.may_overwrite {
            return Err(Refusal::AuthorizationPermissionMismatch);
        }
        put.condition.check(stored.map(|blob| blob.version))
    }

    fn blocks_of(&self, name: &str) -> impl Iterator<Item = (u64, &Block)> {
        let all = (name.into(), 0)..=(name.into(), u64::MAX);
        self.blocks.range(all).map(|((_, number), block)| (*number, block))
    }

    /// The contents of blocks, one after the other. `None` if not all are there.
    fn contents(&self, name: &str, blocks: &[u64]) -> Option<Contents> {
        let mut contents = Contents::default();
        for number in blocks {
            contents.extend(&self.block(name, *number)?.contents);
        }
        Some(contents)
    }

    fn add(&mut self, name: &str, block: Block) -> u64 {
        let number = self.next_number();
        self.note_block(name, number);
        self.blocks.insert((name.into(), number), block);
        number
    }

    fn insert(&mut self, name: &str, blocks: Vec<u64>, content_type: String, now: OffsetDateTime) -> Version {
        let version = Version {
            number: self.next_number(),
            modified: now,
        };
        self.note(name);
        self.keep_blocks(name, &blocks);
        let blob = Blob {
            version,
            created: self.blobs.get(name).map_or(now, |blob| blob.created),
            content_type,
            // They have been found before.
            contents: self.contents(name, &blocks).unwrap_or_default(),
            blocks,
        };
        self.blobs.insert(name.to_owned(), blob);
        version
    }

    /// Forgets all blocks of a blob but these.
    fn keep_blocks(&mut self, name: &str, kept: &[u64]) {
        let others = self.blocks_of(name).map(|(number, _)| number);
        let others: Vec<u64> = others.filter(|number| !kept.contains(number)).collect();
        for number in others {
            self.remove_block(name, number);
        }
    }

    fn remove_block(&mut self, name: &str, number: u64) {
        self.note_block(name, number);
        self.blocks.remove(&(name.into(), number));
    }

    fn next_number(&mut self) -> u64 {
        self.writes += 1;
        self.changes.note(|| Key::Container(self.name.clone()));
        self.writes
    }

    fn note(&self, blob: &str) {
        self.changes.note(|| Key::Blob(self.name.clone(), blob.into()));
    }

    fn note_block(&self, blob: &str, number: u64) {
        self.changes.note(|| Key::Block(self.name.clone(), blob.into(), number));
    }
}

impl Version {
    /// The tag, with its quotes.
    pub(super) fn etag(self) -> String {
        let seconds = self.modified.unix_timestamp();
        format!("\"0x{seconds:X}{:06X}\"", self.number)
    }
}

use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use time::OffsetDateTime;

use super::{
    Failure,
    property_tree::{Node, Stamp, write_metadata},
    twin_request::{SectionChange, TwinRequest},
};

/// Tags, desired and reported properties.
///
/// Kept as compact JSON text, because most twins are read more often than written and there may be a million of them.
#[derive(Debug)]
pub(crate) struct Twin {
    pub(crate) tags: Box<str>,
    pub(crate) desired: Section,
    pub(crate) reported: Section,
    /// Counts writes of tags and desired properties; the tag is made of it.
    pub(crate) revision: u64,
}

/// A section of properties with the times of its members.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) text: Box<str>,
    pub(crate) version: u64,
    /// When each object and leaf was written, in the order in which they stand in the text.
    stamps: Box<[Stamp]>,
}

/// Whether a write adds to what is there or takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Merge,
    Replace,
}

impl Twin {
    /// Changes tags and desired properties, or leaves everything as it was. Says whether anything was asked for.
    pub(crate) fn write(&mut self, request: &TwinRequest, write: Write, now: OffsetDateTime) -> Result<bool, Failure> {
        let changed = |change: &SectionChange| write == Write::Replace || !change.is_nothing();
        let (write_tags, write_desired) = (changed(&request.tags), changed(&request.desired));
        let tags = match write_tags {
            true => Some(rewritten(&self.tags, &[], &request.tags, write, Stamp::NONE, MAX_TAGS)?),
            false => None,
        };
        if write_desired {
            self.desired.write(&request.desired, write, now)?;
        }
        if let Some(tags) = tags {
            self.tags = tags.text().into();
        }
        self.revision += u64::from(write_tags || write_desired);
        Ok(write_tags || write_desired)
    }

    /// The tag, without quotes.
    pub(crate) fn etag(&self) -> String {
        BASE64_STANDARD.encode(self.revision.to_be_bytes())
    }

    /// Desired and reported properties, as twins show them.
    pub(crate) fn properties(&self) -> String {
        let mut json = String::new();
        self.write_properties(&mut json);
        json
    }

    pub(crate) fn write_properties(&self, json: &mut String) {
        json.push_str("{\"desired\":");
        self.desired.write_document(true, json);
        json.push_str(",\"reported\":");
        self.reported.write_document(false, json);
        json.push('}');
    }

    /// Takes up a version that was read.
    pub(crate) fn set_version(&mut self, version: u64) -> Result<(), Failure> {
        let revision = version.checked_sub(1).filter(|revision| *revision > 0);
        self.revision = revision.ok_or_else(|| Failure::argument("the version of a twin is 2 or more"))?;
        Ok(())
    }

    /// The number that counts tags and desired properties together. It has always been one ahead of the tag.
    pub(crate) fn version(&self) -> u64 {
        self.revision + 1
    }
}

impl Section {
    /// A section that was read.
    pub(crate) fn restored(tree: &Node, version: u64) -> Result<Self, Failure> {
        check_size(tree, MAX_PROPERTIES)?;
        Ok(Self {
            text: tree.text().into(),
            version,
            stamps: tree.stamps(),
        })
    }

    pub(crate) fn write(&mut self, change: &SectionChange, write: Write, now: OffsetDateTime) -> Result<(), Failure> {
        let version = self.version + 1;
        let stamp = Stamp::new(now, version);
        let tree = rewritten(&self.text, &self.stamps, change, write, stamp, MAX_PROPERTIES)?;
        self.stamps = tree.stamps();
        self.text = tree.text().into();
        self.version = version;
        Ok(())
    }

    /// Puts values where paths lead. Nothing changes, not even the version, if they are there already.
    pub(crate) fn set<'a>(
        &mut self,
        values: impl Iterator<Item = (&'a [Box<str>], &'a Node)>,
        now: OffsetDateTime,
    ) -> Result<bool, Failure> {
        let version = self.version + 1;
        let stamp = Stamp::new(now, version);
        let mut tree = self.tree();
        for (path, value) in values {
            tree.set(path, value, stamp);
        }
        let text = tree.text();
        if *text == *self.text {
            return Ok(false);
        }
        check_size(&tree, MAX_PROPERTIES)?;
        self.stamps = tree.stamps();
        self.text = text.into();
        self.version = version;
        Ok(true)
    }

    /// The section with the times of its members.
    pub(crate) fn tree(&self) -> Node {
        Node::parse(&self.text, &self.stamps)
    }

    /// The section as twins show it, with `$metadata` and `$version`.
    pub(crate) fn document(&self, with_versions: bool) -> String {
        let mut json = String::new();
        self.write_document(with_versions, &mut json);
        json
    }

    fn write_document(&self, with_versions: bool, json: &mut String) {
        json.push_str(self.text.strip_suffix('}').unwrap_or(&self.text));
        if *self.text != *EMPTY {
            json.push(',');
        }
        json.push_str("\"$metadata\":");
        write_metadata(&self.text, &self.stamps, with_versions, json);
        let _ = write!(json, ",\"$version\":{}}}", self.version);
    }
}

impl Default for Twin {
    fn default() -> Self {
        Self {
            tags: EMPTY.into(),
            desired: Section::default(),
            reported: Section::default(),
            revision: 1,
        }
    }
}

impl Default for Section {
    fn default() -> Self {
        Self {
            text: EMPTY.into(),
            version: 1,
            stamps: Box::default(),
        }
    }
}

fn rewritten(
    text: &str,
    stamps: &[Stamp],
    change: &SectionChange,
    write: Write,
    stamp: Stamp,
    limit: usize,
) -> Result<Node, Failure> {
    let mut tree = match (write, change) {
        (Write::Merge, SectionChange::Nothing | SectionChange::Members(_)) => Node::parse(text, stamps),
        (Write::Replace, _) | (_, SectionChange::Clear) => Node::empty(),
    };
    tree.touch(stamp);
    if let SectionChange::Members(members) = change {
        tree.merge(members, stamp);
    }
    check_size(&tree, limit)?;
    Ok(tree)
}

fn check_size(tree: &Node, limit: usize) -> Result<(), Failure> {
    let size = tree.size();
    if size > limit {
        let text = format!("the section would have {size} bytes, and {limit} is the most");
        return Err(Failure::argument(text));
    }
    Ok(())
}

const EMPTY: &str = "{}";

/// The published limits.
const MAX_TAGS: usize = 8 * 1024;
const MAX_PROPERTIES: usize = 32 * 1024;

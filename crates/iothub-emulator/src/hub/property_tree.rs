use std::{borrow::Cow, collections::HashSet, fmt::Write as _, slice};

use serde_json::value::RawValue;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    json_text::{RawMembers, quoted},
    timestamp,
};

/// A section of a twin as a tree, to be changed and written back. Leaves keep their JSON text; arrays are leaves.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    stamp: Stamp,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Object(Vec<(String, Node)>),
    Leaf(Box<str>),
}

/// When a node was last written, and with which version of its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    nanoseconds: i64,
    version: u64,
}

impl Stamp {
    /// Of what was never written, and of tags, which have no times.
    pub(crate) const NONE: Self = Self {
        nanoseconds: i64::MIN,
        version: 0,
    };

    pub(crate) fn new(time: OffsetDateTime, version: u64) -> Self {
        Self {
            nanoseconds: i64::try_from(time.unix_timestamp_nanos()).unwrap_or(i64::MAX),
            version,
        }
    }

    /// What `time` and `version` of `$metadata` say.
    fn parse(time: &str, version: u64) -> Result<Self, String> {
        if time == timestamp::NEVER {
            return Ok(Self::NONE);
        }
        let parsed = OffsetDateTime::parse(time, &Rfc3339);
        Ok(Self::new(
            parsed.map_err(|error| format!("{time:?}: {error}"))?,
            version,
        ))
    }

    fn time(self) -> Cow<'static, str> {
        let nanoseconds = Some(self.nanoseconds).filter(|_| self != Self::NONE);
        let time = nanoseconds.and_then(|time| OffsetDateTime::from_unix_timestamp_nanos(time.into()).ok());
        timestamp::text_or_never(time)
    }
}

impl Node {
    pub(crate) fn empty() -> Self {
        Self {
            stamp: Stamp::NONE,
            value: Value::Object(Vec::new()),
        }
    }

    /// What a client says, in compact JSON. Of members with the same name the last one counts.
    pub(crate) fn new(text: &str) -> Self {
        let mut tree = Self::parse(text, &[]);
        tree.remove_overwritten();
        tree
    }

    /// The tree of a compact JSON text, with the stamps of its nodes in the order of the text.
    pub(crate) fn parse(text: &str, stamps: &[Stamp]) -> Self {
        Self::read(text, &mut stamps.iter())
    }

    fn read(text: &str, stamps: &mut slice::Iter<'_, Stamp>) -> Self {
        let stamp = stamps.next().copied().unwrap_or(Stamp::NONE);
        // Whatever is no object is a leaf, so nothing can go wrong here.
        let value = match serde_json::from_str::<RawMembers<'_>>(text) {
            Ok(RawMembers(members)) => {
                let members = members.into_iter();
                Value::Object(
                    members
                        .map(|(name, text)| (name, Self::read(text.get(), stamps)))
                        .collect(),
                )
            }
            Err(_) => Value::Leaf(text.into()),
        };
        Self { stamp, value }
    }

    pub(crate) fn touch(&mut self, stamp: Stamp) {
        self.stamp = stamp;
    }

    /// Takes over what `patch` says: objects are merged, null deletes, everything else takes the place of what was there.
    pub(crate) fn merge(&mut self, patch: &Self, stamp: Stamp) {
        self.stamp = stamp;
        let Value::Object(changes) = &patch.value else {
            self.value = patch.value.clone();
            return;
        };
        if matches!(self.value, Value::Leaf(_)) {
            self.value = Value::Object(Vec::new());
        }
        let Value::Object(members) = &mut self.value else {
            return;
        };
        for (name, change) in changes {
            if change.is_null() {
                members.retain(|(known, _)| known != name);
                continue;
            }
            match members.iter_mut().find(|(known, _)| known == name) {
                Some((_, member)) => member.merge(change, stamp),
                None => {
                    let mut member = Self::empty();
                    member.merge(change, stamp);
                    members.push((name.clone(), member));
                }
            }
        }
    }

    /// Puts a value where a path leads, whatever is there. Null takes away what is there.
    pub(crate) fn set(&mut self, path: &[Box<str>], value: &Self, stamp: Stamp) {
        self.stamp = stamp;
        let Some((first, rest)) = path.split_first() else {
            self.value = Value::Object(Vec::new());
            self.merge(value, stamp);
            return;
        };
        if matches!(self.value, Value::Leaf(_)) {
            self.value = Value::Object(Vec::new());
        }
        let Value::Object(members) = &mut self.value else {
            return;
        };
        if rest.is_empty() && value.is_null() {
            members.retain(|(known, _)| **known != **first);
            return;
        }
        match members.iter_mut().find(|(known, _)| **known == **first) {
            Some((_, member)) => member.set(rest, value, stamp),
            None => {
                let mut member = Self::empty();
                member.set(rest, value, stamp);
                members.push((first.to_string(), member));
            }
        }
    }

    /// Puts a member where one of its name may be.
    pub(crate) fn put(&mut self, name: &str, member: Self) {
        *self.member_mut(name) = member;
    }

    /// The member of this name, an empty object if there was none.
    pub(crate) fn member_mut(&mut self, name: &str) -> &mut Self {
        if let Value::Leaf(_) = self.value {
            self.value = Value::Object(Vec::new());
        }
        let Value::Object(members) = &mut self.value else {
            unreachable!("it was just made an object");
        };
        let at = members.iter().position(|(known, _)| known == name);
        let at = at.unwrap_or_else(|| {
            members.push((name.to_owned(), Self::empty()));
            members.len() - 1
        });
        &mut members[at].1
    }

    /// Takes the members with these names out of an object.
    pub(crate) fn remove(&mut self, names: &[&str]) {
        if let Value::Object(members) = &mut self.value {
            members.retain(|(name, _)| !names.contains(&name.as_str()));
        }
    }

    pub(crate) fn is_empty_object(&self) -> bool {
        matches!(&self.value, Value::Object(members) if members.is_empty())
    }

    /// The members of an object; none of a leaf.
    pub(crate) fn members(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Object(members) => members,
            Value::Leaf(_) => &[],
        }
    }

    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        let mut members = self.members().iter();
        members.find(|(known, _)| known == name).map(|(_, member)| member)
    }

    /// When it was last written.
    pub(crate) fn updated(&self) -> Cow<'static, str> {
        self.stamp.time()
    }

    /// With which version of its section it was last written.
    pub(crate) fn version(&self) -> u64 {
        self.stamp.version
    }

    /// The text of a leaf.
    pub(crate) fn leaf(&self) -> Option<&str> {
        match &self.value {
            Value::Object(_) => None,
            Value::Leaf(text) => Some(text),
        }
    }

    /// What counts against the limit of a section: names and values as the service counts them.
    pub(crate) fn size(&self) -> usize {
        match &self.value {
            Value::Object(members) => members.iter().map(|(name, member)| name.len() + member.size()).sum(),
            Value::Leaf(text) => leaf_size(text),
        }
    }

    /// Compact JSON.
    pub(crate) fn text(&self) -> String {
        let mut json = String::new();
        self.write(&mut json);
        json
    }

    /// The stamps of all nodes, in the order of the text.
    pub(crate) fn stamps(&self) -> Box<[Stamp]> {
        let mut stamps = Vec::new();
        self.collect_stamps(&mut stamps);
        stamps.into()
    }

    /// Reads the stamps that [`write_metadata`] wrote. What has none is as old as what it is in.
    pub(crate) fn stamp(&mut self, metadata: Option<&RawValue>, outer: Stamp) -> Result<(), String> {
        self.stamp = outer;
        let mut inner = Vec::new();
        if let Some(metadata) = metadata {
            let RawMembers(members) = serde_json::from_str(metadata.get()).map_err(|error| error.to_string())?;
            let (mut time, mut version) = (None, outer.version);
            for (name, value) in members {
                match name.as_str() {
                    "$lastUpdated" => time = Some(value),
                    "$lastUpdatedVersion" => version = value.get().parse().map_err(|_| "not a version".to_owned())?,
                    _ => inner.push((name, value)),
                }
            }
            if let Some(time) = time {
                self.stamp = Stamp::parse(time.get().trim_matches('"'), version)?;
            }
        }
        let stamp = self.stamp;
        if let Value::Object(members) = &mut self.value {
            let mut inner = inner.into_iter().peekable();
            for (name, member) in members {
                // They stand in the same order, unless somebody else wrote them.
                let metadata = inner.next_if(|(known, _)| known == name);
                member.stamp(metadata.map(|(_, value)| value), stamp)?;
            }
        }
        Ok(())
    }

    fn write(&self, json: &mut String) {
        match &self.value {
            Value::Leaf(text) => json.push_str(text),
            Value::Object(members) => {
                json.push('{');
                for (at, (name, member)) in members.iter().enumerate() {
                    if at > 0 {
                        json.push(',');
                    }
                    let _ = write!(json, "{}:", quoted(name));
                    member.write(json);
                }
                json.push('}');
            }
        }
    }

    fn remove_overwritten(&mut self) {
        let Value::Object(members) = &mut self.value else {
            return;
        };
        let mut names = HashSet::new();
        let from_the_end = members.iter().rev();
        let mut is_last: Vec<bool> = from_the_end.map(|(name, _)| names.insert(name.as_str())).collect();
        members.retain(|_| is_last.pop().unwrap_or(true));
        members.iter_mut().for_each(|(_, member)| member.remove_overwritten());
    }

    fn collect_stamps(&self, stamps: &mut Vec<Stamp>) {
        stamps.push(self.stamp);
        for (_, member) in self.members() {
            member.collect_stamps(stamps);
        }
    }

    fn is_null(&self) -> bool {
        self.leaf() == Some("null")
    }
}

/// `$metadata` of a compact JSON text with the stamps of its nodes, see [`Node::parse`]: times instead of values.
pub(crate) fn write_metadata(text: &str, stamps: &[Stamp], with_versions: bool, json: &mut String) {
    write_times(text, &mut stamps.iter(), with_versions, json);
}

fn write_times(text: &str, stamps: &mut slice::Iter<'_, Stamp>, with_versions: bool, json: &mut String) {
    let stamp = stamps.next().copied().unwrap_or(Stamp::NONE);
    for part in ["{\"$lastUpdated\":\"", &stamp.time(), "\""] {
        json.push_str(part);
    }
    if with_versions && stamp != Stamp::NONE {
        let _ = write!(json, ",\"$lastUpdatedVersion\":{}", stamp.version);
    }
    if text.starts_with('{')
        && let Ok(RawMembers(members)) = serde_json::from_str(text)
    {
        for (name, member) in members {
            let _ = write!(json, ",{}:", quoted(&name));
            write_times(member.get(), stamps, with_versions, json);
        }
    }
    json.push('}');
}

fn leaf_size(text: &str) -> usize {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => value_size(&value),
        Err(_) => text.len(),
    }
}

fn value_size(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Null => 0,
        serde_json::Value::Bool(_) => 4,
        serde_json::Value::Number(_) => 8,
        serde_json::Value::String(text) => text.chars().filter(|c| !c.is_control()).map(char::len_utf8).sum(),
        serde_json::Value::Array(items) => items.iter().map(value_size).sum(),
        serde_json::Value::Object(members) => members.iter().map(|(name, value)| name.len() + value_size(value)).sum(),
    }
}

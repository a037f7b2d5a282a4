//! What a twin has to be after each write, kept as plain values and lists of paths, and written without a look at the
//! trees of the hub.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use iothub_core::HubErrorCode;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::hub::{Grant, Hub, Target, twin::Write};

/// What a twin has to be.
#[derive(Clone)]
pub(super) struct Model {
    tags: Value,
    pub(super) desired: Section,
    pub(super) reported: Section,
    pub(super) revision: u64,
}

#[derive(Clone)]
pub(super) struct Section {
    value: Value,
    pub(super) version: u64,
    /// When each object and leaf was written. Those of the last write are not known until the hub has told its time.
    stamps: BTreeMap<Vec<String>, Stamp>,
}

#[derive(Clone)]
struct Stamp {
    time: Option<String>,
    version: Option<u64>,
}

/// How a write ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Written,
    /// Accepted, and nothing was asked for.
    Nothing,
    TooLarge,
    /// There is something in it that no twin may have.
    Invalid,
    /// The condition names another state of the twin.
    OtherTag,
}

impl Model {
    pub(super) fn write(&mut self, write: Write, tags: Option<&Value>, desired: Option<&Value>) -> Outcome {
        let is_nothing = |given: Option<&Value>| write == Write::Merge && given.is_none_or(|given| *given == json!({}));
        if is_nothing(tags) && is_nothing(desired) {
            return Outcome::Nothing;
        }
        if !is_nothing(tags) {
            self.tags = written(&self.tags, write, tags.unwrap_or(&Value::Null));
        }
        self.revision += 1;
        let desired = match is_nothing(desired) {
            true => Outcome::Written,
            false => self.desired.write(write, desired.unwrap_or(&Value::Null)),
        };
        if size(&self.tags) > 8 * 1024 {
            Outcome::TooLarge
        } else {
            desired
        }
    }

    /// Compares everything that clients and devices can see of it.
    pub(super) fn check(&self, hub: &Hub, target: &Target, step: usize) {
        let document = hub.get_twin(&Grant::unlimited(), target).unwrap();
        let mut twin: Value = serde_json::from_slice(&document.json).unwrap();
        let expected = json!({
            "etag": etag(self.revision),
            "version": self.revision + 1,
            "tags": self.tags,
            "properties": { "desired": self.desired.document(true), "reported": self.reported.document(false) },
        });
        assert_eq!(document.etag, etag(self.revision));
        twin.as_object_mut()
            .unwrap()
            .retain(|name, _| expected.get(name).is_some());
        assert_eq!(twin, expected, "step {step}: {target}");
        let seen: Value = serde_json::from_str(&hub.device_twin(target).unwrap()).unwrap();
        let expected = json!({ "desired": self.desired.with_version(), "reported": self.reported.with_version() });
        assert_eq!(seen, expected, "step {step}: {target} as it sees itself");
    }
}

impl Section {
    pub(super) fn write(&mut self, write: Write, patch: &Value) -> Outcome {
        self.value = written(&self.value, write, patch);
        self.version += 1;
        let new = Stamp {
            time: None,
            version: Some(self.version),
        };
        let old = std::mem::take(&mut self.stamps);
        for path in paths(&self.value) {
            // What a write names is new, and so is all around it. The rest is as old as it was.
            let stamp = if is_named(patch, &path) { &new } else { &old[&path] };
            self.stamps.insert(path, stamp.clone());
        }
        match size(&self.value) > 32 * 1024 {
            true => Outcome::TooLarge,
            false => Outcome::Written,
        }
    }

    /// Takes the time of the last write from the top of the hub's `$metadata`, if it is close to the hub's clock.
    pub(super) fn learn_time(&mut self, hub: &Hub, target: &Target, section: &str) {
        let document = hub.get_twin(&Grant::unlimited(), target).unwrap();
        let twin: Value = serde_json::from_slice(&document.json).unwrap();
        let text = twin["properties"][section]["$metadata"]["$lastUpdated"]
            .as_str()
            .unwrap();
        for stamp in self.stamps.values_mut().filter(|stamp| stamp.time.is_none()) {
            let time = OffsetDateTime::parse(text, &Rfc3339).unwrap();
            assert!((hub.clock().now() - time).abs() < time::Duration::minutes(30), "{text}");
            stamp.time = Some(text.to_owned());
        }
    }

    fn document(&self, with_versions: bool) -> Value {
        let mut metadata = json!({});
        for (path, stamp) in &self.stamps {
            let node = path.iter().fold(&mut metadata, |node, name| &mut node[name]);
            *node = json!({ "$lastUpdated": stamp.time });
            if let Some(version) = stamp.version.filter(|_| with_versions) {
                node["$lastUpdatedVersion"] = version.into();
            }
        }
        let mut document = self.with_version();
        document["$metadata"] = metadata;
        document
    }

    fn with_version(&self) -> Value {
        let mut document = self.value.clone();
        document["$version"] = self.version.into();
        document
    }
}

impl Outcome {
    /// Whether a write that ends like this is accepted, and otherwise the code of the answer.
    pub(super) fn verdict(self) -> Result<(), HubErrorCode> {
        match self {
            Self::Written | Self::Nothing => Ok(()),
            Self::TooLarge | Self::Invalid => Err(HubErrorCode::ArgumentInvalid),
            Self::OtherTag => Err(HubErrorCode::PreconditionFailed),
        }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self {
            tags: json!({}),
            desired: Section::default(),
            reported: Section::default(),
            revision: 1,
        }
    }
}

impl Default for Section {
    fn default() -> Self {
        let never = Stamp {
            time: Some("0001-01-01T00:00:00Z".to_owned()),
            version: None,
        };
        Self {
            value: json!({}),
            version: 1,
            stamps: BTreeMap::from([(Vec::new(), never)]),
        }
    }
}

fn written(value: &Value, write: Write, patch: &Value) -> Value {
    match (write, patch) {
        (_, Value::Null) => json!({}),
        (Write::Replace, patch) => merged(None, patch),
        (Write::Merge, patch) => merged(Some(value.clone()), patch),
    }
}

/// The algorithm of RFC 7386.
fn merged(target: Option<Value>, patch: &Value) -> Value {
    let Value::Object(changes) = patch else {
        return patch.clone();
    };
    let mut result = match target {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    for (name, change) in changes {
        let old = result.remove(name);
        if !change.is_null() {
            result.insert(name.clone(), merged(old, change));
        }
    }
    Value::Object(result)
}

/// The paths of all objects and leaves.
fn paths(value: &Value) -> Vec<Vec<String>> {
    let members = value.as_object().into_iter().flatten();
    let below = members.flat_map(|(name, member)| {
        let below = paths(member).into_iter();
        below.map(move |path| [vec![name.clone()], path].concat())
    });
    [Vec::new()].into_iter().chain(below).collect()
}

fn is_named(patch: &Value, path: &[String]) -> bool {
    match path {
        [] => true,
        [first, rest @ ..] => patch.get(first).is_some_and(|change| is_named(change, rest)),
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.replace(char::is_control, "").len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members.iter().map(|(name, member)| name.len() + size(member)).sum(),
    }
}

pub(super) fn etag(revision: u64) -> String {
    BASE64_STANDARD.encode(revision.to_be_bytes())
}

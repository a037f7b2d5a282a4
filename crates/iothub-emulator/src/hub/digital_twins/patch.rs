//! JSON Patch (RFC 6902), as far as digital twins have it: whole properties and whole components are set and removed.
//!
//! Names and values follow Microsoft's documentation of digital twins. Which of the four codes goes with which mistake
//! is not documented.

use iothub_core::HubErrorCode;

use super::document::{COMPONENT_MARK, is_component};
use crate::hub::{
    Failure,
    json_text::{RawMembers, compact},
    property_tree::Node,
    twin::Twin,
    twin_request::{SectionChange, TwinRequest},
};

/// What a client wants the desired values of a digital twin to be.
#[derive(Debug)]
pub(crate) struct Patch(Vec<Operation>);

#[derive(Debug)]
struct Operation {
    path: Path,
    /// `None` removes.
    value: Option<Node>,
}

/// `/property`, `/component` or `/component/property`.
#[derive(Debug)]
struct Path {
    first: String,
    second: Option<String>,
}

impl Patch {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        let wrong = |text: String| Failure::new(HubErrorCode::InvalidDigitalTwinJsonPatch, text);
        let text = std::str::from_utf8(body).map_err(|_| wrong("the body is not UTF-8".to_owned()))?;
        let text = compact(text)?;
        let operations: Vec<RawMembers<'_>> = serde_json::from_str(&text)
            .map_err(|error| wrong(format!("the body is not an array of JSON Patch operations: {error}")))?;
        if operations.is_empty() {
            return Err(refused("the patch has no operation"));
        }
        operations
            .iter()
            .map(Operation::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The same as a change of the twin.
    pub(super) fn request(&self, twin: &Twin) -> Result<TwinRequest, Failure> {
        let before = twin.desired.tree();
        let mut after = before.clone();
        for operation in &self.0 {
            operation.check_against(twin)?;
            operation.apply(&mut after);
        }
        let mut change = Node::empty();
        for Operation { path, .. } in &self.0 {
            let (old, new) = (before.member(&path.first), after.member(&path.first));
            match (&path.second, new) {
                // Of a component that stays, only what was named is told to the device.
                (Some(second), Some(component)) => {
                    let old = old.and_then(|old| old.member(second));
                    let difference = difference(old, component.member(second));
                    let part = change.member_mut(&path.first);
                    part.put(COMPONENT_MARK, mark());
                    part.put(second, difference);
                }
                _ => change.put(&path.first, difference(old, new)),
            }
        }
        // The rules of twins hold, too.
        Ok(TwinRequest {
            tags: SectionChange::Nothing,
            desired: SectionChange::parse("desired", &change.text())?,
        })
    }
}

impl Operation {
    fn parse(RawMembers(members): &RawMembers<'_>) -> Result<Self, Failure> {
        let wrong = |text: String| Failure::new(HubErrorCode::InvalidDigitalTwinJsonPatch, text);
        let member = |name: &str| {
            let member = members.iter().rfind(|(known, _)| known == name);
            member.map(|(_, value)| value.get())
        };
        let text = |name: &str| member(name).and_then(|text| serde_json::from_str::<String>(text).ok());
        let op = text("op").ok_or_else(|| wrong("an operation has no `op`".to_owned()))?;
        let path = text("path").ok_or_else(|| wrong(format!("an operation `{op}` has no `path`")))?;
        let path = Path::parse(&path)?;
        match op.as_str() {
            "remove" => Ok(Self { path, value: None }),
            "add" | "replace" => {
                let value = member("value").ok_or_else(|| wrong(format!("`{op}` of {path} has no `value`")))?;
                let value = Node::new(value);
                let value = path.checked(value)?;
                Ok(Self {
                    path,
                    value: Some(value),
                })
            }
            _ => Err(wrong(format!("`{op}` is none of add, replace and remove"))),
        }
    }

    /// Refuses what does not go together with what is in the twin.
    fn check_against(&self, twin: &Twin) -> Result<(), Failure> {
        let Path { first, second } = &self.path;
        let sections = [&twin.desired, &twin.reported].map(|section| section.tree());
        let mut known = sections.iter().filter_map(|tree| tree.member(first));
        let to_component = second.is_some() || self.value.as_ref().is_some_and(is_component);
        if to_component && known.clone().any(|known| !is_component(known)) {
            let text = format!(
                "'{first}' exists within the device twin and is not digital twin conformant property. Please refer to \
                 aka.ms/dtpatch to update this to be conformant."
            );
            return Err(Failure::argument(text));
        }
        if !to_component && self.value.is_some() && known.any(is_component) {
            let text = format!("/{first} is a component, and its value needs an empty object `$metadata`");
            return Err(refused(text));
        }
        Ok(())
    }

    fn apply(&self, desired: &mut Node) {
        match (&self.path.second, &self.value) {
            (None, Some(value)) => desired.put(&self.path.first, value.clone()),
            (None, None) => desired.remove(&[&self.path.first]),
            (Some(second), Some(value)) => {
                let component = desired.member_mut(&self.path.first);
                component.put(COMPONENT_MARK, mark());
                component.put(second, value.clone());
            }
            (Some(second), None) => {
                if desired.member(&self.path.first).is_none() {
                    return;
                }
                let component = desired.member_mut(&self.path.first);
                component.remove(&[second]);
                // A component goes with its last property.
                if component.members().iter().all(|(name, _)| name == COMPONENT_MARK) {
                    desired.remove(&[&self.path.first]);
                }
            }
        }
    }
}

impl Path {
    fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            let text = format!("{text:?} is not a path to a property or component, such as /component/property: {why}");
            Failure::new(HubErrorCode::InvalidDigitalTwinPatchPath, text)
        };
        let path = text.strip_prefix('/').ok_or_else(|| wrong("it begins with no slash"))?;
        let (first, second) = match path.split_once('/') {
            None => (path, None),
            Some((first, second)) => (first, Some(second)),
        };
        if second.is_some_and(|second| second.contains('/')) {
            return Err(wrong("only whole properties are changed"));
        }
        if !std::iter::once(first).chain(second).all(is_name) {
            return Err(wrong(NAMES));
        }
        Ok(Self {
            first: first.to_owned(),
            second: second.map(str::to_owned),
        })
    }

    /// The value as twins have it, if it is one that a property or component can have. What an empty `$metadata` says of
    /// a component in a patch, a mark says in a twin.
    fn checked(&self, mut value: Node) -> Result<Node, Failure> {
        let Some(metadata) = value.member("$metadata") else {
            check_property(&self.to_string(), &value, 1)?;
            return Ok(value);
        };
        if !metadata.is_empty_object() {
            return Err(payload(format!("`$metadata` in {self} has to be an empty object")));
        }
        if self.second.is_some() {
            return Err(payload(format!(
                "{self} is a property, and only components have `$metadata`"
            )));
        }
        value.remove(&["$metadata", COMPONENT_MARK]);
        for (name, property) in value.members() {
            if !is_name(name) {
                return Err(payload(format!("{name:?} in {self} is not a name: {NAMES}")));
            }
            check_property(&format!("{self}/{name}"), property, 1)?;
        }
        value.put(COMPONENT_MARK, mark());
        Ok(value)
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", self.first)?;
        self.second.iter().try_for_each(|second| write!(f, "/{second}"))
    }
}

fn check_property(path: &str, value: &Node, depth: usize) -> Result<(), Failure> {
    match value.leaf() {
        Some("null") => Err(payload(format!("{path} is null; `remove` clears a desired value"))),
        Some(array) if array.starts_with('[') => Err(payload(format!("{path} is an array, which no property can be"))),
        Some(_) => Ok(()),
        None if depth > MAX_DEPTH => Err(payload(format!("{path} is nested deeper than {MAX_DEPTH} objects"))),
        None => value.members().iter().try_for_each(|(name, member)| {
            if !is_name(name) {
                return Err(payload(format!("{name:?} in {path} is not a name: {NAMES}")));
            }
            check_property(&format!("{path}/{name}"), member, depth + 1)
        }),
    }
}

/// What to merge into `old` so that it becomes `new`; null if there shall be nothing.
fn difference(old: Option<&Node>, new: Option<&Node>) -> Node {
    let Some(new) = new else {
        return Node::new("null");
    };
    let mut change = new.clone();
    if new.leaf().is_none() {
        for (name, old) in old.map(Node::members).unwrap_or_default() {
            change.put(name, difference(Some(old), new.member(name)));
        }
    }
    change
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !name.ends_with('_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn mark() -> Node {
    Node::new("\"c\"")
}

fn payload(text: String) -> Failure {
    Failure::new(HubErrorCode::InvalidDigitalTwinPayload, text)
}

fn refused(text: impl Into<String>) -> Failure {
    Failure::new(HubErrorCode::InvalidDigitalTwinPatch, text)
}

/// The published limits of digital twins.
const NAMES: &str = "1 to 64 of A-Z a-z 0-9 and _, beginning with a letter and not ending with _";
const MAX_NAME: usize = 64;
const MAX_DEPTH: usize = 5;

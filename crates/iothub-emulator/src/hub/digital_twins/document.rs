use std::fmt::Write as _;

use crate::hub::{json_text::quoted, property_tree::Node, registry::Identity};

/// A digital twin as clients see it.
pub(super) fn document(id: &str, identity: &Identity) -> String {
    let (desired, reported) = (identity.twin.desired.tree(), identity.twin.reported.tree());
    let mut json = format!("{{\"$dtId\":{},", quoted(id));
    let mut metadata = format!("\"$model\":{},", quoted(identity.model_id()));
    for (name, desired, reported) in united(&desired, &reported) {
        let is_component = [desired, reported].into_iter().flatten().any(is_component);
        if is_component {
            let _ = write!(json, "{}:{},", quoted(name), component(desired, reported));
        } else {
            write_property(&mut json, &mut metadata, name, desired, reported);
        }
    }
    close(json, metadata)
}

fn component(desired: Option<&Node>, reported: Option<&Node>) -> String {
    let empty = Node::empty();
    let (mut json, mut metadata) = ("{".to_owned(), String::new());
    let (desired, reported) = (desired.unwrap_or(&empty), reported.unwrap_or(&empty));
    for (name, desired, reported) in united(desired, reported) {
        if name != COMPONENT_MARK {
            write_property(&mut json, &mut metadata, name, desired, reported);
        }
    }
    close(json, metadata)
}

/// The value that the device reports, if it does; and what is known about the property.
fn write_property(
    json: &mut String,
    metadata: &mut String,
    name: &str,
    desired: Option<&Node>,
    reported: Option<&Node>,
) {
    let _ = write!(metadata, "{}:{{", quoted(name));
    let begin = metadata.len();
    if let Some(desired) = desired {
        let (value, version) = (desired.text(), desired.version());
        let _ = write!(metadata, "\"desiredValue\":{value},\"desiredVersion\":{version},");
    }
    if let Some(reported) = reported {
        let acknowledgement = Acknowledgement::of(reported);
        let value = acknowledgement.as_ref().map_or(reported, |ack| ack.value);
        let _ = write!(json, "{}:{},", quoted(name), value.text());
        for (name, value) in acknowledgement.iter().flat_map(|ack| &ack.members) {
            let _ = write!(metadata, "{name}:{},", value.text());
        }
        let _ = write!(metadata, "\"lastUpdateTime\":\"{}\",", reported.updated());
    }
    if metadata.len() > begin {
        metadata.pop();
    }
    metadata.push_str("},");
}

/// What a device reports of a writable property by convention, beside its value.
struct Acknowledgement<'a> {
    value: &'a Node,
    /// By the names that they have in digital twins.
    members: Vec<(&'static str, &'a Node)>,
}

impl<'a> Acknowledgement<'a> {
    /// `None` if the device reports a bare value.
    fn of(reported: &'a Node) -> Option<Self> {
        let (mut value, mut members) = (None, Vec::new());
        for (name, member) in reported.members() {
            match name.as_str() {
                "value" => value = Some(member),
                "ac" => members.push(("\"ackCode\"", member)),
                "av" => members.push(("\"ackVersion\"", member)),
                "ad" => members.push(("\"ackDescription\"", member)),
                _ => return None,
            }
        }
        let is_answered = members.iter().any(|(name, _)| *name == "\"ackCode\"");
        let value = value.filter(|_| is_answered)?;
        Some(Self { value, members })
    }
}

/// The members of both, each name once.
fn united<'a>(
    desired: &'a Node,
    reported: &'a Node,
) -> impl Iterator<Item = (&'a str, Option<&'a Node>, Option<&'a Node>)> {
    let only_desired = desired
        .members()
        .iter()
        .filter(|(name, _)| reported.member(name).is_none());
    let reported = reported.members().iter();
    reported
        .map(|(name, node)| (name.as_str(), desired.member(name), Some(node)))
        .chain(only_desired.map(|(name, node)| (name.as_str(), Some(node), None)))
}

pub(super) fn is_component(node: &Node) -> bool {
    node.member(COMPONENT_MARK).and_then(Node::leaf) == Some("\"c\"")
}

/// An object of members that each end in a comma, with the metadata as the last of them.
fn close(mut json: String, mut metadata: String) -> String {
    if metadata.ends_with(',') {
        metadata.pop();
    }
    let _ = write!(json, "\"$metadata\":{{{metadata}}}}}");
    json
}

/// In a twin, a member of this name makes an object a component.
pub(super) const COMPONENT_MARK: &str = "__t";

//! Sections of twins in records: as clients see them, with `$version` and `$metadata`.

use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::count;
use crate::hub::{
    Failure,
    json_text::{RawMembers, compact, quoted},
    property_tree::{Node, Stamp},
    twin::Section,
    twin_request::SectionChange,
};

/// `None` for a section that was never written.
pub(super) fn record(section: &Section) -> Option<Box<RawValue>> {
    if section.version == 1 {
        return None;
    }
    // The hub has written it, so that it is JSON.
    RawValue::from_string(section.document(true)).ok()
}

pub(super) fn tags_record(tags: &str) -> Option<Box<RawValue>> {
    if tags == "{}" {
        return None;
    }
    RawValue::from_string(tags.to_owned()).ok()
}

/// Reads a section. Without `$version` it counts as written once; without `$metadata`, as written now.
pub(super) fn read(name: &str, record: Option<&RawValue>, now: OffsetDateTime) -> Result<Section, Failure> {
    let Some(record) = record else {
        return Ok(Section::default());
    };
    let json = compact(record.get())?;
    let (text, Marks { metadata, version }) = Marks::take_out(name, &json)?;
    let version = version.unwrap_or(2);
    let mut tree = tree(name, &text)?;
    tree.stamp(metadata, Stamp::new(now, version))
        .map_err(|why| Failure::argument(format!("{name}.$metadata: {why}")))?;
    Section::restored(&tree, version)
}

pub(super) fn read_tags(record: Option<&RawValue>) -> Result<Box<str>, Failure> {
    let Some(record) = record else {
        return Ok("{}".into());
    };
    let (text, _) = Marks::take_out("tags", &compact(record.get())?)?;
    Ok(tree("tags", &text)?.text().into())
}

/// Checks a section as if a client had sent it.
fn tree(name: &str, text: &str) -> Result<Node, Failure> {
    match SectionChange::parse(name, text)? {
        SectionChange::Members(tree) => Ok(tree),
        _ => Ok(Node::empty()),
    }
}

/// What the hub adds to a section.
struct Marks<'a> {
    metadata: Option<&'a RawValue>,
    version: Option<u64>,
}

impl<'a> Marks<'a> {
    fn take_out(name: &str, json: &'a str) -> Result<(String, Self), Failure> {
        let wrong = |why: String| Failure::argument(format!("{name}: {why}"));
        let RawMembers(members) = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
        let (mut marks, mut text) = (
            Self {
                metadata: None,
                version: None,
            },
            String::with_capacity(json.len()),
        );
        text.push('{');
        for (member, value) in members {
            match member.as_str() {
                "$metadata" => marks.metadata = Some(value),
                "$version" => {
                    let version = value.get().parse::<u64>().map_err(|error| error.to_string());
                    let version = version.and_then(count::check);
                    marks.version = Some(version.map_err(|error| wrong(format!("$version: {error}")))?);
                }
                _ => {
                    if text.len() > 1 {
                        text.push(',');
                    }
                    text.push_str(&quoted(&member));
                    text.push(':');
                    text.push_str(value.get());
                }
            }
        }
        text.push('}');
        Ok((text, marks))
    }
}

use iothub_core::HubErrorCode;

use super::{
    Failure,
    json_text::{RawMembers, compact},
    property_tree::Node,
};

/// What a client wants tags and desired properties to be. Everything else that clients send is ignored.
#[derive(Debug)]
pub(crate) struct TwinRequest {
    pub(crate) tags: SectionChange,
    pub(crate) desired: SectionChange,
}

/// What happens to one section of a twin.
#[derive(Debug)]
pub(crate) enum SectionChange {
    /// It was not mentioned.
    Nothing,
    /// It was set to null.
    Clear,
    /// These members are merged into it, or take its place.
    Members(Node),
}

impl TwinRequest {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        let format = |text: String| Failure::new(HubErrorCode::IotHubFormatError, text);
        let text = std::str::from_utf8(body).map_err(|_| format("the body is not UTF-8".to_owned()))?;
        if text.trim().is_empty() || text.trim() == "null" {
            return Err(Failure::new(HubErrorCode::ArgumentNull, "there is no twin in the body"));
        }
        let text = compact(text)?;
        let RawMembers(members) =
            serde_json::from_str(&text).map_err(|error| format(format!("the body is not a JSON object: {error}")))?;
        let mut request = Self {
            tags: SectionChange::Nothing,
            desired: SectionChange::Nothing,
        };
        for (name, value) in members {
            match name.as_str() {
                "tags" => request.tags = SectionChange::parse("tags", value.get())?,
                "properties" if value.get() != "null" => {
                    let RawMembers(sections) = serde_json::from_str(value.get())
                        .map_err(|_| format("properties has to be an object".to_owned()))?;
                    let desired = sections.into_iter().rfind(|(name, _)| name == "desired");
                    if let Some((_, desired)) = desired {
                        request.desired = SectionChange::parse("desired", desired.get())?;
                    }
                }
                _ => {}
            }
        }
        Ok(request)
    }
}

impl SectionChange {
    /// From compact JSON. What the hub itself adds to a section is taken out of it again.
    pub(crate) fn parse(section: &str, json: &str) -> Result<Self, Failure> {
        if json == "null" {
            return Ok(Self::Clear);
        }
        let mut tree = Node::new(json);
        if tree.leaf().is_some() {
            let text = format!("{section} has to be an object");
            return Err(Failure::new(HubErrorCode::IotHubFormatError, text));
        }
        tree.remove(&["$metadata", "$version"]);
        check_object(section, tree.members(), 0)?;
        Ok(Self::Members(tree))
    }

    /// Whether a merge would leave everything as it is.
    pub(crate) fn is_nothing(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Clear => false,
            Self::Members(tree) => tree.is_empty_object(),
        }
    }
}

fn check_object(path: &str, members: &[(String, Node)], depth: usize) -> Result<(), Failure> {
    check_depth(path, depth)?;
    for (name, member) in members {
        check_name(path, name)?;
        let path = format!("{path}.{name}");
        match member.leaf() {
            None => check_object(&path, member.members(), depth + 1)?,
            Some(text) => check_leaf(&path, text, depth)?,
        }
    }
    Ok(())
}

fn check_name(path: &str, name: &str) -> Result<(), Failure> {
    if name.len() > MAX_NAME {
        return Err(Failure::argument(format!(
            "a name in {path} has more than {MAX_NAME} bytes"
        )));
    }
    if name.chars().any(|c| c.is_control() || ". $#".contains(c)) {
        let text =
            format!("{name:?} in {path}: names hold no dot, dollar sign, number sign, space or control character");
        return Err(Failure::argument(text));
    }
    Ok(())
}

fn check_leaf(path: &str, text: &str, depth: usize) -> Result<(), Failure> {
    let value = serde_json::from_str(text)
        .map_err(|error| Failure::new(HubErrorCode::IotHubFormatError, format!("{path}: {error}")))?;
    check_value(path, &value, depth)
}

fn check_value(path: &str, value: &serde_json::Value, depth: usize) -> Result<(), Failure> {
    match value {
        serde_json::Value::Null | serde_json::Value::Bool(_) => Ok(()),
        serde_json::Value::Number(number) => {
            let whole = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
            if whole.is_some_and(|whole| !INTEGERS.contains(&whole)) {
                return Err(Failure::argument(format!("{path}: {number} is not within ±2^52")));
            }
            Ok(())
        }
        serde_json::Value::String(text) if text.len() > MAX_STRING => {
            let text = format!("{path} is a string of more than {MAX_STRING} bytes");
            Err(Failure::argument(text))
        }
        serde_json::Value::String(_) => Ok(()),
        serde_json::Value::Array(items) => items.iter().try_for_each(|item| match item {
            serde_json::Value::Null => Err(Failure::argument(format!("{path} is an array with null in it"))),
            item => check_value(path, item, depth),
        }),
        serde_json::Value::Object(members) => {
            check_depth(path, depth + 1)?;
            members.iter().try_for_each(|(name, value)| {
                check_name(path, name)?;
                check_value(path, value, depth + 1)
            })
        }
    }
}

fn check_depth(path: &str, depth: usize) -> Result<(), Failure> {
    if depth > MAX_DEPTH {
        let text = format!("{path} is nested deeper than {MAX_DEPTH} objects");
        return Err(Failure::argument(text));
    }
    Ok(())
}

/// The published limits of twins.
const MAX_NAME: usize = 1024;
const MAX_STRING: usize = 4096;
const MAX_DEPTH: usize = 10;
const INTEGERS: std::ops::RangeInclusive<i128> = -4_503_599_627_370_496..=4_503_599_627_370_495;

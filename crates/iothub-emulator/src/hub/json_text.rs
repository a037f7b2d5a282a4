//! JSON that is passed on as text, so that numbers and dates stay as somebody wrote them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::Failure;

/// The members of an object, in their order; values are still text.
#[derive(Debug)]
pub(crate) struct RawMembers<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = RawMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawMembers<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawMembers(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// The same JSON without white space between its tokens.
///
/// # Errors
///
/// It is nested too deep for anybody to have meant it; whoever walks through it needs not be careful any more.
pub(crate) fn compact(json: &str) -> Result<String, Failure> {
    let mut text = String::with_capacity(json.len());
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_usize);
    for character in json.chars() {
        if quoted {
            quoted = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character.is_ascii_whitespace() {
            continue;
        } else {
            quoted = character == '"';
            match character {
                '{' | '[' => depth += 1,
                '}' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > MAX_DEPTH {
                return Err(Failure::argument(format!(
                    "the JSON is nested deeper than {MAX_DEPTH} levels"
                )));
            }
        }
        text.push(character);
    }
    Ok(text)
}

/// A string with its quotes and escapes.
pub(crate) fn quoted(text: &str) -> String {
    // Writing a string cannot fail; an empty one would be seen at once.
    serde_json::to_string(text).unwrap_or_default()
}

/// Where serde_json stops, too.
const MAX_DEPTH: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_space_between_tokens_goes() {
        for (json, expected) in [
            (
                "{ \"a b\" : [ 1.0 , \"c \\\" d\" ],\n\t\"e\":\"\\\\\" }",
                r#"{"a b":[1.0,"c \" d"],"e":"\\"}"#,
            ),
            (" null ", "null"),
        ] {
            assert_eq!(compact(json).unwrap(), expected);
        }
    }
}

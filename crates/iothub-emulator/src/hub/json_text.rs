//! JSON that is passed on as text, so that numbers and dates stay as somebody wrote them.

use std::fmt::{self, Write as _};

use iothub_core::HubErrorCode;
use serde::{
    Deserialize, Deserializer, Serialize,
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

/// Writes an object member by member. Their names need no escapes.
pub(crate) struct ObjectWriter(String);

impl ObjectWriter {
    pub(crate) fn new() -> Self {
        Self(String::with_capacity(ENOUGH_FOR_MOST))
    }

    /// Adds any member.
    pub(crate) fn member(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
        let json = serde_json::to_string(value).map_err(broken)?;
        self.json(name, &json);
        Ok(())
    }

    /// Adds a member that is a text. There is hardly ever something to escape in it.
    pub(crate) fn text(&mut self, name: &'static str, text: &str) {
        let is_plain = |byte| byte >= b' ' && byte != b'"' && byte != b'\\';
        let json = self.begin(name);
        // To the end in any case, which processors do many bytes at a time.
        if text.bytes().fold(true, |so_far, byte| so_far & is_plain(byte)) {
            json.push('"');
            json.push_str(text);
            json.push('"');
        } else {
            json.push_str(&quoted(text));
        }
    }

    pub(crate) fn number(&mut self, name: &'static str, number: u64) {
        let _ = write!(self.begin(name), "{number}");
    }

    /// Adds a member that is JSON already.
    pub(crate) fn json(&mut self, name: &'static str, json: &str) {
        self.begin(name).push_str(json);
    }

    /// Begins a member, whose value is to be written behind what is there.
    pub(crate) fn begin(&mut self, name: &'static str) -> &mut String {
        self.0.push_str(if self.0.is_empty() { "{\"" } else { ",\"" });
        self.0.push_str(name);
        self.0.push_str("\":");
        &mut self.0
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.push_str(if self.0.is_empty() { "{}" } else { "}" });
        self.0.into_bytes()
    }
}

/// The failure that there should not be: what the hub keeps cannot be written as JSON.
pub(crate) fn broken(error: serde_json::Error) -> Failure {
    Failure::new(HubErrorCode::ServerError, format!("what is kept is not JSON: {error}"))
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

/// A twin without properties has 600 bytes.
const ENOUGH_FOR_MOST: usize = 800;

/// Where serde_json stops, too.
const MAX_DEPTH: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_written_member_by_member() {
        let mut object = ObjectWriter::new();
        object.text("plain", "lamp: Ω");
        object.text("escaped", "\"a\\b\"\n");
        object.number("number", u64::MAX);
        object.json("json", "[1.0]");
        object.member("member", &[Some("\t"), None]).unwrap();
        object.begin("begun").push_str("{}");
        assert_eq!(
            String::from_utf8(object.finish()).unwrap(),
            r#"{"plain":"lamp: Ω","escaped":"\"a\\b\"\n","number":18446744073709551615,"json":[1.0],"member":["\t",null],"begun":{}}"#
        );
        assert_eq!(ObjectWriter::new().finish(), b"{}");
    }

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

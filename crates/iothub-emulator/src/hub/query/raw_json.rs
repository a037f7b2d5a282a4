//! Looks into JSON without reading it: finds a member of an object by skipping what stands before it.
//!
//! The text is taken to be JSON, because the hub has read it before. Where it is not, nothing is found.

use std::borrow::Cow;

#[cfg(test)]
use super::{Document, Found};

/// A document that is JSON text.
#[cfg(test)]
pub(crate) struct JsonText<'t>(pub(crate) &'t str);

#[cfg(test)]
impl Document for JsonText<'_> {
    fn find<'a>(&'a self, names: &[Box<str>]) -> Option<Found<'a>> {
        Found::within(self.0, names)
    }
}

/// The value of the member with this name, if the text is an object that has one.
pub(crate) fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let bytes = json.as_bytes();
    let mut at = after(b'{', bytes, skip_space(bytes, 0))?;
    loop {
        let key = skip_space(bytes, at);
        let key_end = string_end(bytes, key)?;
        let value = skip_space(bytes, after(b':', bytes, skip_space(bytes, key_end))?);
        let value_end = value_end(bytes, value)?;
        if is_name(json.get(key..key_end)?, name) {
            return json.get(value..value_end);
        }
        at = after(b',', bytes, skip_space(bytes, value_end))?;
    }
}

/// The items of an array; nothing, if the text is no array.
pub(crate) fn items(json: &str) -> impl Iterator<Item = &str> {
    let bytes = json.as_bytes();
    let mut at = after(b'[', bytes, skip_space(bytes, 0));
    std::iter::from_fn(move || {
        let item = skip_space(bytes, at?);
        let end = value_end(bytes, item).filter(|end| *end > item)?;
        at = after(b',', bytes, skip_space(bytes, end));
        json.get(item..end)
    })
}

/// The text that a JSON string says, quotes and all.
pub(crate) fn unquoted(json: Cow<'_, str>) -> Option<Cow<'_, str>> {
    if json.contains('\\') {
        return serde_json::from_str(&json).ok().map(Cow::Owned);
    }
    let inner = |text: &str| (text.len() >= 2).then_some(1..text.len() - 1);
    match json {
        Cow::Borrowed(text) => text.get(inner(text)?).map(Cow::Borrowed),
        Cow::Owned(text) => text.get(inner(&text)?).map(|text| Cow::Owned(text.to_owned())),
    }
}

/// The JSON string that says a text.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn is_name(quoted: &str, name: &str) -> bool {
    match quoted.get(1..quoted.len() - 1) {
        Some(inner) if inner == name => !inner.contains('\\'),
        Some(inner) if inner.contains('\\') => unquoted(Cow::Borrowed(quoted)).is_some_and(|text| text == name),
        _ => false,
    }
}

fn skip_space(json: &[u8], mut at: usize) -> usize {
    while matches!(json.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

fn after(wanted: u8, json: &[u8], at: usize) -> Option<usize> {
    (*json.get(at)? == wanted).then_some(at + 1)
}

/// Where the string that starts at `at` ends, closing quote included.
fn string_end(json: &[u8], at: usize) -> Option<usize> {
    let mut at = after(b'"', json, at)?;
    loop {
        match json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn value_end(json: &[u8], start: usize) -> Option<usize> {
    match json.get(start)? {
        b'"' => string_end(json, start),
        b'{' | b'[' => {
            let mut depth = 0_usize;
            let mut at = start;
            loop {
                match json.get(at)? {
                    b'"' => at = string_end(json, at)?,
                    b'{' | b'[' => (depth, at) = (depth + 1, at + 1),
                    b'}' | b']' if depth == 1 => return Some(at + 1),
                    b'}' | b']' => (depth, at) = (depth - 1, at + 1),
                    _ => at += 1,
                }
            }
        }
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            let rest = json.get(start..)?;
            Some(start + rest.iter().position(ends).unwrap_or(rest.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_at_every_place_and_in_every_spelling() {
        let json = r#" { "a" : 1 , "b\u0041" : "x\"}" , "c":{"d":[1,{"e":"]"}]},"":null , "last":-1.50e3 } "#;
        assert_eq!(member(json, "a"), Some("1"));
        assert_eq!(member(json, "bA"), Some(r#""x\"}""#));
        assert_eq!(member(json, r"b\u0041"), None);
        assert_eq!(member(json, "c"), Some(r#"{"d":[1,{"e":"]"}]}"#));
        assert_eq!(member(json, ""), Some("null"));
        assert_eq!(member(json, "last"), Some("-1.50e3"));
        assert_eq!(member(json, "d"), None);
    }

    #[test]
    fn items_are_found_however_nested() {
        let found: Vec<&str> = items(r#"[ 1, "a,]" ,[2,[3]],{"b":[]} , null]"#).collect();
        assert_eq!(found, ["1", r#""a,]""#, "[2,[3]]", r#"{"b":[]}"#, "null"]);
        assert_eq!(items("[]").count() + items("{}").count() + items("").count(), 0);
    }

    #[test]
    fn what_is_no_json_finds_nothing() {
        let json = r#"{"a":{"b":"c\\"},"d":[1,2]}"#;
        for end in 0..json.len() {
            let cut = &json[..end];
            assert_eq!(member(cut, "e"), None, "{cut}");
            let _ = items(cut).count();
        }
        assert_eq!(member("{\"a\":1]", "b"), None);
        assert_eq!(items("[,,]").count(), 0);
    }
}

use std::borrow::Cow;

use super::{raw_json, value::Value};

/// Something that queries can be asked about.
pub(crate) trait Document {
    /// The value at a path, given as names from the root on. `None` if there is nothing.
    fn find<'a>(&'a self, names: &[Box<str>]) -> Option<Found<'a>>;
}

/// A value as a document has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    Integer(i64),
    /// Any value, as JSON text.
    Json(Cow<'a, str>),
}

impl<'a> Found<'a> {
    /// The value at a path within a JSON text, which may be empty: then it is the whole text.
    pub(crate) fn within(json: &'a str, names: &[Box<str>]) -> Option<Self> {
        let found = names.iter().try_fold(json, |json, name| raw_json::member(json, name))?;
        Some(Self::Json(Cow::Borrowed(found.trim())))
    }

    pub(super) fn value(self) -> Value<'a> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Bool(truth) => Value::Bool(truth),
            // Numbers of a hub fit into the 53 bits of a double.
            Self::Integer(number) => Value::Number(number as f64),
            Self::Json(json) => Value::of_json(json),
        }
    }

    /// The value as JSON text; numbers keep the form that the document has them in.
    pub(super) fn json(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => Cow::Owned(raw_json::quoted(&text)),
            Self::Bool(truth) => Cow::Borrowed(if truth { "true" } else { "false" }),
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Json(json) => json,
        }
    }
}

impl From<bool> for Found<'_> {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<i64> for Found<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl<'a> From<&'a str> for Found<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Found<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

#[cfg(test)]
impl Document for serde_json::Value {
    fn find<'a>(&'a self, names: &[Box<str>]) -> Option<Found<'a>> {
        let found = names
            .iter()
            .try_fold(self, |value, name| value.as_object()?.get(&**name))?;
        Some(Found::Json(Cow::Owned(found.to_string())))
    }
}

use std::{borrow::Cow, cmp::Ordering};

use super::raw_json;

/// A value that a query calculates with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// What a path gives that leads nowhere, and an operation that makes no sense.
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
    Array(Items<'a>),
    Object,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Items<'a> {
    /// The items of a document, as JSON text.
    Json(Cow<'a, str>),
    /// The items that stand in the query.
    Literals(Cow<'a, [Value<'static>]>),
}

impl<'a> Value<'a> {
    pub(super) fn of_json(json: Cow<'a, str>) -> Self {
        match json.as_bytes().first() {
            Some(b'"') => raw_json::unquoted(json).map_or(Self::Undefined, Value::Text),
            Some(b'{') => Self::Object,
            Some(b'[') => Self::Array(Items::Json(json)),
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') => Self::Null,
            _ => json.parse().map_or(Self::Undefined, Self::number),
        }
    }

    /// A number; what arithmetic cannot tell is undefined.
    pub(super) fn number(number: f64) -> Self {
        if number.is_finite() {
            Self::Number(number)
        } else {
            Self::Undefined
        }
    }

    /// The truth of the value; `None` for all that is neither true nor false.
    pub(super) fn truth(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    pub(super) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Only simple values of the same kind can be compared. Texts compare by their characters, not by a language.
    pub(super) fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Null, Value::Null) => Some(Ordering::Equal),
            (Self::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
            (Self::Number(left), Value::Number(right)) => left.partial_cmp(right),
            (Self::Text(left), Value::Text(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }

    /// Whether the value is one of the items. `None` if it cannot be compared to anything.
    pub(super) fn is_in(&self, items: &Items<'_>) -> Option<bool> {
        let is = |item: &Value<'_>| self.compare(item) == Some(Ordering::Equal);
        match self {
            Self::Undefined | Self::Array(_) | Self::Object => None,
            _ => Some(match items {
                Items::Literals(items) => items.iter().any(&is),
                Items::Json(json) => raw_json::items(json).any(|item| is(&Value::of_json(Cow::Borrowed(item)))),
            }),
        }
    }

    /// The same value, lent.
    pub(super) fn lend(&'a self) -> Self {
        match self {
            Self::Undefined => Self::Undefined,
            Self::Null => Self::Null,
            Self::Bool(truth) => Self::Bool(*truth),
            Self::Number(number) => Self::Number(*number),
            Self::Text(text) => Self::Text(Cow::Borrowed(text)),
            Self::Array(Items::Json(json)) => Self::Array(Items::Json(Cow::Borrowed(json))),
            Self::Array(Items::Literals(items)) => Self::Array(Items::Literals(Cow::Borrowed(items))),
            Self::Object => Self::Object,
        }
    }
}

impl Items<'_> {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Json(json) => raw_json::items(json).count(),
            Self::Literals(items) => items.len(),
        }
    }
}

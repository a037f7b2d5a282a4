use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{key::Key, text::after};

/// The two sections that the device sees, each still as text.
#[derive(Default)]
pub(super) struct Properties<'a> {
    pub(super) desired: Option<&'a RawValue>,
    pub(super) reported: Option<&'a RawValue>,
    shape: Shape<'a>,
}

/// What there is to find the end of an object by.
#[derive(Default)]
enum Shape<'a> {
    #[default]
    Null,
    Empty,
    EndsAfter(&'a RawValue),
}

impl Properties<'_> {
    /// Where the value of `key` ends.
    pub(super) fn end(&self, key: &str, text: &str) -> usize {
        let (from, last) = match self.shape {
            Shape::Null => (after(key, text), "null"),
            Shape::Empty => (after(key, text), "}"),
            Shape::EndsAfter(value) => (after(value.get(), text), "}"),
        };
        from + text[from..].find(last).map_or(0, |at| at + last.len())
    }
}

impl<'de> Deserialize<'de> for Properties<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sections;

        impl<'de> Visitor<'de> for Sections {
            type Value = Properties<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the properties of a twin")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Properties::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut properties = Properties {
                    shape: Shape::Empty,
                    ..Properties::default()
                };
                while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    properties.shape = Shape::EndsAfter(value);
                    match &*key {
                        "desired" => properties.desired = Some(value),
                        "reported" => properties.reported = Some(value),
                        _ => {}
                    }
                }
                Ok(properties)
            }
        }

        deserializer.deserialize_any(Sections)
    }
}

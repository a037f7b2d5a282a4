//! Reads twins in one pass over the hub's text, without parsing what nobody has asked for yet.

use std::{borrow::Cow, fmt};

use azure_core::{Error, error::ErrorKind};
use bytes::Bytes;
use serde::{
    Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Twin, key::Key, members::Members, properties::Properties, text::after};

pub(super) fn twin(json: &Bytes) -> azure_core::Result<Twin> {
    let text = text(json)?;
    let read =
        |deserializer: &mut serde_json::Deserializer<_>| OneTwin { json, text, from: 0 }.deserialize(deserializer);
    whole(text, read, "a twin").map(|(twin, _)| twin)
}

pub(super) fn twins(json: &Bytes) -> azure_core::Result<Vec<Twin>> {
    let text = text(json)?;
    whole(
        text,
        |deserializer| Twins { json, text }.deserialize(deserializer),
        "an array of twins",
    )
}

/// Places in a text are kept as 32 bits.
fn text(json: &Bytes) -> azure_core::Result<&str> {
    let error = |message: &'static str| Error::with_message(ErrorKind::DataConversion, message);
    if u32::try_from(json.len()).is_err() {
        return Err(error("an answer of 4 GiB is no twin"));
    }
    std::str::from_utf8(json).map_err(|_| error("the JSON of a twin is UTF-8, which this is not"))
}

fn whole<'a, T>(
    text: &'a str,
    read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::StrRead<'a>>) -> serde_json::Result<T>,
    what: &'static str,
) -> azure_core::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = read(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| Error::with_error(ErrorKind::DataConversion, error, format!("this is not {what}")))
}

struct Twins<'a> {
    json: &'a Bytes,
    text: &'a str,
}

impl<'de> DeserializeSeed<'de> for Twins<'de> {
    type Value = Vec<Twin>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Twin>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Twins<'de> {
    type Value = Vec<Twin>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of twins")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Twin>, A::Error> {
        let Self { json, text } = self;
        let mut twins = Vec::new();
        let mut from = 0;
        while let Some((twin, end)) = seq.next_element_seed(OneTwin { json, text, from })? {
            twins.push(twin);
            from = end;
        }
        Ok(twins)
    }
}

/// A twin that begins at the first brace from `from` on. Gives it and where it ends.
struct OneTwin<'a> {
    json: &'a Bytes,
    text: &'a str,
    from: usize,
}

impl<'de> DeserializeSeed<'de> for OneTwin<'de> {
    type Value = (Twin, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(Twin, usize), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneTwin<'de> {
    type Value = (Twin, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a twin")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(Twin, usize), A::Error> {
        // Between one twin and the next, and between its last member and its end, stands nothing but punctuation.
        let start = self.from + self.text[self.from..].find('{').unwrap_or_default();
        let own = &self.text[start..];
        let mut members = Members::default();
        let mut end = 0;
        while let Some(Key(key)) = map.next_key()? {
            if let Cow::Borrowed(key @ "properties") = key {
                let properties: Properties<'de> = map.next_value()?;
                end = properties.end(key, own);
                members.set_properties(&properties, own);
            } else {
                let value: &'de RawValue = map.next_value()?;
                end = after(value.get(), own);
                let mismatch = |error| de::Error::custom(format_args!("`{key}`: {error}"));
                members.set(&key, value, own).map_err(mismatch)?;
            }
        }
        let end = start + end + own[end..].find('}').map_or(0, |brace| brace + 1);
        let device_id = members
            .device_id
            .take()
            .ok_or_else(|| de::Error::missing_field("deviceId"))?;
        let text = self.json.slice(start..end);
        Ok((
            Twin {
                text,
                device_id,
                members,
            },
            end,
        ))
    }
}

//! Bytes in records: as text if they are text, because that can be read.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A text, or `{"base64":"…"}`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Bytes(Base64),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Base64 {
    base64: String,
}

pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => Form::Bytes(Base64 {
            base64: BASE64_STANDARD.encode(bytes),
        })
        .serialize(serializer),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    read(Form::deserialize(deserializer)?)
}

fn read<E: Error>(form: Form) -> Result<Bytes, E> {
    match form {
        Form::Text(text) => Ok(text.into()),
        Form::Bytes(Base64 { base64 }) => {
            let bytes = BASE64_STANDARD.decode(base64);
            bytes.map(Bytes::from).map_err(|_| E::custom("not base64"))
        }
    }
}

/// The same for what may be missing.
pub(crate) mod option {
    use super::{Bytes, Deserialize, Deserializer, Form, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes the field itself")]
    pub(crate) fn serialize<S: Serializer>(bytes: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => super::serialize(bytes, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
        Option::<Form>::deserialize(deserializer)?.map(super::read).transpose()
    }
}

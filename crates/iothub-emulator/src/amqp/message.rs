use bytes::{Bytes, BytesMut};

use super::{
    composite::{Fields, code, entries},
    decode::{DecodeError, Decoder},
    encode::encode,
    value::Value,
};

/// A message: its sections, without the header, and without the delivery annotations of one that comes in.
///
/// It has no `Debug`, because the body of a put-token request is a token.
#[derive(Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) struct Message {
    pub(crate) delivery_annotations: Vec<(String, Value)>,
    pub(crate) annotations: Vec<(String, Value)>,
    pub(crate) properties: Properties,
    pub(crate) application_properties: Vec<(String, Value)>,
    pub(crate) body: Body,
}

/// The properties section.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) struct Properties {
    /// A string, ulong, uuid or binary, or null.
    pub(crate) message_id: Value,
    pub(crate) user_id: Option<Bytes>,
    pub(crate) to: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) reply_to: Option<String>,
    /// Of the same types as the message id.
    pub(crate) correlation_id: Value,
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub(crate) absolute_expiry_time: Option<i64>,
    /// Milliseconds since the Unix epoch.
    pub(crate) creation_time: Option<i64>,
}

/// The body of a message.
#[derive(Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) enum Body {
    #[default]
    Empty,
    /// One data section or more, which make one payload; in a batch each is a message.
    Data(Vec<Bytes>),
    /// The elements of all sequence sections.
    Sequence(Vec<Value>),
    Value(Value),
}

impl Message {
    pub(crate) fn read(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let mut message = Self::default();
        while !decoder.is_empty() {
            let Value::Described(section) = decoder.value()? else {
                return Err(DecodeError("a section of a message has no descriptor"));
            };
            let (descriptor, value) = *section;
            let code = code(&descriptor).ok_or(DecodeError("a message has a section that AMQP does not have"))?;
            match code {
                HEADER | DELIVERY_ANNOTATIONS | FOOTER => {}
                MESSAGE_ANNOTATIONS => message.annotations = annotations(value)?,
                PROPERTIES => message.properties = Properties::read(Value::composite(code, list(value)?))?,
                APPLICATION_PROPERTIES => message.application_properties = entries(value)?,
                _ => message.body = message.body.and(code, value)?,
            }
        }
        Ok(message)
    }

    /// The encoded message, with only those sections that hold something.
    pub(crate) fn into_bytes(self) -> Bytes {
        let mut out = BytesMut::new();
        for (code, annotations) in [
            (DELIVERY_ANNOTATIONS, self.delivery_annotations),
            (MESSAGE_ANNOTATIONS, self.annotations),
        ] {
            if !annotations.is_empty() {
                encode(&Value::described(code, Value::fields(annotations)), &mut out);
            }
        }
        if let Some(properties) = self.properties.into_value() {
            encode(&properties, &mut out);
        }
        if !self.application_properties.is_empty() {
            let entries = self.application_properties.into_iter();
            let map = Value::Map(entries.map(|(key, value)| (Value::String(key), value)).collect());
            encode(&Value::described(APPLICATION_PROPERTIES, map), &mut out);
        }
        match self.body {
            Body::Empty => {}
            Body::Data(parts) => {
                for part in parts {
                    encode(&Value::described(DATA, Value::Binary(part)), &mut out);
                }
            }
            Body::Sequence(items) => encode(&Value::described(SEQUENCE, Value::List(items)), &mut out),
            Body::Value(value) => encode(&Value::described(VALUE, value), &mut out),
        }
        out.freeze()
    }

    /// The annotation of this name.
    pub(crate) fn annotation(&self, name: &str) -> Option<&Value> {
        let (_, value) = self.annotations.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    /// The application property of this name.
    pub(crate) fn application_property(&self, name: &str) -> Option<&Value> {
        self.application_properties
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }
}

impl Properties {
    fn read(value: Value) -> Result<Self, DecodeError> {
        let (_, mut fields) = Fields::of(value)?;
        Ok(Self {
            message_id: fields.next(),
            user_id: fields.binary()?,
            to: fields.text()?,
            subject: fields.text()?,
            reply_to: fields.text()?,
            correlation_id: fields.next(),
            content_type: fields.text()?,
            content_encoding: fields.text()?,
            absolute_expiry_time: fields.timestamp()?,
            creation_time: fields.timestamp()?,
        })
    }

    fn into_value(self) -> Option<Value> {
        let mut fields = vec![
            self.message_id,
            self.user_id.map_or(Value::Null, Value::Binary),
            self.to.map_or(Value::Null, Value::String),
            self.subject.map_or(Value::Null, Value::String),
            self.reply_to.map_or(Value::Null, Value::String),
            self.correlation_id,
            self.content_type.map_or(Value::Null, Value::Symbol),
            self.content_encoding.map_or(Value::Null, Value::Symbol),
            self.absolute_expiry_time.map_or(Value::Null, Value::Timestamp),
            self.creation_time.map_or(Value::Null, Value::Timestamp),
        ];
        while fields.pop_if(|field| field.is_null()).is_some() {}
        (!fields.is_empty()).then(|| Value::composite(PROPERTIES, fields))
    }
}

impl Default for Properties {
    fn default() -> Self {
        Self {
            message_id: Value::Null,
            user_id: None,
            to: None,
            subject: None,
            reply_to: None,
            correlation_id: Value::Null,
            content_type: None,
            content_encoding: None,
            absolute_expiry_time: None,
            creation_time: None,
        }
    }
}

impl Body {
    /// The body with one more section.
    fn and(self, code: u64, value: Value) -> Result<Self, DecodeError> {
        match (self, code, value) {
            (Self::Empty, DATA, Value::Binary(part)) => Ok(Self::Data(vec![part])),
            (Self::Data(mut parts), DATA, Value::Binary(part)) => {
                parts.push(part);
                Ok(Self::Data(parts))
            }
            (Self::Empty, SEQUENCE, Value::List(items)) => Ok(Self::Sequence(items)),
            (Self::Sequence(mut all), SEQUENCE, Value::List(items)) => {
                all.extend(items);
                Ok(Self::Sequence(all))
            }
            (Self::Empty, VALUE, value) => Ok(Self::Value(value)),
            _ => Err(DecodeError("a message has a body that AMQP does not have")),
        }
    }
}

fn list(value: Value) -> Result<Vec<Value>, DecodeError> {
    match value {
        Value::List(items) => Ok(items),
        _ => Err(DecodeError("the properties of a message should be a list")),
    }
}

/// Annotations may have numbers for keys, which the standard reserves; those are left out.
fn annotations(value: Value) -> Result<Vec<(String, Value)>, DecodeError> {
    match value {
        Value::Map(pairs) => {
            let named = pairs.into_iter().filter(|(key, _)| !matches!(key, Value::Ulong(_)));
            entries(Value::Map(named.collect()))
        }
        _ => Err(DecodeError("annotations should be a map")),
    }
}

const HEADER: u64 = 0x70;
const DELIVERY_ANNOTATIONS: u64 = 0x71;
const MESSAGE_ANNOTATIONS: u64 = 0x72;
const PROPERTIES: u64 = 0x73;
const APPLICATION_PROPERTIES: u64 = 0x74;
const DATA: u64 = 0x75;
const SEQUENCE: u64 = 0x76;
const VALUE: u64 = 0x77;
const FOOTER: u64 = 0x78;

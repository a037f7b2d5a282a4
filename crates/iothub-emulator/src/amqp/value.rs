use bytes::Bytes;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

/// An AMQP value together with its type.
///
/// This is the emulator's own model of the type system: it does not use the one that the clients encode with, so that a
/// mistake there is seen here.
///
/// It has no `Debug`, because a value may be a token.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Ubyte(u8),
    Ushort(u16),
    Uint(u32),
    Ulong(u64),
    Byte(i8),
    Short(i16),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    /// A decimal of 4, 8 or 16 bytes, uninterpreted.
    Decimal(Bytes),
    Char(char),
    /// Milliseconds since the Unix epoch.
    Timestamp(i64),
    Uuid(Uuid),
    Binary(Bytes),
    String(String),
    Symbol(String),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    /// Elements of one type.
    Array(Vec<Self>),
    /// A descriptor and what it describes.
    Described(Box<(Self, Self)>),
}

impl Value {
    pub(crate) fn symbol(text: impl Into<String>) -> Self {
        Self::Symbol(text.into())
    }

    pub(crate) fn string(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// A list with a descriptor: how frames, termini and outcomes are written.
    pub(crate) fn composite(code: u64, fields: Vec<Self>) -> Self {
        Self::described(code, Self::List(fields))
    }

    pub(crate) fn described(code: u64, value: Self) -> Self {
        Self::Described(Box::new((Self::Ulong(code), value)))
    }

    /// A map with symbols for keys.
    pub(crate) fn fields(entries: impl IntoIterator<Item = (String, Self)>) -> Self {
        Self::Map(
            entries
                .into_iter()
                .map(|(key, value)| (Self::Symbol(key), value))
                .collect(),
        )
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text of a string or a symbol. Some clients write one where the standard asks for the other.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// A scalar as text. Clients send strings where texts belong; other scalars are taken at their word.
    pub(crate) fn to_text(&self) -> Option<String> {
        Some(match self {
            Self::Null => String::new(),
            Self::String(text) | Self::Symbol(text) => text.clone(),
            Self::Boolean(value) => value.to_string(),
            Self::Ubyte(value) => value.to_string(),
            Self::Ushort(value) => value.to_string(),
            Self::Uint(value) => value.to_string(),
            Self::Ulong(value) => value.to_string(),
            Self::Byte(value) => value.to_string(),
            Self::Short(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Long(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Double(value) => value.to_string(),
            Self::Char(value) => value.to_string(),
            Self::Uuid(value) => value.to_string(),
            Self::Timestamp(value) => time(*value)?.format(&Rfc3339).ok()?,
            Self::Decimal(_) | Self::Binary(_) | Self::List(_) | Self::Map(_) | Self::Array(_) | Self::Described(_) => {
                return None;
            }
        })
    }

    /// A whole number, of whatever width the peer wrote it.
    pub(crate) fn as_integer(&self) -> Option<i64> {
        Some(match self {
            Self::Ubyte(value) => (*value).into(),
            Self::Ushort(value) => (*value).into(),
            Self::Uint(value) => (*value).into(),
            Self::Ulong(value) => i64::try_from(*value).ok()?,
            Self::Byte(value) => (*value).into(),
            Self::Short(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Long(value) => *value,
            _ => return None,
        })
    }

    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            Self::String(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }
}

impl From<OffsetDateTime> for Value {
    fn from(time: OffsetDateTime) -> Self {
        let milliseconds = time.unix_timestamp_nanos() / 1_000_000;
        // Every time that this type has lies within what an i64 has room for.
        Self::Timestamp(i64::try_from(milliseconds).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Uint(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The time so many milliseconds after the Unix epoch; `None` beyond the year 9999.
pub(crate) fn time(milliseconds: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).ok()
}

use bytes::Bytes;
use time::OffsetDateTime;
use uuid::Uuid;

/// A value of AMQP's type system, as far as a hub uses it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AmqpValue {
    /// `null`
    Null,
    /// `boolean`
    Boolean(bool),
    /// `ubyte`
    Ubyte(u8),
    /// `ushort`
    Ushort(u16),
    /// `uint`
    Uint(u32),
    /// `ulong`
    Ulong(u64),
    /// `byte`
    Byte(i8),
    /// `short`
    Short(i16),
    /// `int`
    Int(i32),
    /// `long`
    Long(i64),
    /// `float`
    Float(f32),
    /// `double`
    Double(f64),
    /// `decimal32`, as its four bytes on the wire.
    Decimal32([u8; 4]),
    /// `decimal64`, as its eight bytes on the wire.
    Decimal64([u8; 8]),
    /// `decimal128`, as its sixteen bytes on the wire.
    Decimal128([u8; 16]),
    /// `char`
    Char(char),
    /// `timestamp`: milliseconds since 1970 on the wire, so finer parts are cut.
    Timestamp(OffsetDateTime),
    /// `uuid`
    Uuid(Uuid),
    /// `binary`
    Binary(Bytes),
    /// `string`
    String(String),
    /// `symbol`: ASCII.
    Symbol(String),
    /// `list`
    List(Vec<Self>),
    /// `map`, in the order of the wire.
    Map(Vec<(Self, Self)>),
    /// `array`: all of one type.
    Array(Vec<Self>),
    /// A described value: its descriptor and the value it describes.
    Described(Box<(Self, Self)>),
}

impl AmqpValue {
    /// The text of a string or symbol.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// An integer of any width, if it fits.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Ubyte(n) => Some(n.into()),
            Self::Ushort(n) => Some(n.into()),
            Self::Uint(n) => Some(n.into()),
            Self::Ulong(n) => n.try_into().ok(),
            Self::Byte(n) => Some(n.into()),
            Self::Short(n) => Some(n.into()),
            Self::Int(n) => Some(n.into()),
            Self::Long(n) => Some(n),
            _ => None,
        }
    }
}

impl From<&str> for AmqpValue {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for AmqpValue {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

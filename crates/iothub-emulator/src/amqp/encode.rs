use bytes::{BufMut, Bytes, BytesMut};

use super::{format, value::Value};

/// Writes a value in its shortest form, except that lists keep every null they are given: Microsoft's Event Hubs client
/// for Python reads the fields of a frame by position and fails when trailing nulls are left out.
pub(crate) fn encode(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Described(described) => {
            out.put_u8(format::DESCRIBED);
            encode(&described.0, out);
            encode(&described.1, out);
        }
        Value::Null => out.put_u8(format::NULL),
        Value::Boolean(true) => out.put_u8(format::TRUE),
        Value::Boolean(false) => out.put_u8(format::FALSE),
        Value::Uint(0) => out.put_u8(format::UINT0),
        Value::Ulong(0) => out.put_u8(format::ULONG0),
        Value::Uint(value) if u8::try_from(*value).is_ok() => out.put_slice(&[format::SMALL_UINT, *value as u8]),
        Value::Ulong(value) if u8::try_from(*value).is_ok() => out.put_slice(&[format::SMALL_ULONG, *value as u8]),
        Value::Int(value) if i8::try_from(*value).is_ok() => out.put_slice(&[format::SMALL_INT, *value as u8]),
        Value::Long(value) if i8::try_from(*value).is_ok() => out.put_slice(&[format::SMALL_LONG, *value as u8]),
        Value::Binary(bytes) => variable(format::BINARY8, bytes, out),
        Value::String(text) => variable(format::STRING8, text.as_bytes(), out),
        Value::Symbol(text) => variable(format::SYMBOL8, text.as_bytes(), out),
        Value::List(items) if items.is_empty() => out.put_u8(format::LIST0),
        Value::List(items) => compound(format::LIST8, items.len(), out, |out| {
            for item in items {
                encode(item, out);
            }
        }),
        Value::Map(pairs) => compound(format::MAP8, pairs.len() * 2, out, |out| {
            for (key, value) in pairs {
                encode(key, out);
                encode(value, out);
            }
        }),
        Value::Array(items) => array(items, out),
        _ => {
            out.put_u8(constructor(value));
            fixed(value, out);
        }
    }
}

/// The bytes of a value.
pub(crate) fn to_bytes(value: &Value) -> Bytes {
    let mut out = BytesMut::new();
    encode(value, &mut out);
    out.freeze()
}

/// An array needs one constructor for all elements: the widest of the first one's type. Elements of several types, or
/// described ones, are written as a list, which no peer of a hub is ever sent.
fn array(items: &[Value], out: &mut BytesMut) {
    let code = items.first().map_or(format::NULL, constructor);
    if code == format::DESCRIBED || items.iter().any(|item| constructor(item) != code) {
        return compound(format::LIST8, items.len(), out, |out| {
            for item in items {
                encode(item, out);
            }
        });
    }
    compound(format::ARRAY8, items.len(), out, |out| {
        out.put_u8(code);
        for item in items {
            fixed(item, out);
        }
    });
}

/// The one constructor that fits every value of the type.
fn constructor(value: &Value) -> u8 {
    match value {
        Value::Null => format::NULL,
        Value::Boolean(_) => format::BOOLEAN,
        Value::Ubyte(_) => format::UBYTE,
        Value::Ushort(_) => format::USHORT,
        Value::Uint(_) => format::UINT,
        Value::Ulong(_) => format::ULONG,
        Value::Byte(_) => format::BYTE,
        Value::Short(_) => format::SHORT,
        Value::Int(_) => format::INT,
        Value::Long(_) => format::LONG,
        Value::Float(_) => format::FLOAT,
        Value::Double(_) => format::DOUBLE,
        Value::Decimal(bytes) => match bytes.len() {
            4 => format::DECIMAL32,
            8 => format::DECIMAL64,
            _ => format::DECIMAL128,
        },
        Value::Char(_) => format::CHAR,
        Value::Timestamp(_) => format::TIMESTAMP,
        Value::Uuid(_) => format::UUID,
        Value::Binary(_) => format::BINARY32,
        Value::String(_) => format::STRING32,
        Value::Symbol(_) => format::SYMBOL32,
        // Compound elements never stand in an array of ours; as described ones they turn it into a list.
        Value::List(_) | Value::Map(_) | Value::Array(_) | Value::Described(_) => format::DESCRIBED,
    }
}

/// What follows the constructor that [`constructor`] names.
fn fixed(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Null | Value::List(_) | Value::Map(_) | Value::Array(_) | Value::Described(_) => {}
        Value::Boolean(value) => out.put_u8((*value).into()),
        Value::Ubyte(value) => out.put_u8(*value),
        Value::Ushort(value) => out.put_u16(*value),
        Value::Uint(value) => out.put_u32(*value),
        Value::Ulong(value) => out.put_u64(*value),
        Value::Byte(value) => out.put_i8(*value),
        Value::Short(value) => out.put_i16(*value),
        Value::Int(value) => out.put_i32(*value),
        Value::Long(value) => out.put_i64(*value),
        Value::Float(value) => out.put_f32(*value),
        Value::Double(value) => out.put_f64(*value),
        Value::Decimal(bytes) => out.put_slice(bytes),
        Value::Char(value) => out.put_u32((*value).into()),
        Value::Timestamp(value) => out.put_i64(*value),
        Value::Uuid(value) => out.put_slice(value.as_bytes()),
        Value::Binary(bytes) => wide(bytes, out),
        Value::String(text) | Value::Symbol(text) => wide(text.as_bytes(), out),
    }
}

fn wide(bytes: &[u8], out: &mut BytesMut) {
    out.put_u32(length(bytes.len()));
    out.put_slice(bytes);
}

/// Writes a variable-width value; the wide constructors are 16 above the narrow ones.
fn variable(narrow: u8, bytes: &[u8], out: &mut BytesMut) {
    match u8::try_from(bytes.len()) {
        Ok(length) => {
            out.put_slice(&[narrow, length]);
            out.put_slice(bytes);
        }
        Err(_) => {
            out.put_u8(narrow + 0x10);
            wide(bytes, out);
        }
    }
}

fn compound(narrow: u8, count: usize, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let mut body = BytesMut::new();
    write(&mut body);
    match (u8::try_from(body.len() + 1), u8::try_from(count)) {
        (Ok(size), Ok(count)) => out.put_slice(&[narrow, size, count]),
        _ => {
            out.put_u8(narrow + 0x10);
            out.put_u32(length(body.len() + 4));
            out.put_u32(length(count));
        }
    }
    out.put_slice(&body);
}

/// What the emulator sends is bounded by the message size long before it could be bounded by 32 bits.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{super::decode::Decoder, *};

    #[test]
    fn values_survive_the_wire() {
        for value in [
            Value::Null,
            Value::Uint(255),
            Value::Uint(256),
            Value::Ulong(u64::MAX),
            Value::Int(-129),
            Value::Int(200),
            Value::Long(-1),
            Value::Decimal(Bytes::from_static(&[0; 8])),
            Value::string("x".repeat(255)),
            Value::string("x".repeat(256)),
            Value::List(vec![Value::Null; 300]),
            Value::Array(vec![Value::string("a"), Value::string("b")]),
            Value::Array(vec![Value::Boolean(true), Value::Boolean(false)]),
            Value::Map(vec![(Value::symbol("k"), Value::described(0x70, Value::Timestamp(-1)))]),
        ] {
            let decoded = Decoder::new(to_bytes(&value)).value();
            assert_eq!(decoded, Ok(value));
        }
    }

    /// Taken from the standard's examples and from what rhea writes.
    #[test]
    fn forms_are_the_shortest_and_nulls_stay() {
        for (value, bytes) in [
            (Value::Uint(0), &[0x43][..]),
            (Value::Uint(9), &[0x52, 9]),
            (Value::Int(200), &[0x71, 0, 0, 0, 200]),
            (Value::composite(0x24, vec![]), &[0x00, 0x53, 0x24, 0x45]),
            (
                Value::composite(0x18, vec![Value::Null]),
                &[0x00, 0x53, 0x18, 0xc0, 2, 1, 0x40],
            ),
            (
                Value::Array(vec![Value::symbol("a")]),
                &[0xe0, 7, 1, 0xb3, 0, 0, 0, 1, b'a'],
            ),
        ] {
            assert_eq!(&to_bytes(&value)[..], bytes);
        }
    }
}

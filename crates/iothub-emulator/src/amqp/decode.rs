use std::fmt;

use bytes::{Buf, Bytes};
use uuid::Uuid;

use super::{format, value::Value};

/// Reads values from bytes that anybody may have written.
///
/// Nothing is allocated on the word of a count: a count is compared with the bytes that are left and with a budget of
/// values for the whole decoder, and nesting ends at [`MAX_DEPTH`]. Binaries are slices of the input.
pub(crate) struct Decoder {
    bytes: Bytes,
    budget: usize,
}

/// Bytes that are not AMQP, and what is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DecodeError(pub(crate) &'static str);

impl Decoder {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self {
            bytes,
            budget: MAX_VALUES,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Reads the next value.
    pub(crate) fn value(&mut self) -> Result<Value, DecodeError> {
        read(&mut self.bytes, &mut self.budget, 0)
    }

    /// What has not been read.
    pub(crate) fn rest(self) -> Bytes {
        self.bytes
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

fn read(bytes: &mut Bytes, budget: &mut usize, depth: usize) -> Result<Value, DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError("values are nested too deep"));
    }
    let constructor = u8::from_be_bytes(fixed(bytes)?);
    if constructor == format::DESCRIBED {
        let descriptor = read(bytes, budget, depth + 1)?;
        let value = read(bytes, budget, depth + 1)?;
        return Ok(Value::Described(Box::new((descriptor, value))));
    }
    body(constructor, bytes, budget, depth)
}

/// Reads what follows a constructor.
fn body(constructor: u8, bytes: &mut Bytes, budget: &mut usize, depth: usize) -> Result<Value, DecodeError> {
    *budget = budget.checked_sub(1).ok_or(DecodeError("too many values"))?;
    Ok(match constructor {
        format::NULL => Value::Null,
        format::TRUE => Value::Boolean(true),
        format::FALSE => Value::Boolean(false),
        format::BOOLEAN => match u8::from_be_bytes(fixed(bytes)?) {
            0 => Value::Boolean(false),
            1 => Value::Boolean(true),
            _ => return Err(DecodeError("a boolean is neither 0 nor 1")),
        },
        format::UBYTE => Value::Ubyte(u8::from_be_bytes(fixed(bytes)?)),
        format::USHORT => Value::Ushort(u16::from_be_bytes(fixed(bytes)?)),
        format::UINT => Value::Uint(u32::from_be_bytes(fixed(bytes)?)),
        format::SMALL_UINT => Value::Uint(u8::from_be_bytes(fixed(bytes)?).into()),
        format::UINT0 => Value::Uint(0),
        format::ULONG => Value::Ulong(u64::from_be_bytes(fixed(bytes)?)),
        format::SMALL_ULONG => Value::Ulong(u8::from_be_bytes(fixed(bytes)?).into()),
        format::ULONG0 => Value::Ulong(0),
        format::BYTE => Value::Byte(i8::from_be_bytes(fixed(bytes)?)),
        format::SHORT => Value::Short(i16::from_be_bytes(fixed(bytes)?)),
        format::INT => Value::Int(i32::from_be_bytes(fixed(bytes)?)),
        format::SMALL_INT => Value::Int(i8::from_be_bytes(fixed(bytes)?).into()),
        format::LONG => Value::Long(i64::from_be_bytes(fixed(bytes)?)),
        format::SMALL_LONG => Value::Long(i8::from_be_bytes(fixed(bytes)?).into()),
        format::FLOAT => Value::Float(f32::from_be_bytes(fixed(bytes)?)),
        format::DOUBLE => Value::Double(f64::from_be_bytes(fixed(bytes)?)),
        format::DECIMAL32 => Value::Decimal(take(bytes, 4)?),
        format::DECIMAL64 => Value::Decimal(take(bytes, 8)?),
        format::DECIMAL128 => Value::Decimal(take(bytes, 16)?),
        format::CHAR => {
            let code = u32::from_be_bytes(fixed(bytes)?);
            Value::Char(char::from_u32(code).ok_or(DecodeError("a char is no Unicode character"))?)
        }
        format::TIMESTAMP => Value::Timestamp(i64::from_be_bytes(fixed(bytes)?)),
        format::UUID => Value::Uuid(Uuid::from_bytes(fixed(bytes)?)),
        format::BINARY8 | format::BINARY32 => Value::Binary(variable(constructor, bytes)?),
        format::STRING8 | format::STRING32 => Value::String(text(variable(constructor, bytes)?)?),
        format::SYMBOL8 | format::SYMBOL32 => Value::Symbol(text(variable(constructor, bytes)?)?),
        format::LIST0 => Value::List(Vec::new()),
        format::LIST8 | format::LIST32 => {
            let (mut body, count) = compound(constructor, bytes)?;
            let items = many(count, body.len(), budget, |budget| read(&mut body, budget, depth + 1))?;
            exhausted(&body)?;
            Value::List(items)
        }
        format::MAP8 | format::MAP32 => {
            let (mut body, count) = compound(constructor, bytes)?;
            if count % 2 != 0 {
                return Err(DecodeError("a map has a key without a value"));
            }
            let pairs = many(count / 2, body.len() / 2, budget, |budget| {
                let key = read(&mut body, budget, depth + 1)?;
                Ok((key, read(&mut body, budget, depth + 1)?))
            })?;
            exhausted(&body)?;
            Value::Map(pairs)
        }
        format::ARRAY8 | format::ARRAY32 => {
            let (body, count) = compound(constructor, bytes)?;
            array(body, count, budget, depth)?
        }
        _ => return Err(DecodeError("a constructor that AMQP does not have")),
    })
}

/// Reads the elements of an array, which share one constructor. Elements such as null take no bytes at all, so that
/// here only the budget bounds the count.
fn array(mut body: Bytes, count: usize, budget: &mut usize, depth: usize) -> Result<Value, DecodeError> {
    let mut descriptors = Vec::new();
    let mut constructor = u8::from_be_bytes(fixed(&mut body)?);
    while constructor == format::DESCRIBED {
        if depth + descriptors.len() > MAX_DEPTH {
            return Err(DecodeError("values are nested too deep"));
        }
        let descriptor = read(&mut body, budget, depth + 1)?;
        // Each element gets a copy of it, so a long one would be a bomb.
        match &descriptor {
            Value::Ulong(_) => descriptors.push(descriptor),
            Value::Symbol(name) if name.len() <= MAX_DESCRIPTOR => descriptors.push(descriptor),
            _ => return Err(DecodeError("a descriptor is neither a ulong nor a short symbol")),
        }
        constructor = u8::from_be_bytes(fixed(&mut body)?);
    }
    let items = many(count, *budget, budget, |budget| {
        *budget = budget
            .checked_sub(descriptors.len())
            .ok_or(DecodeError("too many values"))?;
        let item = self::body(constructor, &mut body, budget, depth + 1)?;
        Ok(descriptors.iter().rev().fold(item, |item, descriptor| {
            Value::Described(Box::new((descriptor.clone(), item)))
        }))
    })?;
    exhausted(&body)?;
    Ok(Value::Array(items))
}

fn many<T>(
    count: usize,
    at_most: usize,
    budget: &mut usize,
    mut one: impl FnMut(&mut usize) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    if count > at_most || count > *budget {
        return Err(DecodeError("a count is larger than what follows"));
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        items.push(one(budget)?);
    }
    Ok(items)
}

/// The body of a list, map or array, and its count.
fn compound(constructor: u8, bytes: &mut Bytes) -> Result<(Bytes, usize), DecodeError> {
    let wide = constructor & 0xf0 == 0xd0 || constructor & 0xf0 == 0xf0;
    let size = length(wide, bytes)?;
    let mut body = take(bytes, size)?;
    let count = length(wide, &mut body)?;
    Ok((body, count))
}

fn variable(constructor: u8, bytes: &mut Bytes) -> Result<Bytes, DecodeError> {
    let size = length(constructor & 0xf0 == 0xb0, bytes)?;
    take(bytes, size)
}

fn length(wide: bool, bytes: &mut Bytes) -> Result<usize, DecodeError> {
    if wide {
        usize::try_from(u32::from_be_bytes(fixed(bytes)?)).map_err(|_| ENDED)
    } else {
        Ok(u8::from_be_bytes(fixed(bytes)?).into())
    }
}

fn text(bytes: Bytes) -> Result<String, DecodeError> {
    String::from_utf8(bytes.into()).map_err(|_| DecodeError("a string is not UTF-8"))
}

fn take(bytes: &mut Bytes, count: usize) -> Result<Bytes, DecodeError> {
    if count > bytes.len() {
        return Err(ENDED);
    }
    Ok(bytes.split_to(count))
}

fn fixed<const N: usize>(bytes: &mut Bytes) -> Result<[u8; N], DecodeError> {
    let mut array = [0; N];
    bytes.try_copy_to_slice(&mut array).map_err(|_| ENDED)?;
    Ok(array)
}

fn exhausted(body: &Bytes) -> Result<(), DecodeError> {
    if body.is_empty() {
        Ok(())
    } else {
        Err(DecodeError("a compound value is longer than its elements"))
    }
}

const ENDED: DecodeError = DecodeError("a value ends too early");

/// No peer of a hub nests deeper than a dozen levels.
const MAX_DEPTH: usize = 64;

/// The longest descriptor the standard has is 38 characters.
const MAX_DESCRIPTOR: usize = 64;

/// How many values one frame or message may have. It bounds memory, because one byte on the wire becomes forty here.
const MAX_VALUES: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
        Decoder::new(Bytes::copy_from_slice(bytes)).value()
    }

    /// Encodings from the examples and tables of the AMQP 1.0 standard, part 1.
    #[test]
    fn every_constructor_is_read() {
        for (bytes, value) in [
            (&[0x40][..], Value::Null),
            (&[0x41], Value::Boolean(true)),
            (&[0x56, 0x00], Value::Boolean(false)),
            (&[0x50, 0xff], Value::Ubyte(255)),
            (&[0x60, 0x01, 0x02], Value::Ushort(258)),
            (&[0x70, 0, 0, 1, 0], Value::Uint(256)),
            (&[0x52, 0xff], Value::Uint(255)),
            (&[0x43], Value::Uint(0)),
            (&[0x80, 0, 0, 0, 0, 0, 0, 0, 9], Value::Ulong(9)),
            (&[0x53, 0x10], Value::Ulong(16)),
            (&[0x44], Value::Ulong(0)),
            (&[0x51, 0x80], Value::Byte(-128)),
            (&[0x61, 0xff, 0xfe], Value::Short(-2)),
            (&[0x71, 0, 0, 0, 200], Value::Int(200)),
            (&[0x54, 0xff], Value::Int(-1)),
            (&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Value::Long(-1)),
            (&[0x55, 0x7f], Value::Long(127)),
            (&[0x72, 0x3f, 0x80, 0, 0], Value::Float(1.0)),
            (&[0x82, 0xbf, 0xf0, 0, 0, 0, 0, 0, 0], Value::Double(-1.0)),
            (&[0x74, 1, 2, 3, 4], Value::Decimal(Bytes::from_static(&[1, 2, 3, 4]))),
            (&[0x73, 0, 1, 0xf6, 0x00], Value::Char('😀')),
            (&[0x83, 0, 0, 0, 0, 0, 0, 3, 0xe8], Value::Timestamp(1000)),
            (&[0xa0, 2, 1, 2], Value::Binary(Bytes::from_static(&[1, 2]))),
            (&[0xb0, 0, 0, 0, 1, 7], Value::Binary(Bytes::from_static(&[7]))),
            (&[0xa1, 2, 0xc3, 0xa4], Value::string("ä")),
            (&[0xb1, 0, 0, 0, 1, b'a'], Value::string("a")),
            (&[0xa3, 1, b's'], Value::symbol("s")),
            (&[0xb3, 0, 0, 0, 1, b's'], Value::symbol("s")),
            (&[0x45], Value::List(vec![])),
            (
                &[0xc0, 3, 2, 0x40, 0x43],
                Value::List(vec![Value::Null, Value::Uint(0)]),
            ),
            (
                &[0xd0, 0, 0, 0, 5, 0, 0, 0, 1, 0x41],
                Value::List(vec![Value::Boolean(true)]),
            ),
            (
                &[0xc1, 3, 2, 0x41, 0x40],
                Value::Map(vec![(Value::Boolean(true), Value::Null)]),
            ),
            (
                &[0xe0, 4, 2, 0x50, 1, 2],
                Value::Array(vec![Value::Ubyte(1), Value::Ubyte(2)]),
            ),
            (&[0xe0, 2, 3, 0x41], Value::Array(vec![Value::Boolean(true); 3])),
            (
                &[0xf0, 0, 0, 0, 9, 0, 0, 0, 1, 0x00, 0x53, 0x24, 0x50, 7],
                Value::Array(vec![Value::described(0x24, Value::Ubyte(7))]),
            ),
            (&[0x00, 0x53, 0x24, 0x45], Value::composite(0x24, vec![])),
        ] {
            assert_eq!(decode(bytes), Ok(value), "{bytes:02x?}");
            for end in 0..bytes.len() {
                assert!(decode(&bytes[..end]).is_err(), "{:02x?}", &bytes[..end]);
            }
        }
    }

    #[test]
    fn bombs_are_refused_before_they_cost_memory() {
        // 2³² − 1 elements in nothing, as a list, a map, and an array of nulls, which take no bytes.
        assert!(decode(&[0xd0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(decode(&[0xd1, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xfe]).is_err());
        assert!(decode(&[0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40]).is_err());
        assert!(decode(&[0xb1, 0xff, 0xff, 0xff, 0xff]).is_err());
        // Ten thousand levels, as descriptors and as lists.
        assert!(decode(&[0x00; 10_000]).is_err());
        assert!(decode(&[0xe0, 0xff, 0x01, 0x00].repeat(10_000)).is_err());
        let mut nested = vec![0x40];
        for _ in 0..10_000 {
            let size = u32::try_from(nested.len() + 4).unwrap();
            nested = [&[0xd0][..], &size.to_be_bytes(), &1_u32.to_be_bytes(), &nested].concat();
        }
        assert_eq!(decode(&nested), Err(DecodeError("values are nested too deep")));
        // Each array of nulls is within its bounds; all of them together are not.
        let one = [0xf0, 0, 0, 0, 5, 0, 0, 0xff, 0xff, 0x40];
        let size = u32::try_from(one.len() * 100 + 4).unwrap();
        let all = [
            &[0xd0][..],
            &size.to_be_bytes(),
            &100_u32.to_be_bytes(),
            &one.repeat(100),
        ]
        .concat();
        assert!(decode(&all).is_err());
    }

    #[test]
    fn what_is_not_amqp_is_refused() {
        for bytes in [
            &[0x57][..],               // no such constructor
            &[0x56, 2],                // a boolean of 2
            &[0x73, 0, 0x11, 0, 0],    // beyond Unicode
            &[0xa1, 1, 0xff],          // not UTF-8
            &[0xc1, 2, 1, 0x40],       // a key without a value
            &[0xc0, 3, 1, 0x40, 0x40], // longer than its elements
        ] {
            assert!(decode(bytes).is_err(), "{bytes:02x?}");
        }
    }
}

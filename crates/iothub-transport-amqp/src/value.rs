//! Values of the seam and values of the engine.

use azure_core::{Error, Result, error::ErrorKind};
use fe2o3_amqp_types::{
    definitions::Fields,
    primitives::{Array, Binary, OrderedMap, SimpleValue, Symbol, Timestamp, Uuid, Value},
};
use iothub_core::amqp::AmqpValue;
use serde_amqp::{described::Described, descriptor::Descriptor};
use time::OffsetDateTime;

/// The engine's form of `value`.
///
/// # Errors
///
/// The value is none that AMQP can write: a symbol outside ASCII, an array of several types, a map with a key twice, a
/// descriptor that is neither a symbol nor a ulong.
pub(crate) fn into_engine(value: AmqpValue) -> Result<Value> {
    Ok(match value {
        AmqpValue::Null => Value::Null,
        AmqpValue::Boolean(value) => Value::Bool(value),
        AmqpValue::Ubyte(value) => Value::Ubyte(value),
        AmqpValue::Ushort(value) => Value::Ushort(value),
        AmqpValue::Uint(value) => Value::Uint(value),
        AmqpValue::Ulong(value) => Value::Ulong(value),
        AmqpValue::Byte(value) => Value::Byte(value),
        AmqpValue::Short(value) => Value::Short(value),
        AmqpValue::Int(value) => Value::Int(value),
        AmqpValue::Long(value) => Value::Long(value),
        AmqpValue::Float(value) => Value::from(value),
        AmqpValue::Double(value) => Value::from(value),
        AmqpValue::Decimal32(value) => Value::Decimal32(value.into()),
        AmqpValue::Decimal64(value) => Value::Decimal64(value.into()),
        AmqpValue::Decimal128(value) => Value::Decimal128(value.into()),
        AmqpValue::Char(value) => Value::Char(value),
        AmqpValue::Timestamp(value) => Value::Timestamp(into_timestamp(value)),
        AmqpValue::Uuid(value) => Value::Uuid(Uuid::from(value.into_bytes())),
        AmqpValue::Binary(value) => Value::Binary(Binary::from(Vec::from(value))),
        AmqpValue::String(value) => Value::String(value),
        AmqpValue::Symbol(value) => Value::Symbol(into_symbol(value)?),
        AmqpValue::List(values) => Value::List(into_engine_all(values)?),
        AmqpValue::Map(entries) => {
            let count = entries.len();
            let mut map = OrderedMap::new();
            for (key, value) in entries {
                map.insert(into_engine(key)?, into_engine(value)?);
            }
            match map.len() == count {
                true => Value::Map(map),
                false => return Err(unwritable("a map has one key twice")),
            }
        }
        AmqpValue::Array(values) => {
            let same = |pair: &[AmqpValue]| std::mem::discriminant(&pair[0]) == std::mem::discriminant(&pair[1]);
            match values.windows(2).all(same) {
                true => Value::Array(Array(into_engine_all(values)?)),
                false => return Err(unwritable("an array holds values of several types, where a list could")),
            }
        }
        AmqpValue::Described(described) => {
            let descriptor = match described.0 {
                AmqpValue::Symbol(name) => Descriptor::Name(into_symbol(name)?),
                AmqpValue::Ulong(code) => Descriptor::Code(code),
                _ => return Err(unwritable("a descriptor is neither a symbol nor a ulong")),
            };
            let value = into_engine(described.1)?;
            Value::Described(Box::new(Described { descriptor, value }))
        }
        other => {
            return Err(unwritable(&format!(
                "this transport does not know the type of {other:?}"
            )));
        }
    })
}

/// The seam's form of `value`. Times outside the years of the calendar come out as its first or last moment.
pub(crate) fn from_engine(value: Value) -> AmqpValue {
    match value {
        Value::Null => AmqpValue::Null,
        Value::Bool(value) => AmqpValue::Boolean(value),
        Value::Ubyte(value) => AmqpValue::Ubyte(value),
        Value::Ushort(value) => AmqpValue::Ushort(value),
        Value::Uint(value) => AmqpValue::Uint(value),
        Value::Ulong(value) => AmqpValue::Ulong(value),
        Value::Byte(value) => AmqpValue::Byte(value),
        Value::Short(value) => AmqpValue::Short(value),
        Value::Int(value) => AmqpValue::Int(value),
        Value::Long(value) => AmqpValue::Long(value),
        Value::Float(value) => AmqpValue::Float(value.into_inner()),
        Value::Double(value) => AmqpValue::Double(value.into_inner()),
        Value::Decimal32(value) => AmqpValue::Decimal32(value.into_inner()),
        Value::Decimal64(value) => AmqpValue::Decimal64(value.into_inner()),
        Value::Decimal128(value) => AmqpValue::Decimal128(value.into_inner()),
        Value::Char(value) => AmqpValue::Char(value),
        Value::Timestamp(value) => AmqpValue::Timestamp(from_timestamp(&value)),
        Value::Uuid(value) => AmqpValue::Uuid(uuid::Uuid::from_bytes(value.into_inner())),
        Value::Binary(value) => AmqpValue::Binary(value.into_vec().into()),
        Value::String(value) => AmqpValue::String(value),
        Value::Symbol(value) => AmqpValue::Symbol(value.0),
        Value::List(values) => AmqpValue::List(values.into_iter().map(from_engine).collect()),
        Value::Map(map) => {
            let entries = map.into_inner().into_iter();
            AmqpValue::Map(
                entries
                    .map(|(key, value)| (from_engine(key), from_engine(value)))
                    .collect(),
            )
        }
        Value::Array(values) => AmqpValue::Array(values.0.into_iter().map(from_engine).collect()),
        Value::Described(described) => {
            let descriptor = match described.descriptor {
                Descriptor::Name(name) => AmqpValue::Symbol(name.0),
                Descriptor::Code(code) => AmqpValue::Ulong(code),
            };
            AmqpValue::Described(Box::new((descriptor, from_engine(described.value))))
        }
    }
}

/// The engine's form of a value that must be neither list, map nor array, as application properties are.
pub(crate) fn into_simple(name: &str, value: AmqpValue) -> Result<SimpleValue> {
    SimpleValue::try_from(into_engine(value)?)
        .map_err(|_| unwritable(&format!("the application property {name:?} is a list, map or array")))
}

/// A map whose keys are symbols.
pub(crate) fn into_fields(entries: Vec<(String, AmqpValue)>) -> Result<Fields> {
    let mut fields = Fields::new();
    for (key, value) in entries {
        fields.insert(into_symbol(key)?, into_engine(value)?);
    }
    Ok(fields)
}

pub(crate) fn from_fields(fields: Fields) -> Vec<(String, AmqpValue)> {
    let entries = fields.into_inner().into_iter();
    entries.map(|(key, value)| (key.0, from_engine(value))).collect()
}

pub(crate) fn into_symbol(text: String) -> Result<Symbol> {
    match text.is_ascii() {
        true => Ok(Symbol(text)),
        false => Err(unwritable(&format!("{text:?} is not a symbol, which is ASCII"))),
    }
}

pub(crate) fn into_timestamp(time: OffsetDateTime) -> Timestamp {
    let milliseconds = time.unix_timestamp_nanos().div_euclid(NANOS_IN_MILLI);
    // The years that `time` knows make less than 2^49 milliseconds.
    Timestamp::from_milliseconds(i64::try_from(milliseconds).unwrap_or(i64::MAX))
}

pub(crate) fn from_timestamp(timestamp: &Timestamp) -> OffsetDateTime {
    let milliseconds = timestamp.milliseconds();
    let nanos = i128::from(milliseconds) * NANOS_IN_MILLI;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(match milliseconds {
        ..0 => time::PrimitiveDateTime::MIN.assume_utc(),
        _ => time::PrimitiveDateTime::MAX.assume_utc(),
    })
}

pub(crate) fn unwritable(why: &str) -> Error {
    Error::with_message(ErrorKind::DataConversion, format!("not a message of AMQP: {why}"))
}

fn into_engine_all(values: Vec<AmqpValue>) -> Result<Vec<Value>> {
    values.into_iter().map(into_engine).collect()
}

const NANOS_IN_MILLI: i128 = 1_000_000;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire_samples::samples;

    fn binary(bytes: &[u8]) -> AmqpValue {
        AmqpValue::Binary(Bytes::copy_from_slice(bytes))
    }

    fn symbol(text: &str) -> AmqpValue {
        AmqpValue::Symbol(text.to_owned())
    }

    fn timestamp(milliseconds: i64) -> AmqpValue {
        AmqpValue::Timestamp(OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).unwrap())
    }

    fn expected(name: &str) -> Option<AmqpValue> {
        use AmqpValue as V;
        let uuid = || V::Uuid("00112233-4455-6677-8899-aabbccddeeff".parse().unwrap());
        Some(match name {
            "boolean true" => V::Boolean(true),
            "boolean false" => V::Boolean(false),
            "ubyte 200" => V::Ubyte(200),
            "ushort 60000" => V::Ushort(60_000),
            "uint 0" => V::Uint(0),
            "uint 200" => V::Uint(200),
            "uint 4000000000" => V::Uint(4_000_000_000),
            "ulong 0" => V::Ulong(0),
            "ulong 200" => V::Ulong(200),
            "ulong 5000000000" => V::Ulong(5_000_000_000),
            "byte -100" => V::Byte(-100),
            "short -30000" => V::Short(-30_000),
            "int -100" => V::Int(-100),
            "int -2000000000" => V::Int(-2_000_000_000),
            "long -100" => V::Long(-100),
            "long -5000000000" => V::Long(-5_000_000_000),
            "float 1.5" => V::Float(1.5),
            "double -2.25" => V::Double(-2.25),
            "timestamp 1700000000123" => timestamp(1_700_000_000_123),
            "timestamp -1" => timestamp(-1),
            "uuid" => uuid(),
            "binary" => binary(&[0, 1, 2, 0xff]),
            "binary long" => binary(&[7; 300]),
            "string" => V::from("h\u{fc}b"),
            "string long" => V::from("x".repeat(300)),
            "symbol" => symbol("com.microsoft:timeout"),
            "list empty" => V::List(Vec::new()),
            "list" => V::List(vec![V::Int(1), V::from("two"), V::Null]),
            "map" => V::Map(vec![(V::from("b"), V::Int(2)), (V::from("a"), V::Boolean(true))]),
            "symbolic map" => V::Map(vec![(symbol("x-opt-a"), V::Ulong(9))]),
            "array int" => V::Array(vec![V::Int(1), V::Int(2), V::Int(-3)]),
            "array symbol" => V::Array(vec![symbol("a"), symbol("bc")]),
            "array string" => V::Array(vec![V::from("a"), V::from("bc")]),
            "array uuid" => V::Array(vec![uuid()]),
            "char" => V::Char('€'),
            "decimal32" => V::Decimal32([0x22, 0x50, 0, 1]),
            "decimal64" => V::Decimal64([0x22, 0x38, 0, 0, 0, 0, 0, 1]),
            "decimal128" => V::Decimal128(std::array::from_fn(|byte| byte as u8)),
            "described" => V::Described(Box::new((symbol("com.microsoft:timespan"), V::Long(36_000_000_000)))),
            "described by ulong" => V::Described(Box::new((V::Ulong(117), binary(b"x")))),
            _ => return None,
        })
    }

    /// Of lists, maps and arrays there is a short and a long form; the samples have one and the engine writes another.
    const WRITTEN_OTHERWISE: [&str; 7] = [
        "list",
        "map",
        "symbolic map",
        "array int",
        "array symbol",
        "array string",
        "array uuid",
    ];

    #[test]
    fn values_of_other_implementations_are_read_and_written_alike() {
        let mut seen = 0;
        for (name, bytes) in samples().into_iter().filter(|(name, _)| !name.starts_with("message")) {
            let value = expected(&name).unwrap_or_else(|| panic!("no value for the sample {name}"));
            assert_eq!(from_engine(serde_amqp::from_slice(&bytes).unwrap()), value, "{name}");
            let written = serde_amqp::to_vec(&into_engine(value.clone()).unwrap()).unwrap();
            if !WRITTEN_OTHERWISE.contains(&name.as_str()) {
                assert_eq!(written, bytes, "{name}");
            }
            assert_eq!(from_engine(serde_amqp::from_slice(&written).unwrap()), value, "{name}");
            seen += 1;
        }
        assert_eq!(seen, 43);
    }

    #[test]
    fn what_amqp_cannot_write_is_refused_with_the_reason() {
        use AmqpValue as V;
        for (value, part) in [
            (symbol("h\u{fc}b"), "ASCII"),
            (V::Array(vec![V::Int(1), V::Long(1)]), "several types"),
            (V::Map(vec![(V::Int(1), V::Null), (V::Int(1), V::Null)]), "twice"),
            (V::Described(Box::new((V::Int(1), V::Null))), "descriptor"),
            (V::List(vec![V::List(vec![symbol("\u{20ac}")])]), "ASCII"),
        ] {
            let error = into_engine(value).unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::DataConversion);
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(
            into_simple("n", V::List(Vec::new()))
                .unwrap_err()
                .to_string()
                .contains("\"n\"")
        );
    }

    #[test]
    fn times_beyond_the_calendar_are_its_ends() {
        assert_eq!(from_timestamp(&i64::MAX.into()).year(), 9999);
        assert_eq!(from_timestamp(&i64::MIN.into()).year(), -9999);
        let before_the_epoch = OffsetDateTime::from_unix_timestamp_nanos(-1).unwrap();
        assert_eq!(into_timestamp(before_the_epoch).milliseconds(), -1);
    }
}

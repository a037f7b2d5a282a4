use super::{decode::DecodeError, error::AmqpError, value::Value};

/// The fields of a composite type, read in order. A field left out at the end reads as null.
pub(crate) struct Fields(std::vec::IntoIter<Value>);

impl Fields {
    /// Takes a described list apart into its descriptor's code and its fields.
    pub(crate) fn of(value: Value) -> Result<(u64, Self), DecodeError> {
        let Value::Described(described) = value else {
            return Err(DecodeError("a composite value has no descriptor"));
        };
        let (descriptor, Value::List(fields)) = *described else {
            return Err(DecodeError("a composite value is not a list"));
        };
        let code = code(&descriptor).ok_or(DecodeError("a descriptor that AMQP does not have"))?;
        Ok((code, Self(fields.into_iter())))
    }

    pub(crate) fn next(&mut self) -> Value {
        self.0.next().unwrap_or(Value::Null)
    }

    pub(crate) fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.next();
        }
    }

    pub(crate) fn text(&mut self) -> Result<Option<String>, DecodeError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::String(text) | Value::Symbol(text) => Ok(Some(text)),
            _ => Err(DecodeError("a field should be a string")),
        }
    }

    /// None, one, or an array of them.
    pub(crate) fn texts(&mut self) -> Result<Vec<String>, DecodeError> {
        let values = match self.next() {
            Value::Null => Vec::new(),
            Value::Array(values) => values,
            value => vec![value],
        };
        let text = |value: Value| value.into_text().ok_or(DecodeError("a field should be symbols"));
        values.into_iter().map(text).collect()
    }

    pub(crate) fn boolean(&mut self) -> Result<Option<bool>, DecodeError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Boolean(value) => Ok(Some(value)),
            _ => Err(DecodeError("a field should be a boolean")),
        }
    }

    pub(crate) fn ubyte(&mut self) -> Result<Option<u8>, DecodeError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Ubyte(value) => Ok(Some(value)),
            _ => Err(DecodeError("a field should be a ubyte")),
        }
    }

    pub(crate) fn ushort(&mut self) -> Result<Option<u16>, DecodeError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Ushort(value) => Ok(Some(value)),
            _ => Err(DecodeError("a field should be a ushort")),
        }
    }

    pub(crate) fn uint(&mut self) -> Result<Option<u32>, DecodeError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Uint(value) => Ok(Some(value)),
            _ => Err(DecodeError("a field should be a uint")),
        }
    }

    pub(crate) fn ulong(&mut self) -> Result<Option<u64>, DecodeError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Ulong(value) => Ok(Some(value)),
            _ => Err(DecodeError("a field should be a ulong")),
        }
    }

    pub(crate) fn timestamp(&mut self) -> Result<Option<i64>, DecodeError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Timestamp(value) => Ok(Some(value)),
            _ => Err(DecodeError("a field should be a timestamp")),
        }
    }

    pub(crate) fn binary(&mut self) -> Result<Option<bytes::Bytes>, DecodeError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Binary(value) => Ok(Some(value)),
            _ => Err(DecodeError("a field should be a binary")),
        }
    }

    /// A map with texts for keys; the values may be of any type.
    pub(crate) fn map(&mut self) -> Result<Vec<(String, Value)>, DecodeError> {
        entries(self.next())
    }

    pub(crate) fn error(&mut self) -> Option<AmqpError> {
        AmqpError::read(self.next())
    }
}

/// The entries of a map whose keys are texts. Null is an empty map.
pub(crate) fn entries(value: Value) -> Result<Vec<(String, Value)>, DecodeError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Map(pairs) => pairs
            .into_iter()
            .map(|(key, value)| {
                let key = key.into_text().ok_or(DecodeError("a key of a map should be a text"))?;
                Ok((key, value))
            })
            .collect(),
        _ => Err(DecodeError("a field should be a map")),
    }
}

/// The code of a descriptor, which may be written as a number or as a symbol.
pub(crate) fn code(descriptor: &Value) -> Option<u64> {
    match descriptor {
        Value::Ulong(code) => Some(*code),
        Value::Symbol(name) => NAMES.iter().find(|(known, _)| known == name).map(|(_, code)| *code),
        _ => None,
    }
}

/// A required field.
pub(crate) trait Required<T> {
    fn required(self) -> Result<T, DecodeError>;
}

impl<T> Required<T> for Result<Option<T>, DecodeError> {
    fn required(self) -> Result<T, DecodeError> {
        self?.ok_or(DecodeError("a mandatory field is null"))
    }
}

const NAMES: [(&str, u64); 33] = [
    ("amqp:open:list", 0x10),
    ("amqp:begin:list", 0x11),
    ("amqp:attach:list", 0x12),
    ("amqp:flow:list", 0x13),
    ("amqp:transfer:list", 0x14),
    ("amqp:disposition:list", 0x15),
    ("amqp:detach:list", 0x16),
    ("amqp:end:list", 0x17),
    ("amqp:close:list", 0x18),
    ("amqp:error:list", 0x1d),
    ("amqp:received:list", 0x23),
    ("amqp:accepted:list", 0x24),
    ("amqp:rejected:list", 0x25),
    ("amqp:released:list", 0x26),
    ("amqp:modified:list", 0x27),
    ("amqp:source:list", 0x28),
    ("amqp:target:list", 0x29),
    ("amqp:coordinator:list", 0x30),
    ("amqp:sasl-mechanisms:list", 0x40),
    ("amqp:sasl-init:list", 0x41),
    ("amqp:sasl-challenge:list", 0x42),
    ("amqp:sasl-response:list", 0x43),
    ("amqp:sasl-outcome:list", 0x44),
    ("amqp:header:list", 0x70),
    ("amqp:delivery-annotations:map", 0x71),
    ("amqp:message-annotations:map", 0x72),
    ("amqp:properties:list", 0x73),
    ("amqp:application-properties:map", 0x74),
    ("amqp:data:binary", 0x75),
    ("amqp:amqp-sequence:list", 0x76),
    ("amqp:amqp-value:*", 0x77),
    ("amqp:footer:map", 0x78),
    ("amqp:transactional-state:list", 0x34),
];

//! AMQP as bytes, written out by hand from the standard: no library stands between a test and the wire.

pub(super) fn null() -> Vec<u8> {
    vec![0x40]
}

pub(super) fn boolean(value: bool) -> Vec<u8> {
    vec![if value { 0x41 } else { 0x42 }]
}

pub(super) fn ubyte(value: u8) -> Vec<u8> {
    vec![0x50, value]
}

pub(super) fn ushort(value: u16) -> Vec<u8> {
    [&[0x60], &value.to_be_bytes()[..]].concat()
}

pub(super) fn uint(value: u32) -> Vec<u8> {
    match u8::try_from(value) {
        Ok(0) => vec![0x43],
        Ok(small) => vec![0x52, small],
        Err(_) => [&[0x70], &value.to_be_bytes()[..]].concat(),
    }
}

pub(super) fn ulong(value: u64) -> Vec<u8> {
    [&[0x80], &value.to_be_bytes()[..]].concat()
}

pub(super) fn int(value: i32) -> Vec<u8> {
    [&[0x71], &value.to_be_bytes()[..]].concat()
}

pub(super) fn double(value: f64) -> Vec<u8> {
    [&[0x82], &value.to_be_bytes()[..]].concat()
}

/// Milliseconds since 1970.
pub(super) fn timestamp(value: i64) -> Vec<u8> {
    [&[0x83], &value.to_be_bytes()[..]].concat()
}

pub(super) fn uuid(value: [u8; 16]) -> Vec<u8> {
    [&[0x98], &value[..]].concat()
}

pub(super) fn binary(value: &[u8]) -> Vec<u8> {
    sized(0xA0, value)
}

pub(super) fn string(value: &str) -> Vec<u8> {
    sized(0xA1, value.as_bytes())
}

pub(super) fn symbol(value: &str) -> Vec<u8> {
    sized(0xA3, value.as_bytes())
}

pub(super) fn list(items: &[Vec<u8>]) -> Vec<u8> {
    if items.is_empty() {
        return vec![0x45];
    }
    compound(0xC0, items.len(), &items.concat())
}

/// Keys and values in turn.
pub(super) fn map(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> = pairs
        .iter()
        .flat_map(|(key, value)| [&key[..], value].concat())
        .collect();
    compound(0xC1, pairs.len() * 2, &items)
}

pub(super) fn described(code: u8, value: &[u8]) -> Vec<u8> {
    [&[0x00, 0x53, code], value].concat()
}

pub(super) fn source(address: &str) -> Vec<u8> {
    described(0x28, &list(&[string(address)]))
}

pub(super) fn target(address: &str) -> Vec<u8> {
    described(0x29, &list(&[string(address)]))
}

/// A map whose keys are symbols: properties of a link, annotations of a message.
pub(super) fn fields(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| (symbol(key), value.clone())).collect();
    map(&pairs)
}

pub(super) fn annotations(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    described(0x72, &fields(pairs))
}

/// The properties section. Fields behind the last that is there are left out.
pub(super) fn properties(fields: &[Vec<u8>]) -> Vec<u8> {
    described(0x73, &list(fields))
}

pub(super) fn application_properties(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| (string(key), value.clone())).collect();
    described(0x74, &map(&pairs))
}

pub(super) fn data(body: &[u8]) -> Vec<u8> {
    described(0x75, &binary(body))
}

pub(super) fn value(body: &[u8]) -> Vec<u8> {
    described(0x77, body)
}

/// A frame with a performative, and what follows it.
pub(super) fn frame(channel: u16, code: u8, fields: &[Vec<u8>], payload: &[u8]) -> Vec<u8> {
    framed(0, channel, &[&described(code, &list(fields)), payload].concat())
}

/// A frame of the security layer.
pub(super) fn sasl(code: u8, fields: &[Vec<u8>]) -> Vec<u8> {
    framed(1, 0, &described(code, &list(fields)))
}

fn framed(kind: u8, channel: u16, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap().to_be_bytes();
    [&size[..], &[2, kind], &channel.to_be_bytes(), body].concat()
}

fn sized(code: u8, bytes: &[u8]) -> Vec<u8> {
    match u8::try_from(bytes.len()) {
        Ok(length) => [&[code, length], bytes].concat(),
        Err(_) => {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            [&[code | 0x10], &length[..], bytes].concat()
        }
    }
}

fn compound(code: u8, count: usize, items: &[u8]) -> Vec<u8> {
    match (u8::try_from(items.len() + 1), u8::try_from(count)) {
        (Ok(size), Ok(count)) => [&[code, size, count], items].concat(),
        _ => {
            let size = u32::try_from(items.len() + 4).unwrap().to_be_bytes();
            let count = u32::try_from(count).unwrap().to_be_bytes();
            [&[code | 0x10], &size[..], &count, items].concat()
        }
    }
}

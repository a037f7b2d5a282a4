//! Messages of the seam and messages of the engine.

use azure_core::Result;
use bytes::{Bytes, BytesMut};
use fe2o3_amqp_types::{
    messaging::{
        AmqpValue as ValueSection, ApplicationProperties, Batch, Body, Data, Message, MessageAnnotations, MessageId,
        Properties, annotations::OwnedKey,
    },
    primitives::{Binary, OrderedMap, Value},
};
use iothub_core::amqp::{AmqpBody, AmqpMessage, AmqpValue};

use crate::value::{from_engine, from_timestamp, into_engine, into_simple, into_symbol, into_timestamp, unwritable};

/// A message in the engine's form.
pub(crate) type EngineMessage = Message<EngineBody>;

/// A body of any kind.
pub(crate) type EngineBody = Body<Value>;

/// # Errors
///
/// `ErrorKind::DataConversion`: something in the message is of a type that has no place there.
pub(crate) fn into_message(message: AmqpMessage) -> Result<EngineMessage> {
    let AmqpMessage {
        message_id,
        user_id,
        to,
        subject,
        reply_to,
        correlation_id,
        content_type,
        content_encoding,
        absolute_expiry_time,
        creation_time,
        message_annotations,
        application_properties,
        body,
    } = message;
    let properties = Properties {
        message_id: message_id.map(|id| into_id("message-id", id)).transpose()?,
        user_id: user_id.map(|id| Binary::from(Vec::from(id))),
        to,
        subject,
        reply_to,
        correlation_id: correlation_id.map(|id| into_id("correlation-id", id)).transpose()?,
        content_type: content_type.map(into_symbol).transpose()?,
        content_encoding: content_encoding.map(into_symbol).transpose()?,
        absolute_expiry_time: absolute_expiry_time.map(into_timestamp),
        creation_time: creation_time.map(into_timestamp),
        group_id: None,
        group_sequence: None,
        reply_to_group_id: None,
    };
    Ok(Message {
        header: None,
        delivery_annotations: None,
        message_annotations: into_annotations(message_annotations)?,
        properties: (properties != Properties::new()).then_some(properties),
        application_properties: into_application_properties(application_properties)?,
        body: match body {
            // No data section at all: the engine would write the empty body as a value section that holds null.
            AmqpBody::Empty => Body::Data(Batch::new(Vec::new())),
            AmqpBody::Data(data) => Body::Data(Batch::new(vec![Data(Binary::from(Vec::from(data)))])),
            AmqpBody::Value(value) => Body::Value(ValueSection(into_engine(value)?)),
            other => return Err(unwritable(&format!("this transport does not know the body {other:?}"))),
        },
        footer: None,
    })
}

/// Several data sections come out as one, and sequences as a list of their items.
pub(crate) fn from_message(message: EngineMessage) -> AmqpMessage {
    let Properties {
        message_id,
        user_id,
        to,
        subject,
        reply_to,
        correlation_id,
        content_type,
        content_encoding,
        absolute_expiry_time,
        creation_time,
        ..
    } = message.properties.unwrap_or_default();
    let annotations = message.message_annotations.unwrap_or_default().0.into_inner();
    let application_properties = message.application_properties.unwrap_or_default().0.into_inner();
    AmqpMessage {
        message_id: message_id.map(from_id),
        user_id: user_id.map(|id| id.into_vec().into()),
        to,
        subject,
        reply_to,
        correlation_id: correlation_id.map(from_id),
        content_type: content_type.map(|symbol| symbol.0),
        content_encoding: content_encoding.map(|symbol| symbol.0),
        absolute_expiry_time: absolute_expiry_time.as_ref().map(from_timestamp),
        creation_time: creation_time.as_ref().map(from_timestamp),
        message_annotations: annotations
            .into_iter()
            .map(|(key, value)| (from_key(key), from_engine(value)))
            .collect(),
        application_properties: application_properties
            .into_iter()
            .map(|(key, value)| (key, from_engine(value.into())))
            .collect(),
        body: from_body(message.body),
    }
}

fn into_annotations(entries: Vec<(String, AmqpValue)>) -> Result<Option<MessageAnnotations>> {
    if entries.is_empty() {
        return Ok(None);
    }
    let mut annotations = OrderedMap::new();
    for (key, value) in entries {
        annotations.insert(OwnedKey::Symbol(into_symbol(key)?), into_engine(value)?);
    }
    Ok(Some(MessageAnnotations(annotations)))
}

fn into_application_properties(entries: Vec<(String, AmqpValue)>) -> Result<Option<ApplicationProperties>> {
    if entries.is_empty() {
        return Ok(None);
    }
    let mut properties = OrderedMap::new();
    for (key, value) in entries {
        let value = into_simple(&key, value)?;
        properties.insert(key, value);
    }
    Ok(Some(ApplicationProperties(properties)))
}

fn from_body(body: EngineBody) -> AmqpBody {
    match body {
        Body::Empty => AmqpBody::Empty,
        Body::Data(sections) => {
            let mut sections = sections.into_inner();
            match sections.len() {
                0 => AmqpBody::Empty,
                1 => AmqpBody::Data(Bytes::from(sections.remove(0).0.into_vec())),
                _ => {
                    let mut whole = BytesMut::with_capacity(sections.iter().map(|section| section.0.len()).sum());
                    sections.iter().for_each(|section| whole.extend_from_slice(&section.0));
                    AmqpBody::Data(whole.freeze())
                }
            }
        }
        Body::Value(value) => AmqpBody::Value(from_engine(value.0)),
        Body::Sequence(sections) => {
            let items = sections.into_inner().into_iter().flat_map(|section| section.0);
            AmqpBody::Value(AmqpValue::List(items.map(from_engine).collect()))
        }
    }
}

fn into_id(field: &str, id: AmqpValue) -> Result<MessageId> {
    match into_engine(id)? {
        Value::Ulong(id) => Ok(MessageId::Ulong(id)),
        Value::Uuid(id) => Ok(MessageId::Uuid(id)),
        Value::Binary(id) => Ok(MessageId::Binary(id)),
        Value::String(id) => Ok(MessageId::String(id)),
        _ => Err(unwritable(&format!(
            "{field} is neither string, ulong, uuid nor binary"
        ))),
    }
}

fn from_id(id: MessageId) -> AmqpValue {
    match id {
        MessageId::Ulong(id) => AmqpValue::Ulong(id),
        MessageId::Uuid(id) => AmqpValue::Uuid(uuid::Uuid::from_bytes(id.into_inner())),
        MessageId::Binary(id) => AmqpValue::Binary(id.into_vec().into()),
        MessageId::String(id) => AmqpValue::String(id),
    }
}

/// Keys that are numbers are reserved in AMQP and have no meaning yet.
fn from_key(key: OwnedKey) -> String {
    match key {
        OwnedKey::Symbol(key) => key.0,
        OwnedKey::Ulong(key) => key.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::messaging::message::__private::{Deserializable, Serializable};
    use time::OffsetDateTime;

    use super::*;
    use crate::wire_samples::samples;

    fn read(bytes: &[u8]) -> AmqpMessage {
        let message: Deserializable<EngineMessage> = serde_amqp::from_slice(bytes).unwrap();
        from_message(message.0)
    }

    fn write(message: AmqpMessage) -> Vec<u8> {
        serde_amqp::to_vec(&Serializable(into_message(message).unwrap())).unwrap()
    }

    fn at(milliseconds: i128) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(milliseconds * 1_000_000).unwrap()
    }

    fn full() -> AmqpMessage {
        AmqpMessage {
            message_id: Some("mid-1".into()),
            user_id: Some(Bytes::from_static(b"hub")),
            to: Some("/devices/lamp/messages/devicebound".to_owned()),
            subject: Some("s".to_owned()),
            reply_to: Some("cbs".to_owned()),
            correlation_id: Some(AmqpValue::Ulong(77)),
            content_type: Some("application/json".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            absolute_expiry_time: Some(at(1_700_000_000_123)),
            creation_time: Some(at(1_600_000_000_000)),
            message_annotations: vec![(
                "iothub-enqueuedtime".to_owned(),
                AmqpValue::Timestamp(at(1_700_000_000_456)),
            )],
            application_properties: vec![
                ("iothub-ack".to_owned(), "full".into()),
                ("n".to_owned(), AmqpValue::Int(5)),
            ],
            body: AmqpBody::Data(Bytes::from_static(b"{\"on\":true}")),
        }
    }

    fn expected(name: &str) -> AmqpMessage {
        let with = |body| AmqpMessage {
            body,
            ..Default::default()
        };
        match name {
            "message data" => full(),
            "message value" => AmqpMessage {
                message_id: Some(AmqpValue::Uuid("00112233-4455-6677-8899-aabbccddeeff".parse().unwrap())),
                ..with(AmqpBody::Value(AmqpValue::Map(vec![("status".into(), "ok".into())])))
            },
            "message sections" => with(AmqpBody::Data(Bytes::from_static(b"abcd"))),
            "message sequence" => with(AmqpBody::Value(AmqpValue::List(vec![AmqpValue::Int(1), "x".into()]))),
            "message no body" => with(AmqpBody::Empty),
            other => panic!("no message for the sample {other}"),
        }
    }

    #[test]
    fn messages_of_other_implementations_are_read() {
        let mut seen = 0;
        for (name, bytes) in samples().into_iter().filter(|(name, _)| name.starts_with("message")) {
            assert_eq!(read(&bytes), expected(&name), "{name}");
            seen += 1;
        }
        assert_eq!(seen, 6);
    }

    /// The sample begins with an empty header section, which is not written here, and has its maps and lists in the long
    /// form; what remains is alike byte for byte.
    #[test]
    fn a_message_is_written_as_other_implementations_do() {
        let written = write(full());
        let (_, sample) = samples().into_iter().rfind(|(name, _)| name == "message data").unwrap();
        // Proton writes the properties in the short form, as the engine does; they and the body make up the sample's end.
        let properties = sample
            .windows(4)
            .position(|window| window == [0, 0x53, 0x73, 0xc0])
            .unwrap();
        let length = usize::from(sample[properties + 4]) + 5;
        let section = &sample[properties..properties + length];
        assert!(
            written.windows(length).any(|window| window == section),
            "{written:02x?}"
        );
        assert!(written.ends_with(&sample[sample.len() - 16..]));
        assert_eq!(read(&written), full());
    }

    #[test]
    fn a_message_without_body_has_no_section() {
        assert_eq!(write(AmqpMessage::default()), Vec::<u8>::new());
        let to = AmqpMessage {
            to: Some("x".to_owned()),
            ..Default::default()
        };
        assert_eq!(write(to), [0, 0x53, 0x73, 0xc0, 6, 3, 0x40, 0x40, 0xa1, 1, b'x']);
    }

    #[test]
    fn a_field_of_the_wrong_type_is_refused_by_name() {
        let message = AmqpMessage {
            correlation_id: Some(AmqpValue::Int(1)),
            ..Default::default()
        };
        assert!(
            into_message(message)
                .unwrap_err()
                .to_string()
                .contains("correlation-id")
        );
        let message = AmqpMessage {
            content_type: Some("\u{fc}".to_owned()),
            ..Default::default()
        };
        assert!(into_message(message).unwrap_err().to_string().contains("ASCII"));
    }
}

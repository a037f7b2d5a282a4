//! Messages, errors and outcomes in the engine's types, apart from how the transport does it.

use fe2o3_amqp_types::{
    definitions::{self, Fields},
    messaging::{
        Accepted, AmqpValue as ValueSection, ApplicationProperties, Batch, Body, Data, DeliveryState, Message,
        MessageAnnotations, MessageId, Modified, Properties, Rejected, Released,
        annotations::OwnedKey,
        message::__private::{Deserializable, Serializable},
    },
    primitives::{Binary, OrderedMap, SimpleValue, Symbol, Timestamp, Uuid, Value},
};
use iothub_core::amqp::{AmqpBody, AmqpError, AmqpMessage, AmqpValue, Outcome, Settlement};
use time::OffsetDateTime;

pub(super) fn encode(message: &AmqpMessage) -> Vec<u8> {
    let message = message.clone();
    let properties = Properties {
        message_id: message.message_id.map(to_id),
        user_id: message.user_id.map(|id| Binary::from(id.to_vec())),
        to: message.to,
        subject: message.subject,
        reply_to: message.reply_to,
        correlation_id: message.correlation_id.map(to_id),
        content_type: message.content_type.map(Symbol::from),
        content_encoding: message.content_encoding.map(Symbol::from),
        absolute_expiry_time: message.absolute_expiry_time.map(to_timestamp),
        creation_time: message.creation_time.map(to_timestamp),
        ..Properties::default()
    };
    let annotations: OrderedMap<_, _> = message
        .message_annotations
        .into_iter()
        .map(|(key, value)| (OwnedKey::Symbol(Symbol::from(key)), to_value(value)))
        .collect();
    let application_properties: OrderedMap<_, _> = message
        .application_properties
        .into_iter()
        .map(|(key, value)| (key, SimpleValue::try_from(to_value(value)).unwrap()))
        .collect();
    let body: Body<Value> = match message.body {
        AmqpBody::Data(data) => Body::Data(Batch::new(vec![Data(Binary::from(data.to_vec()))])),
        AmqpBody::Value(value) => Body::Value(ValueSection(to_value(value))),
        other => panic!("no sample has the body {other:?}"),
    };
    let message = Message {
        header: None,
        delivery_annotations: None,
        message_annotations: Some(MessageAnnotations(annotations)),
        properties: Some(properties),
        application_properties: Some(ApplicationProperties(application_properties)),
        body,
        footer: None,
    };
    serde_amqp::to_vec(&Serializable(message)).unwrap()
}

pub(super) fn decode(bytes: &[u8]) -> AmqpMessage {
    let Deserializable(message): Deserializable<Message<Body<Value>>> = serde_amqp::from_slice(bytes).unwrap();
    let properties = message.properties.unwrap_or_default();
    let annotations = message.message_annotations.unwrap_or_default().0;
    let application_properties = message.application_properties.unwrap_or_default().0;
    AmqpMessage {
        message_id: properties.message_id.map(of_id),
        user_id: properties.user_id.map(|id| id.into_vec().into()),
        to: properties.to,
        subject: properties.subject,
        reply_to: properties.reply_to,
        correlation_id: properties.correlation_id.map(of_id),
        content_type: properties.content_type.map(|symbol| symbol.0),
        content_encoding: properties.content_encoding.map(|symbol| symbol.0),
        absolute_expiry_time: properties.absolute_expiry_time.map(of_timestamp),
        creation_time: properties.creation_time.map(of_timestamp),
        message_annotations: annotations
            .into_inner()
            .into_iter()
            .map(|(key, value)| match key {
                OwnedKey::Symbol(key) => (key.0, of_value(value)),
                OwnedKey::Ulong(key) => panic!("no sample has the key {key}"),
            })
            .collect(),
        application_properties: application_properties
            .into_inner()
            .into_iter()
            .map(|(key, value)| (key, of_value(value.into())))
            .collect(),
        body: match message.body {
            Body::Data(sections) => {
                let sections = sections.into_inner();
                assert_eq!(sections.len(), 1, "no sample has several sections of data");
                AmqpBody::Data(sections.into_iter().flat_map(|section| section.0.into_vec()).collect())
            }
            Body::Value(value) => AmqpBody::Value(of_value(value.0)),
            _ => panic!("no sample has a body of this kind"),
        },
    }
}

pub(super) fn error(error: &AmqpError) -> definitions::Error {
    end_of_link(error).expect("an error with a condition")
}

pub(super) fn end_of_link(error: &AmqpError) -> Option<definitions::Error> {
    let condition = error.condition.as_ref()?.as_str();
    Some(condition_error(condition, error.description.clone()))
}

pub(super) fn outcome(outcome: &Outcome) -> DeliveryState {
    match outcome {
        Outcome::Accepted => DeliveryState::Accepted(Accepted {}),
        Outcome::Rejected {
            condition, description, ..
        } => DeliveryState::Rejected(Rejected {
            error: condition
                .as_ref()
                .map(|condition| condition_error(condition.as_str(), description.clone())),
        }),
        Outcome::Released => DeliveryState::Released(Released {}),
        Outcome::Modified { undeliverable_here } => DeliveryState::Modified(Modified {
            delivery_failed: None,
            undeliverable_here: Some(*undeliverable_here),
            message_annotations: None,
        }),
        other => panic!("no message is settled as {other:?}"),
    }
}

pub(super) fn settlement(state: Option<DeliveryState>) -> Settlement {
    match state {
        Some(DeliveryState::Accepted(_)) => Settlement::Accepted,
        Some(DeliveryState::Rejected(_)) => Settlement::Rejected,
        Some(DeliveryState::Released(_)) => Settlement::Released,
        other => panic!("no delivery is settled with {other:?}"),
    }
}

fn condition_error(condition: &str, description: Option<String>) -> definitions::Error {
    // Written as the symbol that it is, like any other kind.
    let condition = definitions::ErrorCondition::Custom(Symbol::from(condition));
    definitions::Error::new(condition, description, None::<Fields>)
}

fn to_id(id: AmqpValue) -> MessageId {
    match id {
        AmqpValue::Ulong(id) => MessageId::Ulong(id),
        AmqpValue::Uuid(id) => MessageId::Uuid(Uuid::from(id.into_bytes())),
        AmqpValue::Binary(id) => MessageId::Binary(Binary::from(id.to_vec())),
        AmqpValue::String(id) => MessageId::String(id),
        other => panic!("{other:?} is no id"),
    }
}

fn of_id(id: MessageId) -> AmqpValue {
    match id {
        MessageId::Ulong(id) => AmqpValue::Ulong(id),
        MessageId::Uuid(id) => AmqpValue::Uuid(uuid::Uuid::from_bytes(id.into_inner())),
        MessageId::Binary(id) => AmqpValue::Binary(id.into_vec().into()),
        MessageId::String(id) => AmqpValue::String(id),
    }
}

fn to_timestamp(time: OffsetDateTime) -> Timestamp {
    Timestamp::from_milliseconds((time.unix_timestamp_nanos() / 1_000_000).try_into().unwrap())
}

fn of_timestamp(time: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.milliseconds()) * 1_000_000).unwrap()
}

fn to_value(value: AmqpValue) -> Value {
    match value {
        AmqpValue::Null => Value::Null,
        AmqpValue::Boolean(value) => Value::Bool(value),
        AmqpValue::Uint(value) => Value::Uint(value),
        AmqpValue::Int(value) => Value::Int(value),
        AmqpValue::Long(value) => Value::Long(value),
        AmqpValue::Double(value) => Value::Double(value.into()),
        AmqpValue::Timestamp(value) => Value::Timestamp(to_timestamp(value)),
        AmqpValue::String(value) => Value::String(value),
        AmqpValue::Symbol(value) => Value::Symbol(Symbol::from(value)),
        AmqpValue::List(values) => Value::List(values.into_iter().map(to_value).collect()),
        AmqpValue::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| (to_value(key), to_value(value)))
                .collect(),
        ),
        other => panic!("no sample has the value {other:?}"),
    }
}

fn of_value(value: Value) -> AmqpValue {
    match value {
        Value::Null => AmqpValue::Null,
        Value::Bool(value) => AmqpValue::Boolean(value),
        Value::Uint(value) => AmqpValue::Uint(value),
        Value::Int(value) => AmqpValue::Int(value),
        Value::Long(value) => AmqpValue::Long(value),
        Value::Double(value) => AmqpValue::Double(value.into_inner()),
        Value::Timestamp(value) => AmqpValue::Timestamp(of_timestamp(value)),
        Value::String(value) => AmqpValue::String(value),
        Value::Symbol(value) => AmqpValue::Symbol(value.0),
        Value::List(values) => AmqpValue::List(values.into_iter().map(of_value).collect()),
        Value::Map(entries) => AmqpValue::Map(
            entries
                .into_inner()
                .into_iter()
                .map(|(key, value)| (of_value(key), of_value(value)))
                .collect(),
        ),
        other => panic!("no sample has the value {other:?}"),
    }
}

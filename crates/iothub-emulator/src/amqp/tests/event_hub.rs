//! The built-in endpoint, by the engine that the clients are built on.

use std::time::Duration;

use fe2o3_amqp::{
    Delivery, Receiver, Sender, Session,
    link::{LinkStateError, ReceiverAttachError, RecvError},
};
use fe2o3_amqp_types::{
    definitions::{Error, Fields},
    messaging::{ApplicationProperties, Body, Message, MessageId, Properties, Source, annotations::OwnedKey},
    primitives::SimpleValue,
};
use serde_amqp::{
    Value,
    described::Described,
    descriptor::Descriptor,
    primitives::{Symbol, Timestamp},
};
use time::OffsetDateTime;

use super::{
    client::{Client, symbol},
    device, hub,
};
use crate::hub::{D2cMessage, Hub};

/// Made with `azure-eventhub` 5.15.1 for Python, from the policy's connection string.
const TOKEN: &str = "SharedAccessSignature sr=sb%3A%2F%2Flocalhost%2Fiothub-ehub-localhost&sig=udsPxAVlSTlH3yuTuogkEdz7winLN%2FdoRghnqlKR%2Bwc%3D&se=4102444800&skn=service";

const EVENT_HUB: &str = "iothub-ehub-localhost";

async fn connect(hub: &Hub) -> Client {
    let mut client = Client::connect(hub).await;
    assert_eq!(client.put_token(TOKEN).await, 200);
    client
}

/// The lamp sends these.
fn send(hub: &Hub, bodies: &[&'static str]) {
    for body in bodies {
        let message = D2cMessage {
            content_type: Some("application/json".to_owned()),
            properties: vec![("level".to_owned(), "high".to_owned())],
            component: Some("bulb".to_owned()),
            ..D2cMessage::from(*body)
        };
        hub.receive_telemetry(&device("lamp"), message).unwrap();
    }
}

/// The partition of the lamp.
fn partition(hub: &Hub) -> usize {
    hub.telemetry().events()[0].partition
}

fn address(partition: usize) -> String {
    format!("{EVENT_HUB}/ConsumerGroups/$Default/Partitions/{partition}")
}

fn source(partition: usize, filter: Option<&str>) -> Source {
    let source = Source::builder().address(address(partition));
    let Some(filter) = filter else {
        return source.build();
    };
    let selector = Described {
        descriptor: Descriptor::Code(0x0000_468c_0000_0004),
        value: Value::from(filter),
    };
    source
        .add_to_filter("apache.org:selector-filter:string", selector)
        .build()
}

async fn read(client: &mut Client, name: &str, source: Source, epoch: Option<i64>) -> Receiver {
    try_read(client, name, source, epoch).await.unwrap()
}

async fn try_read(
    client: &mut Client,
    name: &str,
    source: Source,
    epoch: Option<i64>,
) -> Result<Receiver, ReceiverAttachError> {
    let mut properties = Fields::default();
    properties.insert("com.microsoft.com:receiver-name".into(), Value::from(name));
    if let Some(epoch) = epoch {
        properties.insert("com.microsoft:epoch".into(), Value::Long(epoch));
    }
    let mut session = Session::begin(&mut client.connection).await.unwrap();
    let receiver = Receiver::builder().name(name).source(source).properties(properties);
    let receiver = receiver.attach(&mut session).await;
    client.others.push(session);
    receiver
}

async fn next(receiver: &mut Receiver) -> String {
    let delivery: Delivery<Body<Value>> = receiver.recv().await.unwrap();
    receiver.accept(&delivery).await.unwrap();
    body(&delivery)
}

fn body(delivery: &Delivery<Body<Value>>) -> String {
    let Body::Data(data) = delivery.body() else {
        panic!("{:?}", delivery.body());
    };
    let bytes: Vec<u8> = data.iter().flat_map(|data| data.0.to_vec()).collect();
    String::from_utf8(bytes).unwrap()
}

fn timestamp(time: OffsetDateTime) -> Timestamp {
    Timestamp::from_milliseconds((time.unix_timestamp_nanos() / 1_000_000).try_into().unwrap())
}

fn refusal(attached: Result<Receiver, ReceiverAttachError>) -> String {
    match attached {
        Err(ReceiverAttachError::RemoteClosedWithError(error)) => symbol(&error.condition),
        other => panic!("{other:?}"),
    }
}

/// What a link says that is attached and at once detached.
async fn redirection(mut receiver: Receiver) -> Error {
    match receiver.recv::<Body<Value>>().await {
        Err(RecvError::LinkStateError(LinkStateError::RemoteClosedWithError(error))) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_hub_says_where_its_event_hub_is() {
    let hub = hub();
    hub.serve_amqps_at(12_345);
    let mut client = Client::authorized(&hub).await;
    for (path, expected) in [
        ("/messages/events", ""),
        ("messages/events/$management", "/$management"),
        (
            "amqps://localhost/messages/events/ConsumerGroups/$Default/Partitions/2",
            "/ConsumerGroups/$Default/Partitions/2",
        ),
    ] {
        let source = Source::builder().address(path).build();
        let error = redirection(read(&mut client, "r", source, None).await).await;
        assert_eq!(symbol(&error.condition), "amqp:link:redirect");
        let info = error.info.unwrap();
        let text = |name: &str| match info.get(&Symbol::from(name)) {
            Some(Value::String(text)) => text.clone(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(
            (text("hostname"), text("network-host")),
            ("localhost".into(), "localhost".into())
        );
        assert_eq!(info.get(&Symbol::from("port")), Some(&Value::Uint(12_345)));
        assert_eq!(
            text("address"),
            format!("amqps://localhost:12345/{EVENT_HUB}{expected}")
        );
    }
    let source = Source::builder().address("/messages/events/elsewhere").build();
    assert_eq!(
        refusal(try_read(&mut client, "r", source, None).await),
        "amqp:not-found"
    );
    // A token of the hub is good for its event hub, too, for those who stay on the connection.
    send(&hub, &["1"]);
    let mut receiver = read(&mut client, "r", source_of(&hub, None), None).await;
    assert_eq!(next(&mut receiver).await, "1");
}

fn source_of(hub: &Hub, filter: Option<&str>) -> Source {
    source(partition(hub), filter)
}

/// As `track_last_enqueued_event_properties` of Microsoft's clients does.
#[tokio::test]
async fn a_reader_hears_what_the_last_message_is_if_it_wants_to() {
    let hub = hub();
    send(&hub, &["1", "2", "3"]);
    let last = hub.telemetry().events()[2].clone();
    let mut client = connect(&hub).await;
    for desired in [true, false] {
        let mut session = Session::begin(&mut client.connection).await.unwrap();
        let mut receiver = Receiver::builder()
            .name("r")
            .source(source_of(&hub, Some("amqp.annotation.x-opt-offset > '-1'")));
        if desired {
            receiver = receiver.add_desired_capabilities("com.microsoft:enable-receiver-runtime-metric");
        }
        let mut receiver = receiver.attach(&mut session).await.unwrap();
        let delivery: Delivery<Body<Value>> = receiver.recv().await.unwrap();
        assert_eq!(body(&delivery), "1");
        let said = delivery.message().delivery_annotations.as_ref();
        assert_eq!(said.is_some(), desired);
        if let Some(said) = said {
            let value = |name: &str| said.0.get(&OwnedKey::Symbol(Symbol::from(name))).cloned().unwrap();
            assert_eq!(value("last_enqueued_sequence_number"), Value::Long(2));
            assert_eq!(value("last_enqueued_offset"), Value::String(last.offset.to_string()));
            let enqueued = timestamp(last.enqueued_time);
            assert_eq!(value("last_enqueued_time_utc"), Value::Timestamp(enqueued.clone()));
            let Value::Timestamp(asked) = value("runtime_info_retrieval_time_utc") else {
                panic!("the time is a timestamp");
            };
            assert!(asked >= enqueued);
        }
        client.others.push(session);
    }
}

#[tokio::test]
async fn readers_begin_where_they_say() {
    let hub = hub();
    send(&hub, &["1", "2"]);
    hub.clock().advance(Duration::from_secs(60));
    send(&hub, &["3"]);
    let events = hub.telemetry().events();
    let (offset, number) = (events[1].offset, events[1].sequence_number);
    let time = events[2].enqueued_time.unix_timestamp() * 1000;
    let mut client = connect(&hub).await;
    for (filter, expected) in [
        (None, &["1", "2", "3"][..]),
        (Some("amqp.annotation.x-opt-offset > '-1'".to_owned()), &["1", "2", "3"]),
        (Some(format!("amqp.annotation.x-opt-offset > '{offset}'")), &["3"]),
        (Some(format!("amqp.annotation.x-opt-offset >= '{offset}'")), &["2", "3"]),
        (
            Some(format!("amqp.annotation.x-opt-sequence-number > '{number}'")),
            &["3"],
        ),
        (Some(format!("amqp.annotation.x-opt-enqueued-time >= '{time}'")), &["3"]),
        (Some("amqp.annotation.x-opt-offset > '@latest'".to_owned()), &[]),
    ] {
        let mut receiver = read(&mut client, "r", source_of(&hub, filter.as_deref()), None).await;
        for text in expected {
            assert_eq!(next(&mut receiver).await, *text, "{filter:?}");
        }
        if expected.is_empty() {
            send(&hub, &["4"]);
            assert_eq!(next(&mut receiver).await, "4");
        }
        receiver.close().await.unwrap();
    }
    let odd = source_of(&hub, Some("amqp.annotation.x-opt-color > 'red'"));
    assert_eq!(
        refusal(try_read(&mut client, "r", odd, None).await),
        "com.microsoft:argument-error"
    );
    for (address, condition) in [
        (
            format!("{EVENT_HUB}/ConsumerGroups/$Default/Partitions/4"),
            "com.microsoft:argument-error",
        ),
        (
            format!("{EVENT_HUB}/ConsumerGroups/other/Partitions/0"),
            "amqp:not-found",
        ),
    ] {
        let source = Source::builder().address(address).build();
        assert_eq!(refusal(try_read(&mut client, "r", source, None).await), condition);
    }
}

#[tokio::test]
async fn an_event_says_where_it_is_from() {
    let hub = hub();
    send(&hub, &["{}"]);
    let mut client = connect(&hub).await;
    let mut receiver = read(&mut client, "r", source_of(&hub, None), None).await;
    let delivery: Delivery<Body<Value>> = receiver.recv().await.unwrap();
    let message = delivery.message();
    let annotations = &message.message_annotations.as_ref().unwrap().0;
    let annotation = |name: &str| annotations.get(&OwnedKey::Symbol(Symbol::from(name))).cloned();
    let text = |text: &str| Some(Value::String(text.to_owned()));
    let event = &hub.telemetry().events()[0];
    let time = Some(Value::Timestamp(timestamp(event.enqueued_time)));
    assert_eq!(annotation("x-opt-sequence-number"), Some(Value::Long(0)));
    assert_eq!(annotation("x-opt-offset"), text("0"));
    assert_eq!(annotation("x-opt-enqueued-time"), time);
    assert_eq!(annotation("x-opt-partition-key"), text("lamp"));
    assert_eq!(annotation("iothub-connection-device-id"), text("lamp"));
    assert_eq!(annotation("iothub-connection-module-id"), None);
    assert_eq!(
        annotation("iothub-connection-auth-generation-id"),
        text(&event.generation_id)
    );
    let method = r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#;
    assert_eq!(annotation("iothub-connection-auth-method"), text(method));
    assert_eq!(annotation("iothub-enqueuedtime"), time);
    assert_eq!(annotation("iothub-message-source"), text("Telemetry"));
    assert_eq!(annotation("dt-subject"), text("bulb"));
    let level = message.application_properties.as_ref().unwrap().0.get("level");
    assert_eq!(level, Some(&SimpleValue::String("high".into())));
    let content_type = message.properties.as_ref().unwrap().content_type.as_ref().unwrap();
    assert_eq!(content_type.as_str(), "application/json");
}

#[tokio::test]
async fn who_has_the_higher_epoch_reads_alone() {
    let hub = hub();
    send(&hub, &["1"]);
    let mut client = connect(&hub).await;
    let all = || source_of(&hub, None);
    let mut plain = read(&mut client, "plain", all(), None).await;
    assert_eq!(next(&mut plain).await, "1");
    let mut low = read(&mut client, "low", all(), Some(1)).await;
    let ended = format!("{:?}", plain.recv::<Body<Value>>().await.unwrap_err());
    assert!(ended.contains("Stolen") && ended.contains("plain"), "{ended}");
    assert_eq!(next(&mut low).await, "1");

    let mut high = read(&mut client, "high", all(), Some(5)).await;
    let ended = format!("{:?}", low.recv::<Body<Value>>().await.unwrap_err());
    assert!(ended.contains("Stolen"), "{ended}");
    for epoch in [None, Some(4)] {
        let refused = try_read(&mut client, "late", all(), epoch).await;
        assert_eq!(refusal(refused), "amqp:link:stolen", "{epoch:?}");
    }
    assert_eq!(next(&mut high).await, "1");
    // Other partitions are another matter, and a reader that has gone is in nobody's way.
    let other = (partition(&hub) + 1) % 4;
    let _elsewhere = read(&mut client, "elsewhere", source(other, None), None).await;
    high.close().await.unwrap();
    let mut readers = Vec::new();
    for n in 0..5 {
        readers.push(read(&mut client, &format!("r{n}"), all(), None).await);
    }
    let sixth = try_read(&mut client, "r5", all(), None).await;
    assert_eq!(refusal(sixth), "amqp:resource-limit-exceeded");
}

#[tokio::test]
async fn the_event_hub_tells_what_it_holds() {
    let hub = hub();
    send(&hub, &["1", "2"]);
    let mut client = connect(&hub).await;
    let address = format!("{EVENT_HUB}/$management");
    let mut questions = Sender::attach(&mut client.session, "q", address.clone()).await.unwrap();
    let mut answers = Receiver::attach(&mut client.session, "a", address).await.unwrap();
    let empty = (partition(&hub) + 1) % 4;
    let cases = [
        ("READ", "com.microsoft:eventhub", EVENT_HUB, String::new(), 200),
        (
            "READ",
            "com.microsoft:partition",
            EVENT_HUB,
            partition(&hub).to_string(),
            200,
        ),
        ("READ", "com.microsoft:partition", EVENT_HUB, empty.to_string(), 200),
        ("READ", "com.microsoft:partition", EVENT_HUB, "9".to_owned(), 400),
        ("READ", "com.microsoft:eventhub", "another", String::new(), 404),
        ("READ", "com.microsoft:odd", EVENT_HUB, String::new(), 400),
        ("UPDATE", "com.microsoft:eventhub", EVENT_HUB, String::new(), 400),
    ];
    let mut told = Vec::new();
    for (n, (operation, kind, name, partition, status)) in cases.into_iter().enumerate() {
        let question = Message::builder()
            .properties(
                Properties::builder()
                    .message_id(n as u64)
                    .reply_to("a".to_owned())
                    .build(),
            )
            .application_properties(
                ApplicationProperties::builder()
                    .insert("operation", operation)
                    .insert("type", kind)
                    .insert("name", name)
                    .insert("partition", partition)
                    .build(),
            )
            .value(())
            .build();
        questions.send(question).await.unwrap().accepted_or("refused").unwrap();
        let answer: Delivery<Body<Value>> = answers.recv().await.unwrap();
        answers.accept(&answer).await.unwrap();
        let message = answer.into_message();
        assert_eq!(
            message.properties.unwrap().correlation_id,
            Some(MessageId::Ulong(n as u64))
        );
        let properties = message.application_properties.unwrap().0;
        assert_eq!(properties.get("status-code"), Some(&SimpleValue::Int(status)), "{n}");
        assert_eq!(properties.get("error-condition").is_some(), status != 200, "{n}");
        if let Body::Value(value) = message.body {
            told.push(value.0);
        }
    }
    let field = |at: usize, name: &str| match &told[at] {
        Value::Map(map) => map.get(&Value::from(name)).cloned().unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(field(0, "name"), Value::from(EVENT_HUB));
    assert_eq!(field(0, "partition_count"), Value::Int(4));
    let ids = Value::Array(["0", "1", "2", "3"].map(Value::from).to_vec().into());
    assert_eq!(field(0, "partition_ids"), ids);
    assert!(matches!(field(0, "created_at"), Value::Timestamp(_)));
    let events = hub.telemetry().events();
    assert_eq!(field(1, "begin_sequence_number"), Value::Long(0));
    assert_eq!(field(1, "last_enqueued_sequence_number"), Value::Long(1));
    assert_eq!(
        field(1, "last_enqueued_offset"),
        Value::String(events[1].offset.to_string())
    );
    assert_eq!(field(1, "is_partition_empty"), Value::Bool(false));
    assert_eq!(field(2, "last_enqueued_sequence_number"), Value::Long(-1));
    assert_eq!(field(2, "is_partition_empty"), Value::Bool(true));
}

#[tokio::test]
async fn a_token_for_the_event_hub_is_good_for_nothing_else() {
    let hub = hub();
    let mut client = connect(&hub).await;
    for address in [
        "/messages/devicebound",
        "/messages/events/$management",
        "/devices/lamp/messages/events",
    ] {
        assert_eq!(client.refusal(address).await, "amqp:unauthorized-access", "{address}");
    }
    let another = TOKEN.replace("iothub-ehub-localhost", "iothub-ehub-localhost2");
    assert_eq!(client.put_token(&another).await, 401);
}

use bytes::Bytes;
use time::macros::datetime;
use uuid::uuid;

use super::{Bench, numbered, receive, sent, settle};
use crate::amqp::{AmqpBody, AmqpMessage, AmqpValue, Settlement};

/// What a message is on the way.
impl Bench<'_> {
    pub(super) async fn fidelity(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        let mut receiver = self.receiver(&*connection, 10).await;
        for message in samples() {
            sent(&*sender, message.clone()).await;
            assert_same(&self.peer.taken().await, &message);
            self.peer.provide(vec![message.clone()]).await;
            let received = receive(&mut *receiver).await;
            assert_same(&[received.message], &message);
            settle(&*receiver, &received.tag, Settlement::Accepted)
                .await
                .expect("settled");
        }
        self.peer.settled(samples().len()).await;
    }

    pub(super) async fn large_messages(&self) {
        let connection = self.connect().await;
        let sender = self.sender(&*connection).await;
        let mut receiver = self.receiver(&*connection, 1).await;
        let body: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let message = AmqpMessage {
            body: AmqpBody::Data(body.into()),
            ..numbered(1)
        };
        sent(&*sender, message.clone()).await;
        assert_same(&self.peer.taken().await, &message);
        self.peer.provide(vec![message.clone()]).await;
        let received = receive(&mut *receiver).await;
        assert_same(&[received.message], &message);
        settle(&*receiver, &received.tag, Settlement::Accepted)
            .await
            .expect("settled");
        self.peer.settled(1).await;
    }
}

/// Compared in parts, since the `Debug` of a message hides most of it.
fn assert_same(found: &[AmqpMessage], expected: &AmqpMessage) {
    let [found] = found else {
        panic!("one message, not {}", found.len());
    };
    assert_eq!(found.application_properties, expected.application_properties);
    assert_eq!(found.message_annotations, expected.message_annotations);
    assert!(
        found.body == expected.body,
        "{:?} is not {:?}",
        found.body,
        expected.body
    );
    assert!(found == expected, "{found:?} is not {expected:?}");
}

fn samples() -> Vec<AmqpMessage> {
    let property = |name: &str, value: AmqpValue| (name.to_owned(), value);
    let bare = AmqpMessage {
        body: AmqpBody::Data(Bytes::new()),
        ..AmqpMessage::default()
    };
    let full = AmqpMessage {
        message_id: Some("m-1".into()),
        user_id: Some(Bytes::from_static(b"\x00\xff")),
        to: Some("/devices/lamp/messages/devicebound".to_owned()),
        subject: Some("s".to_owned()),
        reply_to: Some("r".to_owned()),
        correlation_id: Some(AmqpValue::Uuid(uuid!("67e55044-10b1-426f-9247-bb680e5fe0c8"))),
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("utf-8".to_owned()),
        absolute_expiry_time: Some(datetime!(2031-02-03 04:05:06.007 UTC)),
        creation_time: Some(datetime!(2001-02-03 04:05:06.007 UTC)),
        message_annotations: vec![
            property("x-opt-a", AmqpValue::Long(-1)),
            property("x-opt-b", AmqpValue::Timestamp(datetime!(2031-02-03 04:05:06.007 UTC))),
        ],
        application_properties: vec![
            property("text", "größer".into()),
            property("int", AmqpValue::Int(200)),
            property("bool", AmqpValue::Boolean(true)),
            property("double", AmqpValue::Double(0.5)),
            property("null", AmqpValue::Null),
        ],
        body: AmqpBody::Data(Bytes::from_static(b"{}")),
    };
    let value = AmqpMessage {
        message_id: Some(AmqpValue::Binary(Bytes::from_static(b"id"))),
        body: AmqpBody::Value(AmqpValue::Map(vec![
            ("list".into(), AmqpValue::List(vec![AmqpValue::Uint(1), "two".into()])),
            ("symbol".into(), AmqpValue::Symbol("amqp:accepted:list".to_owned())),
        ])),
        ..AmqpMessage::default()
    };
    vec![bare, full, value]
}

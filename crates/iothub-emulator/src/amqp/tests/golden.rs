//! Connections of other implementations, recorded and replayed; see the README beside the recordings.

use std::time::Duration;

use fe2o3_amqp_types::{
    definitions::{ReceiverSettleMode, Role},
    messaging::{DeliveryState, MessageId},
    performatives::{Disposition, Performative, Transfer},
    primitives::SimpleValue,
};
use serde_amqp::{Value, primitives::Symbol};
use time::macros::datetime;

use super::{RawPeer, Reply, device, hex, hub};
use crate::hub::{
    Ack, Hub,
    queue::{LOCK, LockedMessage},
};

/// Writes a recording piece by piece, and gives what the hub answered before the first AMQP frame, and the frames.
async fn replay(hub: &Hub, recording: &str, sasl: bool) -> Vec<Reply> {
    let mut peer = RawPeer::connect(hub);
    for line in recording.lines() {
        peer.write(&hex(line)).await;
        // Time stands still, so this returns when the hub has done all there was to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    peer.read_to_end().await;
    if sasl {
        assert_eq!(peer.header(), *b"AMQP\x03\x01\x00\x00");
        let (_, mechanisms) = peer.body(1);
        for mechanism in ["ANONYMOUS", "MSSBCBS", "PLAIN"] {
            let offered = mechanisms
                .windows(mechanism.len())
                .any(|part| part == mechanism.as_bytes());
            assert!(offered, "{mechanism}");
        }
        let (_, outcome) = peer.body(1);
        assert_eq!(outcome[..], [0x00, 0x53, 0x44, 0xc0, 4, 2, 0x50, 0, 0x40]);
    }
    assert_eq!(peer.header(), *b"AMQP\x00\x01\x00\x00");
    peer.replies()
}

fn next_message(hub: &Hub, id: &str) -> Option<LockedMessage> {
    hub.take_message(&device(id), LOCK).unwrap()
}

fn transfers(replies: &[Reply]) -> Vec<(&Transfer, &Reply)> {
    let mut transfers = Vec::new();
    for reply in replies {
        if let Performative::Transfer(transfer) = &reply.performative {
            transfers.push((transfer, reply));
        }
    }
    transfers
}

fn dispositions(replies: &[Reply], channel: u16) -> Vec<&Disposition> {
    let mut dispositions = Vec::new();
    for reply in replies.iter().filter(|reply| reply.channel == channel) {
        if let Performative::Disposition(disposition) = &reply.performative {
            dispositions.push(disposition);
        }
    }
    dispositions
}

/// The status that an answer from `$cbs` carries.
fn check_status(reply: &Reply, status: i32, description: &str) {
    let properties = reply.message().application_properties.unwrap().0;
    assert_eq!(properties.get("status-code"), Some(&SimpleValue::Int(status)));
    assert_eq!(
        properties.get("status-description"),
        Some(&SimpleValue::String(description.into()))
    );
}

/// What every client expects of open, begin, attach and flow.
fn check_beginning(replies: &[Reply]) {
    let Performative::Open(open) = &replies[0].performative else {
        panic!("{:?}", replies[0]);
    };
    assert!(open.container_id.starts_with("DeviceGateway_"), "{}", open.container_id);
    assert_eq!(open.max_frame_size.0, 65_536);
    assert_eq!(open.channel_max.0, 8191);
    assert_eq!(open.idle_time_out, Some(240_000));
    let Performative::Begin(begin) = &replies[1].performative else {
        panic!("{:?}", replies[1]);
    };
    assert_eq!(begin.remote_channel, Some(replies[1].channel));
    assert_eq!((begin.next_outgoing_id, begin.incoming_window), (1, 5000));
    assert_eq!(begin.handle_max.0, 262_143);
    for reply in replies {
        match &reply.performative {
            Performative::Attach(attach) if attach.role == Role::Receiver => {
                assert_eq!(attach.rcv_settle_mode, ReceiverSettleMode::First);
                assert_eq!(attach.max_message_size, Some(1_048_576));
            }
            Performative::Flow(flow) if flow.handle.is_some() && !flow.drain => {
                assert_eq!(flow.link_credit, Some(100), "{flow:?}");
            }
            _ => {}
        }
        let fields = match &reply.performative {
            Performative::Open(_) => 10,
            Performative::Begin(_) => 8,
            Performative::Attach(_) => 14,
            Performative::Flow(_) | Performative::Transfer(_) => 11,
            Performative::Disposition(_) => 6,
            Performative::Detach(_) => 3,
            Performative::End(_) | Performative::Close(_) => 1,
        };
        assert_eq!(reply.fields, fields, "{:?}", reply.performative);
    }
}

/// What every client expects of the answer to put-token, with the id it gave its request.
fn check_answer(replies: &[Reply], id: &MessageId) {
    let is_settlement = |reply: &Reply| matches!(&reply.performative, Performative::Disposition(_));
    let is_answer = |reply: &Reply| matches!(&reply.performative, Performative::Transfer(_));
    let settled = replies.iter().position(is_settlement).unwrap();
    let answered = replies.iter().position(is_answer).unwrap();
    assert!(settled < answered, "the request is settled before it is answered");
    let accepted = dispositions(replies, 0)[0];
    assert!(accepted.settled && matches!(accepted.state, Some(DeliveryState::Accepted(_))));

    let (transfer, reply) = transfers(replies)[0];
    assert_eq!(transfer.delivery_tag.as_ref().map(|tag| tag.len()), Some(16));
    assert_eq!(transfer.message_format, Some(0));
    assert_eq!(reply.message().properties.unwrap().correlation_id.as_ref(), Some(id));
    check_status(reply, 200, "OK");
}

#[tokio::test(start_paused = true)]
async fn microsofts_node_client_is_served() {
    let hub = hub();
    let replies = replay(&hub, include_str!("../../../testdata/amqp/node.hex"), false).await;
    check_beginning(&replies);
    check_answer(
        &replies,
        &MessageId::String("68f117d4-8216-43b5-9f57-63f0e97ae494".into()),
    );
    for settled in dispositions(&replies, 0) {
        assert!(
            settled.settled && matches!(settled.state, Some(DeliveryState::Accepted(_))),
            "{settled:?}"
        );
    }
    assert!(matches!(replies.last().unwrap().performative, Performative::Close(_)));

    let message = next_message(&hub, "lamp").unwrap().message;
    assert_eq!(message.body, "on");
    assert_eq!(message.message_id.as_deref(), Some("m1"));
    assert_eq!(message.correlation_id.as_deref(), Some("c1"));
    assert_eq!(message.to.as_deref(), Some("/devices/lamp/messages/devicebound"));
    assert_eq!(message.ack, Ack::Full);
    assert_eq!(message.expiry, Some(datetime!(2100-01-01 00:00 UTC)));
    assert_eq!(message.content_type.as_deref(), Some("text/plain"));
    assert_eq!(message.content_encoding.as_deref(), Some("utf-8"));
    assert_eq!(message.properties, [("k".to_owned(), "v".to_owned())]);
    assert_eq!(next_message(&hub, "hall#2").unwrap().message.body, "off");
}

#[tokio::test(start_paused = true)]
async fn microsofts_python_client_is_served() {
    let hub = hub();
    let replies = replay(&hub, include_str!("../../../testdata/amqp/python.hex"), true).await;
    check_beginning(&replies);
    check_answer(&replies, &MessageId::Ulong(0));
    let message = next_message(&hub, "lamp").unwrap().message;
    assert_eq!(message.body, "on");
    assert_eq!(message.message_id.as_deref(), Some("m2"));
    assert_eq!(message.content_type.as_deref(), Some("text/plain"));
}

#[tokio::test(start_paused = true)]
async fn proton_settles_second_and_drains() {
    let hub = hub();
    let replies = replay(&hub, include_str!("../../../testdata/amqp/proton.hex"), true).await;
    check_beginning(&replies);
    let id = "5f9a1f0e-8d2f-4a43-9d3f-0123456789ab";
    check_answer(
        &replies,
        &MessageId::Uuid(hex(id).try_into().map(<[u8; 16]>::into).unwrap()),
    );

    // It released the answer, and hears `accepted` all the same.
    let last_word = dispositions(&replies, 0)
        .into_iter()
        .find(|word| word.role == Role::Sender)
        .unwrap();
    assert_eq!((last_word.first, last_word.last, last_word.settled), (1, Some(1), true));
    assert!(matches!(last_word.state, Some(DeliveryState::Accepted(_))));
    // Of six credits one was used, and the other five were given back.
    let drained = replies.iter().find_map(|reply| match &reply.performative {
        Performative::Flow(flow) if flow.drain => Some(flow),
        _ => None,
    });
    let drained = drained.unwrap();
    assert_eq!((drained.delivery_count, drained.link_credit), (Some(6), Some(0)));

    let outcomes = dispositions(&replies, 1).into_iter().map(|disposition| {
        assert!(disposition.settled && disposition.role == Role::Receiver);
        match &disposition.state {
            Some(DeliveryState::Accepted(_)) => "accepted".to_owned(),
            Some(DeliveryState::Rejected(rejected)) => {
                let error = rejected.error.clone().unwrap();
                assert!(error.description.unwrap().contains("Tracking ID:"));
                let info = error.info.unwrap();
                assert!(matches!(
                    info.get(&Symbol::from("com.microsoft:tracking-id")),
                    Some(Value::String(_))
                ));
                match serde_amqp::to_value(&error.condition).unwrap() {
                    Value::Symbol(symbol) => symbol.into_inner(),
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
    });
    let expected = ["accepted", "accepted", "amqp:not-found", "com.microsoft:argument-error"];
    assert_eq!(outcomes.collect::<Vec<_>>(), expected);
    let message = next_message(&hub, "lamp").unwrap().message;
    assert_eq!(message.user_id.as_deref(), Some(&b"me"[..]));
    assert_eq!(message.correlation_id.as_deref(), Some(id));
    assert!(next_message(&hub, "hall#2").is_some());
}

#[tokio::test(start_paused = true)]
async fn the_event_hubs_client_for_python_is_served() {
    let hub = hub();
    let replies = replay(&hub, include_str!("../../../testdata/amqp/pyamqp.hex"), true).await;
    check_beginning(&replies);
    check_status(transfers(&replies)[0].1, 200, "OK");
    assert_eq!(next_message(&hub, "lamp").unwrap().message.body, "on");
}

//! Peers that break the rules. Frames are written with the library that the clients are built on, then spoilt.

use std::time::Duration;

use fe2o3_amqp_types::{
    definitions::{ReceiverSettleMode, Role, SenderSettleMode},
    messaging::{Source, Target},
    performatives::{Attach, Begin, Close, End, Flow, Open, Performative, Transfer},
};

use super::{RawPeer, Reply, hex, hub};

const HEADER: &[u8] = b"AMQP\x00\x01\x00\x00";

fn frame(channel: u16, performative: &Performative) -> Vec<u8> {
    frame_with(channel, performative, &[])
}

fn frame_with(channel: u16, performative: &Performative, payload: &[u8]) -> Vec<u8> {
    framed(channel, &[&serde_amqp::to_vec(performative).unwrap(), payload].concat())
}

fn framed(channel: u16, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], &[2, 0], &channel.to_be_bytes(), body].concat()
}

fn open() -> Vec<u8> {
    let open = Open {
        container_id: "peer".into(),
        hostname: None,
        max_frame_size: 65_536.into(),
        channel_max: 8191.into(),
        idle_time_out: None,
        outgoing_locales: None,
        incoming_locales: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    };
    frame(0, &Performative::Open(open))
}

fn begin(channel: u16) -> Vec<u8> {
    let begin = Begin {
        remote_channel: None,
        next_outgoing_id: 0,
        incoming_window: 100,
        outgoing_window: 100,
        handle_max: 1000.into(),
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    };
    frame(channel, &Performative::Begin(begin))
}

/// Attaches a sender to `$cbs`, where everybody may send.
fn attach(handle: u32) -> Vec<u8> {
    attach_to("$cbs", handle)
}

fn attach_to(address: &str, handle: u32) -> Vec<u8> {
    let attach = Attach {
        name: format!("link-{handle}"),
        handle: handle.into(),
        role: Role::Sender,
        snd_settle_mode: SenderSettleMode::Unsettled,
        rcv_settle_mode: ReceiverSettleMode::First,
        source: Some(Box::new(Source::default())),
        target: Some(Box::new(Target::from(address).into())),
        unsettled: None,
        incomplete_unsettled: false,
        initial_delivery_count: Some(0),
        max_message_size: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    };
    frame(0, &Performative::Attach(attach))
}

fn transfer(handle: u32, delivery_id: Option<u32>, more: bool, payload: &[u8]) -> Vec<u8> {
    let transfer = Transfer {
        handle: handle.into(),
        delivery_id,
        delivery_tag: Some(vec![1].into()),
        message_format: Some(0),
        settled: None,
        more,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    };
    frame_with(0, &Performative::Transfer(transfer), payload)
}

fn flow(handle: u32) -> Vec<u8> {
    let flow = Flow {
        next_incoming_id: Some(1),
        incoming_window: 100,
        next_outgoing_id: 0,
        outgoing_window: 100,
        handle: Some(handle.into()),
        delivery_count: Some(0),
        link_credit: Some(1),
        available: None,
        drain: false,
        echo: false,
        properties: None,
    };
    frame(0, &Performative::Flow(flow))
}

fn close() -> Vec<u8> {
    frame(0, &Performative::Close(Close { error: None }))
}

/// Says all of it and then close, and gives what the hub answered.
async fn answers_to(parts: &[Vec<u8>]) -> Vec<Reply> {
    let mut peer = RawPeer::connect(&hub());
    peer.write(HEADER).await;
    for part in parts {
        peer.write(part).await;
        // Time stands still, so this returns when the hub has done all there was to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    peer.write(&close()).await;
    peer.read_to_end().await;
    assert_eq!(peer.header(), HEADER);
    peer.replies()
}

async fn check_close(parts: &[Vec<u8>], condition: &str) {
    let replies = answers_to(parts).await;
    assert!(matches!(replies[0].performative, Performative::Open(_)));
    let last = replies.last().unwrap();
    assert!(matches!(last.performative, Performative::Close(_)), "{last:?}");
    assert_eq!(last.condition().as_deref(), Some(condition), "{last:?}");
}

async fn check_end(parts: &[Vec<u8>], condition: &str) {
    let replies = answers_to(parts).await;
    let end = replies
        .iter()
        .find(|reply| matches!(reply.performative, Performative::End(_)));
    assert_eq!(end.unwrap().condition().as_deref(), Some(condition), "{replies:?}");
    let last = replies.last().unwrap();
    assert!(
        matches!(&last.performative, Performative::Close(close) if close.error.is_none()),
        "{last:?}"
    );
}

async fn check_detach(parts: &[Vec<u8>], condition: &str) {
    let replies = answers_to(parts).await;
    let detach = replies
        .iter()
        .find(|reply| matches!(reply.performative, Performative::Detach(_)));
    assert_eq!(detach.unwrap().condition().as_deref(), Some(condition), "{replies:?}");
    let last = replies.last().unwrap();
    assert!(
        matches!(&last.performative, Performative::Close(close) if close.error.is_none()),
        "{last:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn another_protocol_is_answered_with_ours() {
    for header in [*b"GET / HT", *b"AMQP\x02\x01\x00\x00", *b"AMQP\x00\x00\x09\x01", [0; 8]] {
        let mut peer = RawPeer::connect(&hub());
        peer.write(&header).await;
        peer.read_to_end().await;
        assert_eq!(peer.header(), HEADER, "{header:?}");
        assert!(peer.received.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_none_end_the_connection() {
    let framing = "amqp:connection:framing-error";
    for frame in [
        "0000000702000000",
        "0001000102000000",
        "0000000801000000",
        "0000000803000000",
        "0000000802020000",
    ] {
        check_close(&[hex(frame)], framing).await;
        check_close(&[open(), hex(frame)], framing).await;
    }
    check_close(&[open(), hex("0000000c02010000005341 45")], framing).await;
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_performative_end_the_connection() {
    let decode = "amqp:decode-error";
    for body in [
        "40",
        "005399c00100",
        "005311",
        "005311c0ff00",
        "005311d000000004ffffffff",
        "005311f000000005ffffffff40",
        "005310c00501a102fffe",
        "00a30178 45",
        "005317c001 00 40",
    ] {
        check_close(&[open(), framed(0, &hex(body))], decode).await;
    }
    check_close(&[open(), framed(0, &[0; 10_000])], decode).await;
    check_close(&[framed(0, &hex("005311"))], decode).await;
}

#[tokio::test(start_paused = true)]
async fn the_order_of_things_is_kept() {
    check_close(&[begin(0)], "amqp:illegal-state").await;
    check_close(&[framed(0, &[])], "amqp:illegal-state").await;
    let framing = "amqp:connection:framing-error";
    check_close(&[open(), open()], framing).await;
    check_close(&[open(), attach(0)], framing).await;
    check_close(&[open(), begin(0), begin(0)], framing).await;
    check_close(&[open(), begin(8192)], framing).await;
    check_close(&[open(), begin(0), attach(262_144)], framing).await;
    check_end(&[open(), begin(0), attach(0), attach(0)], "amqp:session:handle-in-use").await;
    let unattached = "amqp:session:unattached-handle";
    check_end(&[open(), begin(0), flow(9)], unattached).await;
    check_end(&[open(), begin(0), transfer(9, Some(0), false, &[])], unattached).await;
}

#[tokio::test(start_paused = true)]
async fn links_are_refused_to_strangers_without_a_word_of_what_there_is() {
    for address in ["/messages/devicebound", "/nowhere", ""] {
        check_detach(&[open(), begin(0), attach_to(address, 0)], "amqp:unauthorized-access").await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_break_a_rule_end_their_link() {
    let start = || [open(), begin(0), attach(0)];
    let with = |parts: Vec<Vec<u8>>| [start().to_vec(), parts].concat();
    check_detach(&with(vec![transfer(0, None, false, &[])]), "amqp:invalid-field").await;
    let interleaved = vec![transfer(0, Some(0), true, &[1]), transfer(0, Some(1), false, &[2])];
    check_detach(&with(interleaved), "amqp:not-allowed").await;
    // Seventeen times 64 000 bytes are more than a mebibyte.
    let large = (0..17).map(|_| transfer(0, Some(0), true, &[0; 64_000])).collect();
    check_detach(&with(large), "amqp:link:message-size-exceeded").await;
}

#[tokio::test(start_paused = true)]
async fn what_many_links_leave_unfinished_is_bounded() {
    let mut parts = vec![open(), begin(0)];
    for handle in 0..10 {
        parts.push(attach(handle));
        for _ in 0..16 {
            parts.push(transfer(handle, Some(handle), true, &[0; 60_000]));
        }
    }
    check_detach(&parts, "amqp:resource-limit-exceeded").await;
}

/// Every byte of every recording is spoilt, in one of four ways. What the hub makes of it is its affair, as long as it lives.
/// As `rhea` does, the engine of Microsoft's clients for Node.
#[tokio::test(start_paused = true)]
async fn what_comes_after_the_end_of_a_session_is_passed_over() {
    let end = || frame(0, &Performative::End(End { error: None }));
    let replies = answers_to(&[open(), begin(0), attach(0), end(), flow(0), begin(0), attach(0)]).await;
    let count = |is: fn(&Performative) -> bool| replies.iter().filter(|reply| is(&reply.performative)).count();
    assert_eq!(count(|it| matches!(it, Performative::Begin(_))), 2);
    assert_eq!(count(|it| matches!(it, Performative::Attach(_))), 2);
    let last = replies.last().unwrap();
    assert!(
        matches!(&last.performative, Performative::Close(close) if close.error.is_none()),
        "{last:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn no_spoilt_byte_brings_the_hub_down() {
    let recordings = [
        include_str!("../../../testdata/amqp/node.hex"),
        include_str!("../../../testdata/amqp/python.hex"),
        include_str!("../../../testdata/amqp/proton.hex"),
        include_str!("../../../testdata/amqp/pyamqp.hex"),
    ];
    let hub = hub();
    for recording in recordings {
        let bytes = hex(recording);
        for at in 0..bytes.len() {
            let spoilt = [0x00, 0xff, bytes[at] ^ 0x01, bytes[at] ^ 0x80][at % 4];
            let mut bytes = bytes.clone();
            bytes[at] = spoilt;
            let mut peer = RawPeer::connect(&hub);
            peer.write(&bytes).await;
            let served = peer.hang_up().await;
            assert!(served.is_ok(), "byte {at} as {spoilt:#x}: {served:?}");
        }
    }
}

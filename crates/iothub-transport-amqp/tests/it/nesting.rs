//! Values that are nested so deep that decoding them would use up the stack, and counts that would use up the memory.

use std::{future::Future, thread};

use azure_core::error::ErrorKind;
use iothub_core::{
    HubHost,
    amqp::{AmqpBody, AmqpError, AmqpScope, AmqpTransport, AmqpValue, ReceiverLink},
};
use iothub_transport_amqp::{AmqpOptions, Fe2o3Transport, Proxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    certificates::Authority,
    peer::{Event, Order, Peer, Script},
};

/// Runs a story on half of the stack that a thread of Rust has.
fn on_a_small_stack<F: Future<Output = ()>>(story: impl FnOnce() -> F + Send + 'static) {
    let thread = thread::Builder::new().stack_size(1024 * 1024).spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(story());
    });
    thread.unwrap().join().unwrap();
}

fn nested(deep: usize, level: fn(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    (0..deep).fold(vec![0x40], |inner, _| level(inner))
}

/// A list, map or array in the long form, AMQP 1.0 part 1.6.
fn compound(constructor: u8, count: u32, items: &[u8]) -> Vec<u8> {
    let size = u32::try_from(items.len() + 4).unwrap();
    [&[constructor][..], &size.to_be_bytes(), &count.to_be_bytes(), items].concat()
}

fn list(inner: Vec<u8>) -> Vec<u8> {
    compound(0xd0, 1, &inner)
}

fn map(inner: Vec<u8>) -> Vec<u8> {
    compound(0xd1, 2, &[&[0x54, 1][..], &inner].concat())
}

/// An array with one element: its constructor, and then the rest of it.
fn array(inner: Vec<u8>) -> Vec<u8> {
    compound(0xf0, 1, &inner)
}

fn described(inner: Vec<u8>) -> Vec<u8> {
    [&[0x00, 0x53, 0x77][..], &inner].concat()
}

/// A section with this code.
fn section(code: u8, value: &[u8]) -> Vec<u8> {
    [&[0x00, 0x53, code][..], value].concat()
}

fn link() -> ReceiverLink {
    ReceiverLink {
        address: "feedback".to_owned(),
        credit: 10,
        properties: Vec::new(),
    }
}

#[test]
fn a_message_that_is_too_deep_is_rejected_and_the_next_comes() {
    on_a_small_stack(|| async {
        let mut peer = Peer::start(Script::default()).await;
        let connection = peer.connect().await;
        let mut receiver = connection.receiver(link()).await.unwrap();
        for level in [list, map, array, described] {
            let value = nested(5000, level);
            let annotation = compound(0xd1, 2, &[&[0xa3, 1, b'x'][..], &value].concat());
            let field = compound(0xd0, 1, &value);
            for message in [
                section(0x77, &value),
                section(0x76, &field),
                section(0x72, &annotation),
                section(0x73, &field),
                section(0x99, &value),
            ] {
                for cut in [101, 60_000] {
                    peer.order(Order::Deliver(vec![1], message.clone(), cut));
                    let error = receiver.recv().await.unwrap_err();
                    let found = AmqpError::of(&error).unwrap();
                    assert_eq!(found.scope, AmqpScope::Message, "{found}");
                    assert_eq!(found.condition.as_ref().unwrap().as_str(), "amqp:decode-error");
                    peer.until(|event| matches!(event, Event::Disposition(_)).then_some(()))
                        .await;
                }
            }
        }
        peer.order(Order::Deliver(vec![2], section(0x75, b"\xa0\x02hi"), 1024));
        assert_eq!(receiver.recv().await.unwrap().message.body, AmqpBody::Data("hi".into()));
    });
}

#[test]
fn a_message_that_is_as_deep_as_may_be_is_read() {
    on_a_small_stack(|| async {
        let peer = Peer::start(Script::default()).await;
        let connection = peer.connect().await;
        let mut receiver = connection.receiver(link()).await.unwrap();
        for cut in [7, 60_000] {
            peer.order(Order::Deliver(vec![1], section(0x77, &nested(63, list)), cut));
            let expected = (0..63).fold(AmqpValue::Null, |inner, _| AmqpValue::List(vec![inner]));
            assert_eq!(receiver.recv().await.unwrap().message.body, AmqpBody::Value(expected));
        }
    });
}

#[test]
fn a_message_that_claims_what_no_message_holds_ends_the_connection() {
    on_a_small_stack(|| async {
        for value in [
            &[0xd0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40][..],
            &[0xd1, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xfe, 0x40],
            &[0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40],
            &[0xb1, 0xff, 0xff, 0xff, 0xf0, b'x'],
            &[0x00, 0xb3, 0xff, 0xff, 0xff, 0xf0, b'x'],
        ] {
            for cut in [1, 1024] {
                let peer = Peer::start(Script::default()).await;
                let connection = peer.connect().await;
                let mut receiver = connection.receiver(link()).await.unwrap();
                peer.order(Order::Deliver(vec![1], section(0x77, value), cut));
                let error = receiver.recv().await.unwrap_err();
                assert_eq!(AmqpError::of(&error).unwrap().scope, AmqpScope::Connection, "{error}");
                assert!(error.to_string().contains("beyond the bytes"), "{error}");
            }
        }
    });
}

/// A peer that answers a header with one, and then says `frame`.
async fn answered_with(frame: Vec<u8>) -> azure_core::Error {
    let authority = Authority::new();
    let acceptor = authority.acceptor("localhost");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tls = acceptor.accept(tcp).await.unwrap();
        tls.write_all(b"AMQP\x00\x01\x00\x00").await.unwrap();
        tls.write_all(&frame).await.unwrap();
        tls.flush().await.unwrap();
        // Kept open until the other side has made up its mind.
        drop(tls.read_to_end(&mut Vec::new()).await);
    });
    let host: HubHost = "localhost".parse().unwrap();
    let options = AmqpOptions {
        extra_roots: vec![authority.root()],
        platform_roots: false,
        proxy: Proxy::Direct,
        ..Default::default()
    };
    let transport = Fe2o3Transport::new(options).unwrap();
    transport.connect(&host.with_amqps_port(port)).await.unwrap_err()
}

fn frame(body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], &[2, 0, 0, 0], body].concat()
}

#[test]
fn a_frame_that_is_too_deep_is_no_amqp() {
    on_a_small_stack(|| async {
        for level in [list, map, array, described] {
            let value = nested(5000, level);
            for performative in [
                // An open frame, in the short form, in a longer one, and by name; a flow, and one of no known kind.
                section(0x10, &compound(0xd0, 1, &value)),
                [&[0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x10][..], &compound(0xd0, 1, &value)].concat(),
                [&b"\x00\xa3\x0eamqp:open:list"[..], &compound(0xd0, 1, &value)].concat(),
                section(0x13, &compound(0xd0, 1, &value)),
                section(0x99, &value),
                value,
            ] {
                let error = answered_with(frame(&performative)).await;
                assert_eq!(*error.kind(), ErrorKind::Other, "{error}");
                let expected = ["more than 64 levels", "an array holds lists", "an array has more"];
                let text = error.to_string();
                assert!(expected.iter().any(|part| text.contains(part)), "{text}");
            }
        }
    });
}

#[test]
fn a_frame_that_claims_what_it_cannot_hold_is_no_amqp() {
    on_a_small_stack(|| async {
        for performative in [
            section(0x10, &[0xd0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40]),
            section(0x10, &[0xd0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x40]),
            section(
                0x10,
                &[0xd0, 0, 0, 0, 10, 0, 0, 0, 1, 0xb1, 0xff, 0xff, 0xff, 0xf0, b'x'],
            ),
            section(0x10, &[0xc0, 0, 0]),
        ] {
            let error = answered_with(frame(&performative)).await;
            assert_eq!(*error.kind(), ErrorKind::Other, "{error}");
            let text = error.to_string();
            assert!(text.contains("the hub sent a frame in which"), "{text}");
        }
    });
}

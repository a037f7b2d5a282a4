use bytes::{Buf, BytesMut};
use fe2o3_amqp_types::{
    messaging::{Body, Message, annotations::OwnedKey, message::__private::Deserializable},
    performatives::{Attach, Disposition, Flow, Performative, Transfer},
    primitives::{SimpleValue, Symbol, Value},
};
use iothub_emulator::Emulator;
use serde::Deserialize as _;
use serde_amqp::{de::Deserializer, read::IoReader};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::bytes::{binary, boolean, frame, null, string, uint, ushort};
use crate::client;

/// A connection to the AMQP door. It writes bytes, and decodes frames with the library that the clients are built on.
pub(super) struct Peer {
    stream: TlsStream<TcpStream>,
    received: BytesMut,
}

/// A frame that the hub wrote.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) channel: u16,
    pub(super) size: usize,
    pub(super) performative: Performative,
    pub(super) payload: BytesMut,
}

/// An attach as a client writes it. It sends on the link unless it `receives`.
pub(super) struct Attaching<'a> {
    pub(super) name: &'a str,
    pub(super) handle: u32,
    pub(super) receives: bool,
    /// Settle modes of the sender and of the receiver, or null.
    pub(super) modes: [Vec<u8>; 2],
    pub(super) source: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) properties: Vec<u8>,
}

impl Peer {
    /// Connects, and exchanges the protocol header of a client without a security layer.
    pub(super) async fn without_sasl(emulator: &Emulator) -> Self {
        let mut peer = Self::connect(emulator).await;
        peer.exchange(b"AMQP\x00\x01\x00\x00").await;
        peer
    }

    pub(super) async fn connect(emulator: &Emulator) -> Self {
        Self {
            stream: client::tls_at(emulator, emulator.host().amqps_port(), b"").await,
            received: BytesMut::new(),
        }
    }

    /// Writes a protocol header, which the hub answers with the same.
    pub(super) async fn exchange(&mut self, header: &[u8; 8]) {
        self.write(header).await;
        assert_eq!(self.take(8).await[..], header[..]);
    }

    /// Opens the connection and checks what the hub says of itself.
    pub(super) async fn open(&mut self, container: &str, max_frame_size: u32, idle_time_out: Vec<u8>) {
        let fields = [
            string(container),
            string("localhost"),
            uint(max_frame_size),
            ushort(8191),
            idle_time_out,
        ];
        self.write(frame(0, 0x10, &fields, &[])).await;
        let Performative::Open(open) = self.reply().await.performative else {
            panic!("no open");
        };
        let told = (open.max_frame_size.0, open.channel_max.0, open.idle_time_out);
        assert_eq!(told, (65_536, 8191, Some(240_000)));
    }

    pub(super) async fn begin(&mut self, channel: u16) {
        let fields = [null(), uint(1), uint(5000), uint(5000), uint(262_143)];
        self.write(frame(channel, 0x11, &fields, &[])).await;
        let reply = self.reply().await;
        let Performative::Begin(begin) = &reply.performative else {
            panic!("{reply:?}");
        };
        assert_eq!((reply.channel, begin.remote_channel), (channel, Some(channel)));
    }

    /// Attaches a link. One on which it sends has credit at once.
    pub(super) async fn attach(&mut self, channel: u16, link: Attaching<'_>) -> Attach {
        let (receives, handle) = (link.receives, link.handle);
        self.write(link.encode(channel)).await;
        let reply = self.reply().await;
        let Performative::Attach(attach) = reply.performative else {
            panic!("{reply:?}");
        };
        assert_eq!((reply.channel, attach.name.as_str()), (channel, link.name));
        assert!(attach.max_message_size >= Some(1_048_576));
        if !receives {
            let flow = self.flow().await;
            assert!(flow.handle.as_ref().is_some_and(|found| found.0 == handle), "{flow:?}");
            assert!(flow.link_credit >= Some(50), "{flow:?}");
        }
        *Box::new(attach)
    }

    /// Gives credit.
    pub(super) async fn grant(&mut self, channel: u16, handle: u32, delivery_count: u32, credit: u32) {
        self.say_flow(channel, handle, (delivery_count, credit), [false, false])
            .await;
    }

    /// Asks whether anything has been sent that was not received, and hears that it was not.
    pub(super) async fn has_nothing(&mut self, channel: u16, handle: u32, delivery_count: u32) {
        self.say_flow(channel, handle, (delivery_count, 0), [false, true]).await;
        let flow = self.flow().await;
        assert_eq!((flow.delivery_count, flow.link_credit), (Some(delivery_count), Some(0)));
    }

    /// Gives a credit for what is there now, and gets it back.
    pub(super) async fn drains(&mut self, channel: u16, handle: u32, delivery_count: u32) {
        self.say_flow(channel, handle, (delivery_count, 1), [true, false]).await;
        let flow = self.flow().await;
        let left = (flow.drain, flow.delivery_count, flow.link_credit);
        assert_eq!(left, (true, Some(delivery_count + 1), Some(0)));
    }

    async fn say_flow(&mut self, channel: u16, handle: u32, link: (u32, u32), [drain, echo]: [bool; 2]) {
        let (delivery_count, credit) = link;
        let fields = [
            uint(1),
            uint(5000),
            uint(1),
            uint(5000),
            uint(handle),
            uint(delivery_count),
            uint(credit),
            uint(0),
            boolean(drain),
            boolean(echo),
        ];
        self.write(frame(channel, 0x13, &fields, &[])).await;
    }

    /// Sends a message in one frame.
    pub(super) async fn send(&mut self, channel: u16, handle: u32, delivery: (u32, &[u8], bool), message: &[u8]) {
        let (id, tag, settled) = delivery;
        let fields = [
            uint(handle),
            uint(id),
            binary(tag),
            uint(0),
            boolean(settled),
            boolean(false),
        ];
        self.write(frame(channel, 0x14, &fields, message)).await;
    }

    /// Says as a receiver what becomes of a delivery.
    pub(super) async fn settle(&mut self, channel: u16, id: u32, settled: bool, outcome: &[u8]) {
        let fields = [
            boolean(true),
            uint(id),
            uint(id),
            boolean(settled),
            outcome.to_vec(),
            null(),
        ];
        self.write(frame(channel, 0x15, &fields, &[])).await;
    }

    pub(super) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next frame, whole.
    pub(super) async fn frame(&mut self) -> BytesMut {
        while self.received.len() < 4 {
            self.read().await;
        }
        let size = u32::from_be_bytes(self.received[..4].try_into().unwrap());
        self.take(size as usize).await
    }

    /// The next frame that says something.
    pub(super) async fn reply(&mut self) -> Reply {
        let mut payload = self.frame().await;
        while payload.len() == 8 {
            payload = self.frame().await;
        }
        let size = payload.len();
        assert_eq!(payload[4..6], [2, 0], "doff and type");
        payload.advance(6);
        let channel = payload.get_u16();
        let mut deserializer = Deserializer::new(IoReader::new((&mut payload).reader()));
        let performative = Performative::deserialize(&mut deserializer).unwrap();
        Reply {
            channel,
            size,
            performative,
            payload,
        }
    }

    pub(super) async fn flow(&mut self) -> Flow {
        match self.reply().await.performative {
            Performative::Flow(flow) => flow,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn disposition(&mut self) -> Disposition {
        match self.reply().await.performative {
            Performative::Disposition(disposition) => disposition,
            other => panic!("{other:?}"),
        }
    }

    /// The next delivery, of one frame or many.
    pub(super) async fn delivery(&mut self) -> (Transfer, Message<Body<Value>>) {
        let first = self.reply().await;
        let Performative::Transfer(transfer) = &first.performative else {
            panic!("{first:?}");
        };
        let (transfer, mut more, mut payload) = (transfer.clone(), transfer.more, first.payload);
        while more {
            let next = self.reply().await;
            let Performative::Transfer(part) = &next.performative else {
                panic!("{next:?}");
            };
            more = part.more;
            payload.extend_from_slice(&next.payload);
        }
        let message: Deserializable<Message<Body<Value>>> = serde_amqp::from_slice(&payload).unwrap();
        (transfer, message.0)
    }

    /// Detaches, ends and closes as clients do that wait for the answers.
    pub(super) async fn leave(mut self, channel: u16, handle: u32) {
        self.write(frame(channel, 0x16, &[uint(handle), boolean(true)], &[]))
            .await;
        let reply = self.reply().await;
        let Performative::Detach(detach) = &reply.performative else {
            panic!("{reply:?}");
        };
        assert!(detach.closed && detach.error.is_none() && detach.handle.0 == handle);
        // Both are bytes that say nothing but what they are.
        for (code, channel) in [(0x17, channel), (0x18, 0)] {
            self.write(frame(channel, code, &[], &[])).await;
            let answer = self.frame().await;
            assert_eq!(answer[6..8], channel.to_be_bytes());
            assert_eq!(answer[8..11], [0x00, 0x53, code]);
        }
        assert_eq!(self.stream.read_buf(&mut self.received).await.unwrap_or_default(), 0);
    }

    async fn take(&mut self, size: usize) -> BytesMut {
        while self.received.len() < size {
            self.read().await;
        }
        self.received.split_to(size)
    }

    async fn read(&mut self) {
        let count = self.stream.read_buf(&mut self.received).await.unwrap();
        assert_ne!(count, 0, "the hub closed the connection");
    }
}

impl Attaching<'_> {
    pub(super) fn encode(&self, channel: u16) -> Vec<u8> {
        let fields = [
            string(self.name),
            uint(self.handle),
            boolean(self.receives),
            self.modes[0].clone(),
            self.modes[1].clone(),
            self.source.clone(),
            self.target.clone(),
            null(),
            null(),
            if self.receives { null() } else { uint(0) },
            null(),
            null(),
            null(),
            self.properties.clone(),
        ];
        frame(channel, 0x12, &fields, &[])
    }
}

/// The annotation of a message.
pub(super) fn annotation<'a>(message: &'a Message<Body<Value>>, name: &str) -> Option<&'a Value> {
    let annotations = &message.message_annotations.as_ref()?.0;
    annotations.get(&OwnedKey::Symbol(Symbol::from(name)))
}

/// The application property of a message.
pub(super) fn property<'a>(message: &'a Message<Body<Value>>, name: &str) -> Option<&'a SimpleValue> {
    message.application_properties.as_ref()?.0.get(name)
}

pub(super) fn body(message: &Message<Body<Value>>) -> Vec<u8> {
    match &message.body {
        Body::Data(data) => data.iter().flat_map(|data| data.0.to_vec()).collect(),
        Body::Empty => Vec::new(),
        other => panic!("{other:?}"),
    }
}

/// The outcomes, as they are written.
pub(super) const ACCEPTED: &[u8] = &[0x00, 0x53, 0x24, 0x45];
pub(super) const REJECTED: &[u8] = &[0x00, 0x53, 0x25, 0x45];
pub(super) const RELEASED: &[u8] = &[0x00, 0x53, 0x26, 0x45];

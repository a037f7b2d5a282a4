//! The door as a whole, seen by peers that share no code with it.

mod client;
mod devices;
mod event_hub;
mod golden;
mod malformed;

use bytes::{Buf, BytesMut};
use fe2o3_amqp_types::{
    definitions::Error,
    messaging::{Body, Message, message::__private::Deserializable},
    performatives::Performative,
};
use serde::Deserialize;
use serde_amqp::{Value, de::Deserializer, read::IoReader};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::{JoinError, JoinHandle},
};

use crate::{
    amqp,
    hub::{CertificateChain, Door, Hub, SharedAccessPolicy, Target, authentication::Key, policy::SERVICE_CONNECT},
    stop::Stopper,
};

/// A hub named `localhost` that knows two devices, and the key that the recorded connections are signed with.
fn hub() -> Hub {
    let policy = SharedAccessPolicy {
        name: "service".to_owned(),
        primary: Key::parse("AAECAwQFBgcICQoLDA0ODw==").unwrap(),
        secondary: Key::generated().unwrap(),
        rights: SERVICE_CONNECT,
    };
    let hub = Hub::new(vec!["localhost".to_owned()], vec![policy]);
    for id in ["lamp", "hall#2"] {
        hub.add_device(&id.parse().unwrap()).unwrap();
    }
    hub
}

fn device(id: &str) -> Target {
    Target::parse(id, None).unwrap()
}

const TOKEN: &str = "SharedAccessSignature sr=localhost&sig=mEjVInr9XGP9cls%2BZ%2BJhG1agaxPazojHdCI6x10sFXg%3D&se=4102444800&skn=service";

/// A peer that writes bytes and reads frames. It decodes them with the library that the clients are built on.
struct RawPeer {
    stream: DuplexStream,
    received: BytesMut,
    served: JoinHandle<()>,
    _stopper: Stopper,
}

/// A frame that the hub wrote.
#[derive(Debug)]
struct Reply {
    channel: u16,
    performative: Performative,
    payload: BytesMut,
    /// How many fields the performative was written with, nulls counted.
    fields: usize,
}

impl RawPeer {
    fn connect(hub: &Hub) -> Self {
        let (stream, theirs) = tokio::io::duplex(1 << 20);
        let stopper = Stopper::new();
        let served = tokio::spawn(amqp::serve(
            theirs,
            CertificateChain::default(),
            hub.clone(),
            Door::Amqp,
            stopper.listener(),
        ));
        Self {
            stream,
            received: BytesMut::new(),
            served,
            _stopper: stopper,
        }
    }

    async fn write(&mut self, bytes: &[u8]) {
        // The hub may have closed already; what it said before that is what a test looks at.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Says no more, and gives what the hub's side of the connection came to.
    async fn hang_up(mut self) -> Result<(), JoinError> {
        self.stream.shutdown().await.unwrap();
        self.read_to_end().await;
        self.served.await
    }

    /// Reads until the hub closes the stream.
    async fn read_to_end(&mut self) {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).await.unwrap();
        self.received.extend_from_slice(&bytes);
    }

    /// Takes a protocol header.
    fn header(&mut self) -> [u8; 8] {
        let mut header = [0; 8];
        self.received.copy_to_slice(&mut header);
        header
    }

    /// Takes a frame and gives channel and body.
    fn body(&mut self, kind: u8) -> (u16, BytesMut) {
        let mut frame = self
            .received
            .split_to(u32::from_be_bytes(self.received[..4].try_into().unwrap()) as usize);
        assert_eq!(frame[4..6], [2, kind], "doff and type of {frame:02x?}");
        frame.advance(6);
        (frame.get_u16(), frame)
    }

    /// Takes all frames that have come.
    fn replies(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        while !self.received.is_empty() {
            let (channel, mut payload) = self.body(0);
            let fields = field_count(&payload);
            let mut deserializer = Deserializer::new(IoReader::new((&mut payload).reader()));
            let performative = Performative::deserialize(&mut deserializer).unwrap();
            replies.push(Reply {
                channel,
                performative,
                payload,
                fields,
            });
        }
        replies
    }
}

impl Reply {
    fn message(&self) -> Message<Body<Value>> {
        let message: Deserializable<Message<Body<Value>>> = serde_amqp::from_slice(&self.payload).unwrap();
        message.0
    }

    /// What a detach, an end or a close says.
    fn error(&self) -> Option<&Error> {
        match &self.performative {
            Performative::Detach(detach) => detach.error.as_ref(),
            Performative::End(end) => end.error.as_ref(),
            Performative::Close(close) => close.error.as_ref(),
            _ => None,
        }
    }

    fn condition(&self) -> Option<String> {
        let error = self.error()?;
        let condition = serde_amqp::to_value(&error.condition).unwrap();
        match condition {
            Value::Symbol(symbol) => Some(symbol.into_inner()),
            other => panic!("a condition that is no symbol: {other:?}"),
        }
    }
}

/// The count in the header of the list that follows a small descriptor.
fn field_count(body: &[u8]) -> usize {
    match body {
        [0, 0x53, _, 0xc0, _, count, ..] => (*count).into(),
        [0, 0x53, _, 0xd0, _, _, _, _, a, b, c, d, ..] => u32::from_be_bytes([*a, *b, *c, *d]) as usize,
        other => panic!("no performative: {other:02x?}"),
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

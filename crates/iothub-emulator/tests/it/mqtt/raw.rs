use base64::{Engine as _, prelude::BASE64_STANDARD};
use iothub_emulator::{Emulator, Target};
use ring::hmac;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::client::{self, Identity};

/// A connection to the MQTT door, and the bytes that came over it.
pub(crate) struct Raw {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Raw {
    pub(crate) async fn open(emulator: &Emulator) -> Self {
        Self::open_as(emulator, None).await
    }

    pub(crate) async fn open_as(emulator: &Emulator, identity: Option<&Identity>) -> Self {
        Self {
            stream: client::tls_as(emulator, emulator.mqtts_port(), b"", identity).await,
            buffer: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The hub may have closed already, which the next packet shows.
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// The next packet, whole.
    pub(crate) async fn packet(&mut self) -> Vec<u8> {
        self.next().await.expect("the hub closed the connection")
    }

    /// The next packet, a PUBLISH: its first byte, its topic, and what follows.
    pub(crate) async fn publish(&mut self) -> (u8, String, Vec<u8>) {
        let packet = self.packet().await;
        assert_eq!(packet[0] >> 4, 3, "{packet:?}");
        let start = 1 + packet[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let length = usize::from(u16::from_be_bytes([packet[start], packet[start + 1]]));
        let (topic, rest) = packet[start + 2..].split_at(length);
        (packet[0], String::from_utf8(topic.to_vec()).unwrap(), rest.to_vec())
    }

    /// Checks that the hub closes the connection without another word.
    pub(crate) async fn is_closed(&mut self) {
        assert_eq!(self.end().await, None);
    }

    /// Waits until the hub closes the connection, and gives the last thing that it said.
    pub(crate) async fn end(&mut self) -> Option<Vec<u8>> {
        let mut last = None;
        while let Some(packet) = self.next().await {
            last = Some(packet);
        }
        last
    }

    /// Sends no more, and waits until the hub has had enough, too.
    pub(crate) async fn finish(mut self) {
        let _ = self.stream.shutdown().await;
        self.end().await;
    }

    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(length) = length(&self.buffer).filter(|length| self.buffer.len() >= *length) {
                return Some(self.buffer.drain(..length).collect());
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// How long the first packet is, if that can be seen.
fn length(buffer: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (at, byte) in buffer.iter().skip(1).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Some(at + 2 + length);
        }
    }
    None
}

pub(crate) fn packet(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let mut packet = vec![first];
    let mut left = body.len();
    loop {
        let more = if left > 127 { 0x80 } else { 0 };
        packet.push((left % 128) as u8 | more);
        left /= 128;
        if left == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

pub(crate) fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&length, text].concat()
}

/// A CONNECT with a keep-alive of a minute; `flags` says which of the texts behind the client id are there.
pub(crate) fn connect_with(flags: u8, keep_alive: u16, texts: &[&str]) -> Vec<u8> {
    let texts: Vec<Vec<u8>> = texts.iter().map(text).collect();
    let keep_alive = keep_alive.to_be_bytes();
    packet(0x10, &[&text("MQTT"), &[4, flags], &keep_alive, &texts.concat()])
}

/// A CONNECT of a device, or as `device/module` of a module, with the token that its key signs.
pub(crate) fn connect(emulator: &Emulator, id: &str, clean: bool) -> Vec<u8> {
    let token = token(emulator, id, 4_102_444_800);
    connect_with(
        0xC0 | if clean { 2 } else { 0 },
        60,
        &[id, &user_name(emulator, id), &token],
    )
}

pub(crate) fn user_name(emulator: &Emulator, id: &str) -> String {
    format!(
        "{}/{id}/?api-version=2021-04-12&DeviceClientType=test",
        emulator.host().name()
    )
}

pub(crate) fn token(emulator: &Emulator, id: &str, expiry: u64) -> String {
    let (target, path) = match id.split_once('/') {
        None => (Target::Device(id.parse().unwrap()), id.to_owned()),
        Some((device, module)) => {
            let id = iothub_core::ModuleId::new(device.parse().unwrap(), module).unwrap();
            (Target::Module(id), format!("{device}%2Fmodules%2F{module}"))
        }
    };
    let text = emulator.device_connection_string(&target).unwrap();
    let key = text.split_once("SharedAccessKey=").unwrap().1;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(key).unwrap());
    let resource = format!("{}%2Fdevices%2F{path}", emulator.host().name());
    let signature = BASE64_STANDARD.encode(hmac::sign(&key, format!("{resource}\n{expiry}").as_bytes()));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}")
}

pub(crate) fn subscribe(id: u16, filter: &str, qos: u8) -> Vec<u8> {
    packet(0x82, &[&id.to_be_bytes(), &text(filter), &[qos]])
}

pub(crate) fn unsubscribe(id: u16, filter: &str) -> Vec<u8> {
    packet(0xA2, &[&id.to_be_bytes(), &text(filter)])
}

/// A PUBLISH at most once.
pub(crate) fn publish(topic: &str, payload: &str) -> Vec<u8> {
    packet(0x30, &[&text(topic), payload.as_bytes()])
}

/// A PUBLISH at least once.
pub(crate) fn publish_acknowledged(id: u16, topic: &str, payload: &str) -> Vec<u8> {
    packet(0x32, &[&text(topic), &id.to_be_bytes(), payload.as_bytes()])
}

pub(crate) fn puback(id: u16) -> Vec<u8> {
    packet(0x40, &[&id.to_be_bytes()])
}

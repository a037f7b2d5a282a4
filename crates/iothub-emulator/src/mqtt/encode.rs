use bytes::{BufMut, BytesMut};

use super::{
    decode::{FAILURE, LEVEL},
    packet::{Connect, Delivery, Packet, Publish, Qos, kind},
};

impl Packet {
    /// Appends the packet. Texts end at 65 535 bytes, because no length says more; who makes longer ones has to see to it.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Connect(connect) => connect.write(out),
            Self::ConnAck(ack) => {
                let code = super::packet::ConnectCode::ALL
                    .iter()
                    .position(|code| *code == ack.code);
                header(kind::CONNACK, 0, 2, out);
                out.put_u8(ack.session_present.into());
                out.put_u8(code.and_then(|code| u8::try_from(code).ok()).unwrap_or_default());
            }
            Self::Publish(publish) => publish.write(out),
            Self::PubAck(id) => acknowledgement(kind::PUBACK, *id, out),
            Self::Subscribe(subscribe) => {
                let filters = &subscribe.filters;
                let length: usize = filters.iter().map(|(filter, _)| size(filter.as_bytes()) + 1).sum();
                header(kind::SUBSCRIBE, 0b0010, 2 + length, out);
                out.put_u16(subscribe.id);
                for (filter, qos) in filters {
                    put(filter.as_bytes(), out);
                    out.put_u8(bits(*qos));
                }
            }
            Self::SubAck(ack) => {
                header(kind::SUBACK, 0, 2 + ack.granted.len(), out);
                out.put_u16(ack.id);
                for granted in &ack.granted {
                    out.put_u8(granted.map_or(FAILURE, bits));
                }
            }
            Self::Unsubscribe(unsubscribe) => {
                let filters = &unsubscribe.filters;
                let length: usize = filters.iter().map(|filter| size(filter.as_bytes())).sum();
                header(kind::UNSUBSCRIBE, 0b0010, 2 + length, out);
                out.put_u16(unsubscribe.id);
                for filter in filters {
                    put(filter.as_bytes(), out);
                }
            }
            Self::UnsubAck(id) => acknowledgement(kind::UNSUBACK, *id, out),
            Self::PingReq => header(kind::PINGREQ, 0, 0, out),
            Self::PingResp => header(kind::PINGRESP, 0, 0, out),
            Self::Disconnect => header(kind::DISCONNECT, 0, 0, out),
        }
    }
}

impl Connect {
    fn write(&self, out: &mut BytesMut) {
        let will = self.will.as_ref();
        let flags = flag(self.clean_session, 0x02)
            | will.map_or(0, |will| 0x04 | bits(will.qos) << 3 | flag(will.retain, 0x20))
            | flag(self.password.is_some(), 0x40)
            | flag(self.user_name.is_some(), 0x80);
        let texts = [
            Some(self.client_id.as_bytes()),
            will.map(|will| will.topic.as_bytes()),
            will.map(|will| &will.message[..]),
            self.user_name.as_deref().map(str::as_bytes),
            self.password.as_deref(),
        ];
        let length: usize = texts.into_iter().flatten().map(size).sum();
        header(kind::CONNECT, 0, 10 + length, out);
        put(b"MQTT", out);
        out.put_u8(LEVEL);
        out.put_u8(flags);
        out.put_u16(self.keep_alive);
        for text in texts.into_iter().flatten() {
            put(text, out);
        }
    }
}

impl Publish {
    fn write(&self, out: &mut BytesMut) {
        let (qos, again, id) = match self.delivery {
            Delivery::AtMostOnce => (Qos::AtMostOnce, false, None),
            Delivery::AtLeastOnce { id, again } => (Qos::AtLeastOnce, again, Some(id)),
            Delivery::ExactlyOnce => (Qos::ExactlyOnce, false, Some(1)),
        };
        let flags = flag(again, 0b1000) | bits(qos) << 1 | flag(self.retain, 0b0001);
        let topic = self.topic.as_bytes();
        let length = size(topic) + id.map_or(0, |_| 2) + self.payload.len();
        header(kind::PUBLISH, flags, length, out);
        put(topic, out);
        if let Some(id) = id {
            out.put_u16(id);
        }
        out.put_slice(&self.payload);
    }
}

fn acknowledgement(kind: u8, id: u16, out: &mut BytesMut) {
    header(kind, 0, 2, out);
    out.put_u16(id);
}

fn header(kind: u8, flags: u8, mut length: usize, out: &mut BytesMut) {
    out.reserve(length + 5);
    out.put_u8(kind << 4 | flags);
    loop {
        let digit = (length % 128) as u8;
        length /= 128;
        out.put_u8(digit | flag(length > 0, 0x80));
        if length == 0 {
            break;
        }
    }
}

fn put(text: &[u8], out: &mut BytesMut) {
    let text = text.get(..usize::from(u16::MAX)).unwrap_or(text);
    out.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.put_slice(text);
}

/// How much [`put`] appends.
fn size(text: &[u8]) -> usize {
    2 + text.len().min(usize::from(u16::MAX))
}

fn flag(is_set: bool, flag: u8) -> u8 {
    if is_set { flag } else { 0 }
}

fn bits(qos: Qos) -> u8 {
    match qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 1,
        Qos::ExactlyOnce => 2,
    }
}

use std::fmt;

use bytes::{Buf, Bytes};

use super::packet::{
    ConnAck, Connect, ConnectCode, Delivery, Packet, Publish, Qos, SubAck, Subscribe, Unsubscribe, Will, kind,
};

/// Why bytes are not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// They break a rule of the protocol.
    Malformed(&'static str),
    /// They are a CONNECT of another protocol, or of another version of this.
    Protocol,
}

impl Packet {
    /// Whether a packet can begin with this byte.
    pub(super) fn check_first(first: u8) -> Result<(), DecodeError> {
        let (kind, flags) = (first >> 4, first & 0x0F);
        let expected = match kind {
            kind::PUBLISH => flags,
            kind::SUBSCRIBE | kind::UNSUBSCRIBE => 0b0010,
            _ => 0,
        };
        if flags == expected {
            return Ok(());
        }
        Err(malformed(
            "the flags in the first byte are not those of the packet type",
        ))
    }

    /// Reads a packet from its first byte and what stands behind the remaining length.
    pub(super) fn read(first: u8, body: Bytes) -> Result<Self, DecodeError> {
        Self::check_first(first)?;
        let (kind, flags) = (first >> 4, first & 0x0F);
        let mut body = Body(body);
        let packet = match kind {
            kind::CONNECT => Self::Connect(Box::new(body.connect()?)),
            kind::CONNACK => Self::ConnAck(body.conn_ack()?),
            kind::PUBLISH => Self::Publish(body.publish(flags)?),
            kind::PUBACK => Self::PubAck(body.packet_id()?),
            kind::SUBSCRIBE => Self::Subscribe(body.subscribe()?),
            kind::SUBACK => Self::SubAck(body.sub_ack()?),
            kind::UNSUBSCRIBE => Self::Unsubscribe(body.unsubscribe()?),
            kind::UNSUBACK => Self::UnsubAck(body.packet_id()?),
            kind::PINGREQ => Self::PingReq,
            kind::PINGRESP => Self::PingResp,
            kind::DISCONNECT => Self::Disconnect,
            _ => return Err(malformed("there is no such packet type here")),
        };
        if body.0.is_empty() {
            return Ok(packet);
        }
        Err(malformed("the packet is longer than what it holds"))
    }
}

/// What is left of a packet.
struct Body(Bytes);

impl Body {
    fn connect(&mut self) -> Result<Connect, DecodeError> {
        let name = self.bytes()?;
        let level = self.byte()?;
        if *name != *b"MQTT" || level != LEVEL {
            return Err(DecodeError::Protocol);
        }
        let flags = self.byte()?;
        let has = |flag: u8| flags & flag != 0;
        if has(0x01) {
            return Err(malformed("the reserved flag of a CONNECT is set"));
        }
        if has(0x40) && !has(0x80) {
            return Err(malformed("there is a password without a user name"));
        }
        let keep_alive = self.short()?;
        let client_id = self.text()?;
        let will = if has(0x04) {
            Some(Will {
                topic: self.topic_name()?,
                message: self.bytes()?,
                qos: qos(flags >> 3 & 0b11)?,
                retain: has(0x20),
            })
        } else if flags & 0x38 != 0 {
            return Err(malformed("flags of a will are set, and there is none"));
        } else {
            None
        };
        Ok(Connect {
            client_id,
            clean_session: has(0x02),
            keep_alive,
            will,
            user_name: has(0x80).then(|| self.text()).transpose()?,
            password: has(0x40).then(|| self.bytes()).transpose()?,
        })
    }

    fn conn_ack(&mut self) -> Result<ConnAck, DecodeError> {
        let flags = self.byte()?;
        let code = self.byte()?;
        let code = ConnectCode::ALL.get(usize::from(code)).copied();
        if flags & !1 != 0 {
            return Err(malformed("reserved flags of a CONNACK are set"));
        }
        Ok(ConnAck {
            session_present: flags == 1,
            code: code.ok_or_else(|| malformed("there is no such code in a CONNACK"))?,
        })
    }

    fn publish(&mut self, flags: u8) -> Result<Publish, DecodeError> {
        let topic = self.topic_name()?;
        let again = flags & 0b1000 != 0;
        let delivery = match qos(flags >> 1 & 0b11)? {
            Qos::AtMostOnce if again => return Err(malformed("a message of quality 0 cannot be a duplicate")),
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce {
                id: self.packet_id()?,
                again,
            },
            Qos::ExactlyOnce => {
                self.packet_id()?;
                Delivery::ExactlyOnce
            }
        };
        Ok(Publish {
            topic,
            // Copied, so that a message that is kept does not keep what came with it.
            payload: Bytes::copy_from_slice(&std::mem::take(&mut self.0)),
            delivery,
            retain: flags & 0b0001 != 0,
        })
    }

    fn subscribe(&mut self) -> Result<Subscribe, DecodeError> {
        let id = self.packet_id()?;
        let mut filters = Vec::new();
        while !self.0.is_empty() {
            let filter = self.filter()?;
            filters.push((filter, qos(self.byte()?)?));
        }
        if filters.is_empty() {
            return Err(malformed("a SUBSCRIBE without a filter"));
        }
        Ok(Subscribe { id, filters })
    }

    fn sub_ack(&mut self) -> Result<SubAck, DecodeError> {
        let id = self.packet_id()?;
        let mut granted = Vec::new();
        while !self.0.is_empty() {
            granted.push(match self.byte()? {
                FAILURE => None,
                byte => Some(qos(byte)?),
            });
        }
        Ok(SubAck { id, granted })
    }

    fn unsubscribe(&mut self) -> Result<Unsubscribe, DecodeError> {
        let id = self.packet_id()?;
        let mut filters = Vec::new();
        while !self.0.is_empty() {
            filters.push(self.filter()?);
        }
        if filters.is_empty() {
            return Err(malformed("an UNSUBSCRIBE without a filter"));
        }
        Ok(Unsubscribe { id, filters })
    }

    fn topic_name(&mut self) -> Result<String, DecodeError> {
        let topic = self.text()?;
        if topic.is_empty() || topic.contains(['+', '#']) {
            return Err(malformed("a topic name is empty or has a wildcard"));
        }
        Ok(topic)
    }

    fn filter(&mut self) -> Result<String, DecodeError> {
        let filter = self.text()?;
        let levels = filter.split('/').count();
        let is_right = |(at, level): (usize, &str)| match level {
            "#" => at + 1 == levels,
            "+" => true,
            level => !level.contains(['+', '#']),
        };
        if filter.is_empty() || !filter.split('/').enumerate().all(is_right) {
            return Err(malformed("a topic filter is empty or has a wildcard where none can be"));
        }
        Ok(filter)
    }

    fn packet_id(&mut self) -> Result<u16, DecodeError> {
        match self.short()? {
            0 => Err(malformed("a packet id is not 0")),
            id => Ok(id),
        }
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        let bytes = self.bytes()?;
        match std::str::from_utf8(&bytes) {
            Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
            _ => Err(malformed("a text is not UTF-8, or has a zero in it")),
        }
    }

    fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = usize::from(self.short()?);
        if self.0.len() < length {
            return Err(ENDED);
        }
        Ok(self.0.split_to(length))
    }

    fn short(&mut self) -> Result<u16, DecodeError> {
        self.0.try_get_u16().map_err(|_| ENDED)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.0.try_get_u8().map_err(|_| ENDED)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(why) => why,
            Self::Protocol => "a CONNECT of another protocol than MQTT 3.1.1",
        })
    }
}

impl std::error::Error for DecodeError {}

fn qos(bits: u8) -> Result<Qos, DecodeError> {
    match bits {
        0 => Ok(Qos::AtMostOnce),
        1 => Ok(Qos::AtLeastOnce),
        2 => Ok(Qos::ExactlyOnce),
        _ => Err(malformed("there is no such quality of service")),
    }
}

fn malformed(why: &'static str) -> DecodeError {
    DecodeError::Malformed(why)
}

/// The version of the protocol that goes by the number 3.1.1.
pub(super) const LEVEL: u8 = 4;

/// What stands in a SUBACK for a filter that is not granted.
pub(super) const FAILURE: u8 = 0x80;

const ENDED: DecodeError = DecodeError::Malformed("the packet is shorter than what it holds");

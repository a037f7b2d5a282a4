use std::fmt;

use bytes::Bytes;

/// A control packet of MQTT 3.1.1, as far as hubs use them: what belongs to the delivery exactly once has no place here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Packet {
    Connect(Box<Connect>),
    ConnAck(ConnAck),
    Publish(Publish),
    /// The id of the packet that is acknowledged.
    PubAck(u16),
    Subscribe(Subscribe),
    SubAck(SubAck),
    Unsubscribe(Unsubscribe),
    /// The id of the packet that is acknowledged.
    UnsubAck(u16),
    PingReq,
    PingResp,
    Disconnect,
}

/// How often a message arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    clippy::enum_variant_names,
    reason = "these are the names that the protocol has for them"
)]
pub(crate) enum Qos {
    AtMostOnce,
    AtLeastOnce,
    /// Hubs do not have it, but clients can ask for it.
    ExactlyOnce,
}

#[derive(Clone, PartialEq)]
pub(crate) struct Connect {
    pub(crate) client_id: String,
    pub(crate) clean_session: bool,
    /// In seconds. 0 is for ever.
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<Will>,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Bytes>,
}

/// What the server publishes in the client's name if the connection breaks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) message: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConnAck {
    pub(crate) session_present: bool,
    pub(crate) code: ConnectCode,
}

/// How a server answers a CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectCode {
    Accepted,
    UnacceptableProtocol,
    IdentifierRejected,
    ServerUnavailable,
    BadUserNameOrPassword,
    NotAuthorized,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) delivery: Delivery,
    pub(crate) retain: bool,
}

/// The quality of service of one message, with what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::enum_variant_names,
    reason = "these are the names that the protocol has for them"
)]
pub(crate) enum Delivery {
    AtMostOnce,
    AtLeastOnce {
        id: u16,
        /// It may have been sent before.
        again: bool,
    },
    ExactlyOnce,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Subscribe {
    pub(crate) id: u16,
    pub(crate) filters: Vec<(String, Qos)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SubAck {
    pub(crate) id: u16,
    /// For each filter what is granted; `None` is a failure.
    pub(crate) granted: Vec<Option<Qos>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unsubscribe {
    pub(crate) id: u16,
    pub(crate) filters: Vec<String>,
}

/// A password is a token of the device.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

impl ConnectCode {
    pub(super) const ALL: [Self; 6] = [
        Self::Accepted,
        Self::UnacceptableProtocol,
        Self::IdentifierRejected,
        Self::ServerUnavailable,
        Self::BadUserNameOrPassword,
        Self::NotAuthorized,
    ];
}

/// The types of packets, as they stand in the upper half of the first byte.
pub(super) mod kind {
    pub(crate) const CONNECT: u8 = 1;
    pub(crate) const CONNACK: u8 = 2;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const SUBSCRIBE: u8 = 8;
    pub(crate) const SUBACK: u8 = 9;
    pub(crate) const UNSUBSCRIBE: u8 = 10;
    pub(crate) const UNSUBACK: u8 = 11;
    pub(crate) const PINGREQ: u8 = 12;
    pub(crate) const PINGRESP: u8 = 13;
    pub(crate) const DISCONNECT: u8 = 14;
}

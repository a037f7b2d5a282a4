use bytes::{Bytes, BytesMut};

use super::{
    composite::{Fields, Required},
    decode::{DecodeError, Decoder},
    encode::encode,
    error::AmqpError,
    outcome::DeliveryState,
    value::Value,
};

/// What a frame of an open connection says.
#[derive(PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Performative {
    Open(Open),
    Begin(Begin),
    Attach(Box<Attach>),
    Flow(Flow),
    Transfer(Transfer),
    Disposition(Disposition),
    Detach(Detach),
    End(End),
    Close(Close),
}

#[derive(PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Open {
    pub(crate) container_id: String,
    pub(crate) hostname: Option<String>,
    pub(crate) max_frame_size: u32,
    pub(crate) channel_max: u16,
    /// Milliseconds.
    pub(crate) idle_time_out: Option<u32>,
}

#[derive(PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Begin {
    pub(crate) remote_channel: Option<u16>,
    pub(crate) next_outgoing_id: u32,
    pub(crate) incoming_window: u32,
    pub(crate) outgoing_window: u32,
    pub(crate) handle_max: u32,
}

#[derive(PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Attach {
    pub(crate) name: String,
    pub(crate) handle: u32,
    pub(crate) role: Role,
    pub(crate) snd_settle_mode: SenderSettleMode,
    pub(crate) rcv_settle_mode: ReceiverSettleMode,
    /// As it came, to be echoed; see [`address`].
    pub(crate) source: Value,
    pub(crate) target: Value,
    pub(crate) initial_delivery_count: Option<u32>,
    pub(crate) max_message_size: Option<u64>,
    /// What the peer desires; the hub desires nothing.
    pub(crate) desired_capabilities: Vec<String>,
    pub(crate) properties: Vec<(String, Value)>,
}

#[derive(PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Flow {
    pub(crate) next_incoming_id: Option<u32>,
    pub(crate) incoming_window: u32,
    pub(crate) next_outgoing_id: u32,
    pub(crate) outgoing_window: u32,
    /// Null in a flow that is about the session alone.
    pub(crate) handle: Option<u32>,
    pub(crate) delivery_count: Option<u32>,
    pub(crate) link_credit: Option<u32>,
    pub(crate) available: Option<u32>,
    pub(crate) drain: bool,
    pub(crate) echo: bool,
}

#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Transfer {
    pub(crate) handle: u32,
    pub(crate) delivery_id: Option<u32>,
    pub(crate) delivery_tag: Option<Bytes>,
    pub(crate) message_format: Option<u32>,
    pub(crate) settled: Option<bool>,
    pub(crate) more: bool,
    pub(crate) rcv_settle_mode: Option<ReceiverSettleMode>,
    pub(crate) state: Option<DeliveryState>,
    pub(crate) resume: bool,
    pub(crate) aborted: bool,
    pub(crate) batchable: bool,
}

#[derive(PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Disposition {
    pub(crate) role: Role,
    pub(crate) first: u32,
    pub(crate) last: Option<u32>,
    pub(crate) settled: bool,
    pub(crate) state: Option<DeliveryState>,
}

#[derive(PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Detach {
    pub(crate) handle: u32,
    pub(crate) closed: bool,
    pub(crate) error: Option<AmqpError>,
}

#[derive(PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct End {
    pub(crate) error: Option<AmqpError>,
}

#[derive(PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Close {
    pub(crate) error: Option<AmqpError>,
}

/// Which end of a link the one who speaks is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Sender,
    Receiver,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SenderSettleMode {
    Unsettled,
    Settled,
    #[default]
    Mixed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReceiverSettleMode {
    #[default]
    First,
    Second,
}

impl Performative {
    /// Reads the performative that a frame's body begins with. What follows it is the payload of a transfer.
    pub(crate) fn read(body: Bytes) -> Result<(Self, Bytes), DecodeError> {
        let mut decoder = Decoder::new(body);
        let (code, mut fields) = Fields::of(decoder.value()?)?;
        let fields = &mut fields;
        let performative = match code {
            OPEN => Self::Open(Open::read(fields)?),
            BEGIN => Self::Begin(Begin::read(fields)?),
            ATTACH => Self::Attach(Box::new(Attach::read(fields)?)),
            FLOW => Self::Flow(Flow::read(fields)?),
            TRANSFER => Self::Transfer(Transfer::read(fields)?),
            DISPOSITION => Self::Disposition(Disposition::read(fields)?),
            DETACH => Self::Detach(Detach::read(fields)?),
            END => Self::End(End { error: fields.error() }),
            CLOSE => Self::Close(Close { error: fields.error() }),
            _ => return Err(DecodeError("a frame holds no performative")),
        };
        let payload = decoder.rest();
        if !payload.is_empty() && !matches!(performative, Self::Transfer(_)) {
            return Err(DecodeError("a frame is longer than its performative"));
        }
        Ok((performative, payload))
    }

    /// Writes it with every field, also those that are null: there are clients that count on all of them.
    pub(crate) fn write(self, out: &mut BytesMut) {
        let value = match self {
            Self::Open(open) => Value::composite(OPEN, open.into_fields()),
            Self::Begin(begin) => Value::composite(BEGIN, begin.into_fields()),
            Self::Attach(attach) => Value::composite(ATTACH, attach.into_fields()),
            Self::Flow(flow) => Value::composite(FLOW, flow.into_fields()),
            Self::Transfer(transfer) => Value::composite(TRANSFER, transfer.into_fields()),
            Self::Disposition(disposition) => Value::composite(DISPOSITION, disposition.into_fields()),
            Self::Detach(detach) => Value::composite(DETACH, detach.into_fields()),
            Self::End(end) => Value::composite(END, vec![end.error.into()]),
            Self::Close(close) => Value::composite(CLOSE, vec![close.error.into()]),
        };
        encode(&value, out);
    }
}

impl Open {
    fn read(fields: &mut Fields) -> Result<Self, DecodeError> {
        Ok(Self {
            container_id: fields.text().required()?,
            hostname: fields.text()?,
            max_frame_size: fields.uint()?.unwrap_or(u32::MAX),
            channel_max: fields.ushort()?.unwrap_or(u16::MAX),
            idle_time_out: fields.uint()?,
        })
    }

    fn into_fields(self) -> Vec<Value> {
        let mut fields = vec![
            Value::String(self.container_id),
            self.hostname.map_or(Value::Null, Value::String),
            Value::Uint(self.max_frame_size),
            Value::Ushort(self.channel_max),
            self.idle_time_out.into(),
        ];
        fields.resize(10, Value::Null);
        fields
    }
}

impl Begin {
    fn read(fields: &mut Fields) -> Result<Self, DecodeError> {
        Ok(Self {
            remote_channel: fields.ushort()?,
            next_outgoing_id: fields.uint().required()?,
            incoming_window: fields.uint().required()?,
            outgoing_window: fields.uint().required()?,
            handle_max: fields.uint()?.unwrap_or(u32::MAX),
        })
    }

    fn into_fields(self) -> Vec<Value> {
        vec![
            self.remote_channel.map_or(Value::Null, Value::Ushort),
            Value::Uint(self.next_outgoing_id),
            Value::Uint(self.incoming_window),
            Value::Uint(self.outgoing_window),
            Value::Uint(self.handle_max),
            Value::Null,
            Value::Null,
            Value::Null,
        ]
    }
}

impl Attach {
    fn read(fields: &mut Fields) -> Result<Self, DecodeError> {
        let attach = Self {
            name: fields.text().required()?,
            handle: fields.uint().required()?,
            role: fields.boolean().required()?.into(),
            snd_settle_mode: match fields.ubyte()? {
                Some(0) => SenderSettleMode::Unsettled,
                Some(1) => SenderSettleMode::Settled,
                None | Some(2) => SenderSettleMode::Mixed,
                Some(_) => return Err(DecodeError("a snd-settle-mode is not 0, 1 or 2")),
            },
            rcv_settle_mode: settle_mode(fields.ubyte()?)?.unwrap_or_default(),
            source: fields.next(),
            target: fields.next(),
            initial_delivery_count: {
                fields.skip(2);
                fields.uint()?
            },
            max_message_size: fields.ulong()?,
            desired_capabilities: {
                fields.skip(1);
                fields.texts()?
            },
            properties: fields.map()?,
        };
        Ok(attach)
    }

    fn into_fields(self) -> Vec<Value> {
        vec![
            Value::String(self.name),
            Value::Uint(self.handle),
            self.role.into(),
            Value::Ubyte(self.snd_settle_mode as u8),
            Value::Ubyte(self.rcv_settle_mode as u8),
            self.source,
            self.target,
            Value::Null,
            Value::Boolean(false),
            self.initial_delivery_count.into(),
            self.max_message_size.map_or(Value::Null, Value::Ulong),
            Value::Null,
            Value::Null,
            if self.properties.is_empty() {
                Value::Null
            } else {
                Value::fields(self.properties)
            },
        ]
    }
}

impl Flow {
    fn read(fields: &mut Fields) -> Result<Self, DecodeError> {
        Ok(Self {
            next_incoming_id: fields.uint()?,
            incoming_window: fields.uint().required()?,
            next_outgoing_id: fields.uint().required()?,
            outgoing_window: fields.uint().required()?,
            handle: fields.uint()?,
            delivery_count: fields.uint()?,
            link_credit: fields.uint()?,
            available: fields.uint()?,
            drain: fields.boolean()?.unwrap_or_default(),
            echo: fields.boolean()?.unwrap_or_default(),
        })
    }

    fn into_fields(self) -> Vec<Value> {
        vec![
            self.next_incoming_id.into(),
            Value::Uint(self.incoming_window),
            Value::Uint(self.next_outgoing_id),
            Value::Uint(self.outgoing_window),
            self.handle.into(),
            self.delivery_count.into(),
            self.link_credit.into(),
            self.available.into(),
            self.drain.into(),
            self.echo.into(),
            Value::Null,
        ]
    }
}

impl Transfer {
    fn read(fields: &mut Fields) -> Result<Self, DecodeError> {
        let transfer = Self {
            handle: fields.uint().required()?,
            delivery_id: fields.uint()?,
            delivery_tag: fields.binary()?,
            message_format: fields.uint()?,
            settled: fields.boolean()?,
            more: fields.boolean()?.unwrap_or_default(),
            rcv_settle_mode: settle_mode(fields.ubyte()?)?,
            state: DeliveryState::read(fields.next())?,
            resume: fields.boolean()?.unwrap_or_default(),
            aborted: fields.boolean()?.unwrap_or_default(),
            batchable: fields.boolean()?.unwrap_or_default(),
        };
        // The standard bounds a delivery tag to 32 octets.
        if transfer.delivery_tag.as_ref().is_some_and(|tag| tag.len() > 32) {
            return Err(DecodeError("a delivery tag is longer than 32 bytes"));
        }
        Ok(transfer)
    }

    fn into_fields(self) -> Vec<Value> {
        vec![
            Value::Uint(self.handle),
            self.delivery_id.into(),
            self.delivery_tag.map_or(Value::Null, Value::Binary),
            self.message_format.into(),
            self.settled.into(),
            self.more.into(),
            self.rcv_settle_mode
                .map_or(Value::Null, |mode| Value::Ubyte(mode as u8)),
            self.state.into(),
            self.resume.into(),
            self.aborted.into(),
            self.batchable.into(),
        ]
    }
}

impl Disposition {
    fn read(fields: &mut Fields) -> Result<Self, DecodeError> {
        Ok(Self {
            role: fields.boolean().required()?.into(),
            first: fields.uint().required()?,
            last: fields.uint()?,
            settled: fields.boolean()?.unwrap_or_default(),
            state: DeliveryState::read(fields.next())?,
        })
    }

    fn into_fields(self) -> Vec<Value> {
        vec![
            self.role.into(),
            Value::Uint(self.first),
            self.last.into(),
            self.settled.into(),
            self.state.into(),
            Value::Boolean(false),
        ]
    }
}

impl Detach {
    fn read(fields: &mut Fields) -> Result<Self, DecodeError> {
        Ok(Self {
            handle: fields.uint().required()?,
            closed: fields.boolean()?.unwrap_or_default(),
            error: fields.error(),
        })
    }

    fn into_fields(self) -> Vec<Value> {
        vec![Value::Uint(self.handle), self.closed.into(), self.error.into()]
    }
}

impl From<bool> for Role {
    fn from(receiver: bool) -> Self {
        if receiver { Self::Receiver } else { Self::Sender }
    }
}

impl From<Role> for Value {
    fn from(role: Role) -> Self {
        Self::Boolean(role == Role::Receiver)
    }
}

/// The address of a source or a target, if it has one: also of one of an unknown type, such as a coordinator.
pub(crate) fn address(terminus: &Value) -> Option<&str> {
    let Value::Described(described) = terminus else {
        return None;
    };
    match &described.1 {
        Value::List(fields) => fields.first()?.as_text(),
        _ => None,
    }
}

fn settle_mode(mode: Option<u8>) -> Result<Option<ReceiverSettleMode>, DecodeError> {
    match mode {
        None => Ok(None),
        Some(0) => Ok(Some(ReceiverSettleMode::First)),
        Some(1) => Ok(Some(ReceiverSettleMode::Second)),
        Some(_) => Err(DecodeError("a rcv-settle-mode is not 0 or 1")),
    }
}

const OPEN: u64 = 0x10;
const BEGIN: u64 = 0x11;
const ATTACH: u64 = 0x12;
const FLOW: u64 = 0x13;
const TRANSFER: u64 = 0x14;
const DISPOSITION: u64 = 0x15;
const DETACH: u64 = 0x16;
const END: u64 = 0x17;
const CLOSE: u64 = 0x18;

use std::{io, time::Duration};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use uuid::Uuid;

use super::{
    error::{AmqpError, condition},
    frame::{Frame, FrameKind, FrameReader, MAX_FRAME_SIZE, ReadError, write},
    peer::Peer,
    performative::{Close, Open, Performative},
    sasl::{self, SaslOutcome},
};
use crate::hub::{Fault, Victim};

/// What the peer's open says that matters later.
pub(super) struct Opened {
    pub(super) container_id: String,
    pub(super) max_frame_size: u32,
    /// Milliseconds; 0 and `None` are no time-out.
    pub(super) idle_time_out: Option<u32>,
    /// How long we listen to silence.
    pub(super) patience: Duration,
}

/// Goes from the first byte to an open connection. `None` if the peer went away or was shown out.
pub(super) async fn open<R, W>(reader: &mut FrameReader<R>, writer: &mut W, peer: &Peer) -> io::Result<Option<Opened>>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let fault = peer.hub.fault_for(Victim::Opening);
    let answer = || match &fault {
        Some(Fault::IdleTimeOut { milliseconds }) => answer(*milliseconds),
        _ => answer(Some(IDLE_TIME_OUT)),
    };
    let opened = match protocol(reader, writer, peer, fault.as_ref()).await {
        Ok(true) => first_frame(reader, patience(fault.as_ref())).await,
        Ok(false) => return Ok(None),
        Err(error) => Err(error),
    };
    let mut out = BytesMut::new();
    let opened = match opened {
        Ok(Some(opened)) => {
            write(0, Performative::Open(answer()), &mut out);
            Some(opened)
        }
        Ok(None) => None,
        Err(ReadError::Io(error)) => return Err(error),
        Err(ReadError::Peer(error)) => {
            // A close may only follow an open, also when there is nothing else to say.
            write(0, Performative::Open(answer()), &mut out);
            write(0, Performative::Close(Close { error: Some(error) }), &mut out);
            None
        }
    };
    writer.write_all(&out).await?;
    writer.flush().await?;
    Ok(opened)
}

/// Agrees on what is spoken. Some clients begin with AMQP itself, some with its security layer.
async fn protocol<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut W,
    peer: &Peer,
    fault: Option<&Fault>,
) -> Result<bool, ReadError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut header = reader.header().await?;
    if let Some(Fault::RefuseProtocol { sasl }) = fault {
        writer.write_all(if *sasl { &SASL } else { &OTHER }).await?;
        writer.flush().await?;
        return Ok(false);
    }
    if header == Some(SASL) {
        writer.write_all(&SASL).await?;
        writer.flush().await?;
        match sasl::negotiate(reader, writer, &peer.hub, fault).await {
            Ok(SaslOutcome::Unknown) => {}
            Ok(SaslOutcome::Known(grant)) => {
                if peer.add(grant).is_err() {
                    return Ok(false);
                }
            }
            Ok(SaslOutcome::Refused(failure)) => {
                tracing::debug!(reason = failure.message, "the peer was refused by SASL");
                return Ok(false);
            }
            Err(ReadError::Io(error)) => return Err(error.into()),
            // In the security layer there is no way to say what is wrong.
            Err(ReadError::Peer(error)) => {
                tracing::debug!(reason = error.description, "the peer does not speak SASL");
                return Ok(false);
            }
        }
        header = reader.header().await?;
    }
    if header.is_none() {
        return Ok(false);
    }
    // To a protocol that we do not speak the answer is the one that we do.
    writer.write_all(&AMQP).await?;
    writer.flush().await?;
    Ok(header == Some(AMQP))
}

async fn first_frame<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    patience: Duration,
) -> Result<Option<Opened>, ReadError> {
    let Some(Frame { kind, body, .. }) = reader.next().await? else {
        return Ok(None);
    };
    if kind == FrameKind::Amqp && !body.is_empty() {
        let (performative, _) = Performative::read(body).map_err(|error| ReadError::Peer(error.into()))?;
        if let Performative::Open(open) = performative {
            return opened(open, patience).map(Some).map_err(ReadError::Peer);
        }
    }
    let text = "a connection begins with an open";
    Err(ReadError::Peer(AmqpError::new(condition::ILLEGAL_STATE, text)))
}

/// What a client is told is kept to, unless it is so little that a busy machine would break it.
fn patience(fault: Option<&Fault>) -> Duration {
    let told = match fault {
        Some(Fault::IdleTimeOut { milliseconds }) => milliseconds.filter(|told| *told >= LEAST_TIME_OUT),
        _ => None,
    };
    Duration::from_millis(told.unwrap_or(IDLE_TIME_OUT).into())
}

fn opened(open: Open, patience: Duration) -> Result<Opened, AmqpError> {
    if open.max_frame_size < MIN_MAX_FRAME_SIZE {
        let text = format!(
            "a max-frame-size is at least {MIN_MAX_FRAME_SIZE}, not {}",
            open.max_frame_size
        );
        return Err(AmqpError::new(condition::INVALID_FIELD, text));
    }
    Ok(Opened {
        container_id: open.container_id,
        max_frame_size: open.max_frame_size,
        idle_time_out: open.idle_time_out,
        patience,
    })
}

/// What a hub says in its open, and nothing more: no capabilities, no properties.
fn answer(idle_time_out: Option<u32>) -> Open {
    Open {
        container_id: format!("DeviceGateway_{}", Uuid::new_v4().simple()),
        hostname: Some("127.0.0.1".to_owned()),
        max_frame_size: MAX_FRAME_SIZE,
        channel_max: CHANNEL_MAX,
        idle_time_out,
    }
}

const AMQP: [u8; 8] = *b"AMQP\x00\x01\x00\x00";
const SASL: [u8; 8] = *b"AMQP\x03\x01\x00\x00";

/// That of AMQP 0-9-1, which is another protocol.
const OTHER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// The highest channel that a hub takes.
pub(super) const CHANNEL_MAX: u16 = 8191;

/// How long a hub listens to silence, in milliseconds.
const IDLE_TIME_OUT: u32 = 240_000;

/// The least that a fault makes of that.
const LEAST_TIME_OUT: u32 = 100;

/// By the standard's part 2, section 2.8.19.
const MIN_MAX_FRAME_SIZE: u32 = 512;

use std::{pin::pin, sync::Arc};

use bytes::BytesMut;
use time::OffsetDateTime;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Duration, Instant, sleep_until, timeout},
};
use tracing::{debug, info};

use super::{
    admission::{Admitted, admit},
    answers::Answers,
    conversation::Conversation,
    decode::DecodeError,
    packet::{ConnAck, Connect, ConnectCode, Packet},
    reader::{PacketReader, ReadError},
};
use crate::{
    hub::{CertificateChain, Door, Event, Failure, Hub, SessionEnd},
    outgoing::write_some,
    stop::Stop,
};

/// Speaks MQTT with the device at the other end of `stream`, until one of both has enough.
///
/// The stream is what comes after TLS: a socket's or a WebSocket's bytes. `certificates` is what the device presented.
pub(crate) async fn serve<S>(stream: S, certificates: CertificateChain, hub: Hub, door: Door, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (read, mut writer) = tokio::io::split(stream);
    let mut reader = PacketReader::new(read);
    let Some(connect) = open(&mut reader, &mut writer, &hub).await else {
        return part(&mut reader, &mut writer).await;
    };
    match admit(&hub, &connect, &certificates, door) {
        Ok(Admitted { session, expires }) => {
            let patience = patience(connect.keep_alive);
            let will = connect.will.clone();
            let Ok(mut conversation) = Conversation::begin(hub.clone(), session, connect.clean_session) else {
                // Another connection of the same device was faster.
                return;
            };
            drop(connect);
            let end = Box::pin(converse(
                &mut conversation,
                &mut reader,
                &mut writer,
                patience,
                expires,
                stop,
            ))
            .await;
            info!(target = %conversation.target(), ?end, "an MQTT device is gone");
            if let Some(will) = will.filter(|_| end != End::Disconnect) {
                conversation.carry_out(will);
            }
        }
        Err(refusal) => {
            let why = &refusal.failure.message;
            info!(client_id = connect.client_id, code = ?refusal.code, why, "an MQTT device is refused");
            refusal.record(&hub);
            refuse(refusal.code, &mut writer).await;
        }
    }
    part(&mut reader, &mut writer).await;
}

/// Why a conversation is over.
#[derive(Debug, PartialEq)]
enum End {
    /// The device has said so.
    Disconnect,
    /// The connection broke.
    Broken,
    /// The device has broken a rule.
    Violation(Failure),
    /// Nothing was heard of it for too long.
    Silence,
    /// Its token or certificate has expired.
    Expired,
    /// The hub has ended its session.
    Session(SessionEnd),
    /// The hub stops.
    Stop,
}

/// Reads the first packet, which has to be a CONNECT.
async fn open<R, W>(reader: &mut PacketReader<R>, writer: &mut W, hub: &Hub) -> Option<Box<Connect>>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let why = match timeout(HANDSHAKE, reader.next()).await {
        Ok(Ok(Some(Packet::Connect(connect)))) => return Some(connect),
        Ok(Ok(Some(_))) => "a connection begins with a CONNECT".to_owned(),
        Ok(Err(ReadError::Decode(error))) => {
            if error == DecodeError::Protocol {
                refuse(ConnectCode::UnacceptableProtocol, writer).await;
            }
            error.to_string()
        }
        Ok(Ok(None) | Err(ReadError::Io)) => {
            debug!("the connection ended before it was open");
            return None;
        }
        Err(_) => "nobody said CONNECT in time".to_owned(),
    };
    debug!(why, "the connection ends before it was open");
    hub.journal().record(Event::refused(&Failure::argument(why)));
    None
}

async fn refuse<W: AsyncWrite + Unpin>(code: ConnectCode, writer: &mut W) {
    let mut out = BytesMut::new();
    Packet::ConnAck(ConnAck {
        session_present: false,
        code,
    })
    .write(&mut out);
    // Whether it arrives makes no difference: the connection ends.
    let _ = timeout(FAREWELL, writer.write_all(&out)).await;
}

/// Speaks until there is nothing more to say.
async fn converse<R, W>(
    conversation: &mut Conversation,
    reader: &mut PacketReader<R>,
    writer: &mut W,
    patience: Duration,
    expires: OffsetDateTime,
    stop: Stop,
) -> End
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let clock = conversation.hub().clock().clone();
    let session = Arc::clone(conversation.session());
    let (mut expired, mut ended) = (pin!(clock.until(expires)), pin!(session.ended()));
    let (mut out, mut answers) = (BytesMut::new(), Answers::default());
    if let Err(failure) = conversation.hub().persisted().await {
        return End::Violation(failure);
    }
    conversation.answer_connect(&mut out);
    let mut heard = Instant::now();
    let mut unflushed = false;
    let end = loop {
        if out.is_empty() && !unflushed {
            // Most devices are silent most of the time, and there may be many of them.
            out = BytesMut::new();
        }
        answers.release(conversation.hub(), &mut out);
        let has_room = out.len() + answers.len() < FULL;
        tokio::select! {
            written = write_some(writer, &mut out), if unflushed || !out.is_empty() => match written {
                Ok(written) => unflushed = written > 0,
                Err(_) => break End::Broken,
            },
            packet = reader.next(), if has_room => {
                heard = Instant::now();
                match packet {
                    Ok(Some(Packet::Disconnect)) => break End::Disconnect,
                    Ok(Some(packet)) => if let Err(failure) = conversation.take(packet, answers.buffer()) {
                        break End::Violation(failure);
                    },
                    Ok(None) | Err(ReadError::Io) => break End::Broken,
                    Err(ReadError::Decode(error)) => break End::Violation(Failure::argument(error.to_string())),
                }
            },
            stored = answers.stored() => match stored {
                Ok(answers) => out.unsplit(answers),
                Err(failure) => break End::Violation(failure),
            },
            outbound = conversation.next(), if has_room => conversation.give(outbound, &mut out),
            end = &mut ended => break End::Session(end),
            () = &mut expired => break End::Expired,
            () = stop.requested() => break End::Stop,
            () = sleep_until(heard + patience) => break End::Silence,
        }
    };
    if let End::Violation(failure) = &end {
        conversation.hub().journal().record(Event::refused(failure));
    }
    let _ = timeout(FAREWELL, writer.write_all(&out)).await;
    end
}

/// Ends a connection so that the device does not lose our last words: closing a socket with unread bytes would reset it.
async fn part<R, W>(reader: &mut PacketReader<R>, writer: &mut W)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let _ = timeout(FAREWELL, async {
        writer.shutdown().await?;
        reader.discard().await
    })
    .await;
}

/// How long a device may be silent that has promised to be heard of every so many seconds: half as long again.
fn patience(keep_alive: u16) -> Duration {
    let seconds = match keep_alive {
        0 => MAX_KEEP_ALIVE,
        seconds => seconds.min(MAX_KEEP_ALIVE),
    };
    Duration::from_secs(seconds.into()) * 3 / 2
}

/// The longest that a hub agrees to, in seconds, because its load balancers forget a connection then.
const MAX_KEEP_ALIVE: u16 = 1767;

/// How long a device may take to say who it is.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// How long the end of a connection may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// How much may wait for the socket before the device is neither read nor given more.
const FULL: usize = 64 * 1024;

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{
    decode::DecodeError,
    error::{AmqpError, condition},
    performative::{Performative, Transfer},
};

/// Cuts what a peer sends into frames.
pub(crate) struct FrameReader<R> {
    io: R,
    buffer: BytesMut,
}

/// A frame as it came.
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    pub(crate) channel: u16,
    /// Empty in a frame that only says that the peer lives.
    pub(crate) body: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Amqp,
    Sasl,
}

/// Why there is no next frame.
pub(crate) enum ReadError {
    Io(io::Error),
    /// The peer broke the rules, and is told so before the connection ends.
    Peer(AmqpError),
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(io: R) -> Self {
        Self {
            io,
            buffer: BytesMut::with_capacity(16 * 1024),
        }
    }

    /// The eight bytes that say which protocol follows; `None` if the peer closed before them.
    pub(crate) async fn header(&mut self) -> io::Result<Option<[u8; 8]>> {
        loop {
            if let Some(header) = self.buffer.first_chunk().copied() {
                self.buffer.advance(8);
                return Ok(Some(header));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// The next frame; `None` at the end of the stream. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, ReadError> {
        loop {
            if let Some(frame) = take(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// The next frame, if it has come.
    pub(crate) fn ready(&mut self) -> Option<Result<Frame, ReadError>> {
        take(&mut self.buffer).transpose()
    }

    /// Reads to the end of the stream, and keeps nothing.
    pub(crate) async fn discard(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            if !self.fill().await? {
                return Ok(());
            }
        }
    }

    async fn fill(&mut self) -> io::Result<bool> {
        self.buffer.reserve(8 * 1024);
        Ok(self.io.read_buf(&mut self.buffer).await? > 0)
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<DecodeError> for AmqpError {
    fn from(error: DecodeError) -> Self {
        Self::new(condition::DECODE_ERROR, error.0)
    }
}

/// Writes a frame that holds a performative.
pub(crate) fn write(channel: u16, performative: Performative, out: &mut BytesMut) {
    let start = begin(FrameKind::Amqp, channel, out);
    performative.write(out);
    end(start, out);
}

/// Writes a frame of the security layer.
pub(crate) fn write_sasl(body: &[u8], out: &mut BytesMut) {
    let start = begin(FrameKind::Sasl, 0, out);
    out.put_slice(body);
    end(start, out);
}

/// Writes a frame that only says that we live.
pub(crate) fn write_empty(out: &mut BytesMut) {
    let start = begin(FrameKind::Amqp, 0, out);
    end(start, out);
}

/// Writes the next frame of a delivery: as much of `payload` as a frame of `max` bytes holds.
pub(crate) fn write_transfer(channel: u16, transfer: &Transfer, payload: &mut Bytes, max: usize, out: &mut BytesMut) {
    let start = begin(FrameKind::Amqp, channel, out);
    let last = Transfer {
        more: false,
        ..transfer.clone()
    };
    Performative::Transfer(last).write(out);
    if out.len() - start + payload.len() > max {
        out.truncate(start + HEADER);
        let not_last = Transfer {
            more: true,
            ..transfer.clone()
        };
        Performative::Transfer(not_last).write(out);
    }
    let room = max.saturating_sub(out.len() - start);
    out.put_slice(&payload.split_to(room.min(payload.len())));
    end(start, out);
}

fn take(buffer: &mut BytesMut) -> Result<Option<Frame>, ReadError> {
    let Some(&[a, b, c, d, doff, kind, high, low]) = buffer.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    let data = usize::from(doff) * 4;
    if size < HEADER {
        return Err(framing(format!("a frame of {size} bytes is smaller than its header")));
    }
    if size > MAX_FRAME_SIZE as usize {
        return Err(framing(format!(
            "a frame of {size} bytes is larger than {MAX_FRAME_SIZE}"
        )));
    }
    if data < HEADER || data > size {
        return Err(framing(format!("a frame's data cannot begin at byte {data} of {size}")));
    }
    let kind = match kind {
        0 => FrameKind::Amqp,
        1 => FrameKind::Sasl,
        _ => return Err(framing(format!("there is no frame type {kind}"))),
    };
    if buffer.len() < size {
        return Ok(None);
    }
    let mut body = buffer.split_to(size).freeze();
    body.advance(data);
    Ok(Some(Frame {
        kind,
        channel: u16::from_be_bytes([high, low]),
        body,
    }))
}

fn framing(text: String) -> ReadError {
    ReadError::Peer(AmqpError::new(condition::FRAMING_ERROR, text))
}

fn begin(kind: FrameKind, channel: u16, out: &mut BytesMut) -> usize {
    let start = out.len();
    out.put_u32(0);
    out.put_u8(2);
    out.put_u8(match kind {
        FrameKind::Amqp => 0,
        FrameKind::Sasl => 1,
    });
    out.put_u16(channel);
    start
}

fn end(start: usize, out: &mut BytesMut) {
    let size = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// The largest frame that a hub takes.
pub(crate) const MAX_FRAME_SIZE: u32 = 65_536;

const HEADER: usize = 8;

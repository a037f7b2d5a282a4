use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{decode::DecodeError, packet::Packet};

/// Takes packets out of a stream of bytes.
#[derive(Debug)]
pub(crate) struct PacketReader<R> {
    stream: R,
    buffer: BytesMut,
}

/// Why there is no next packet.
#[derive(Debug)]
pub(crate) enum ReadError {
    Io,
    Decode(DecodeError),
}

impl<R: AsyncRead + Unpin> PacketReader<R> {
    pub(crate) fn new(stream: R) -> Self {
        let buffer = BytesMut::new();
        Self { stream, buffer }
    }

    /// The next packet; `None` at the end of the stream. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Packet>, ReadError> {
        loop {
            let missing = match take(&mut self.buffer).map_err(ReadError::Decode)? {
                Taken::Packet(first, body) => return Packet::read(first, body).map(Some).map_err(ReadError::Decode),
                Taken::Missing(missing) => missing,
            };
            if self.buffer.is_empty() {
                // A device may be silent for long, and there may be many of them.
                self.buffer = BytesMut::new();
            }
            self.buffer.reserve(missing.clamp(LEAST_READ, MOST_READ));
            let count = self
                .stream
                .read_buf(&mut self.buffer)
                .await
                .map_err(|_| ReadError::Io)?;
            if count == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads to the end of the stream, and keeps nothing.
    pub(crate) async fn discard(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            self.buffer.reserve(LEAST_READ);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(());
            }
        }
    }
}

enum Taken {
    /// The first byte of a packet, and what stands behind the remaining length.
    Packet(u8, Bytes),
    /// So many bytes are not here yet, at least.
    Missing(usize),
}

fn take(buffer: &mut BytesMut) -> Result<Taken, DecodeError> {
    let Some((&first, rest)) = buffer.split_first() else {
        return Ok(Taken::Missing(2));
    };
    // Before the rest is waited for, which from somebody who speaks another protocol may never come.
    Packet::check_first(first)?;
    let mut length = 0_usize;
    for at in 0..4 {
        let Some(&digit) = rest.get(at) else {
            return Ok(Taken::Missing(1));
        };
        length |= usize::from(digit & 0x7F) << (7 * at);
        if digit & 0x80 != 0 {
            continue;
        }
        if length > MAX_PACKET {
            return Err(DecodeError::Malformed("the packet is larger than a hub takes"));
        }
        let header = at + 2;
        if buffer.len() < header + length {
            return Ok(Taken::Missing(header + length - buffer.len()));
        }
        buffer.advance(header);
        return Ok(Taken::Packet(first, buffer.split_to(length).freeze()));
    }
    Err(DecodeError::Malformed("the remaining length has more than four bytes"))
}

/// A message of the published limit, with the longest topic there can be and the id of a packet.
const MAX_PACKET: usize = 256 * 1024 + 2 + 65_535 + 2;

/// How many bytes are read at once.
const LEAST_READ: usize = 256;
const MOST_READ: usize = 16 * 1024;

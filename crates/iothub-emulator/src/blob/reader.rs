use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::StorageError;

/// The lines of a blob that is still arriving.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    length: u64,
    taken: u64,
    buffer: BytesMut,
    /// How much of the buffer holds no end of a line.
    searched: usize,
    ended: bool,
}

impl Lines {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            length: body.size_hint().exact().unwrap_or(0),
            body,
            taken: 0,
            buffer: BytesMut::new(),
            searched: 0,
            ended: false,
        }
    }

    /// The next line that is not empty, without its end and without a byte order mark. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        loop {
            while let Some(line) = self.buffered() {
                if !line.iter().all(u8::is_ascii_whitespace) {
                    return Ok(Some(line));
                }
            }
            if self.ended {
                return Ok(None);
            }
            if self.buffer.len() > LONGEST {
                return Err(StorageError::new(format!("a line has more than {LONGEST} bytes")));
            }
            self.receive().await?;
        }
    }

    /// How much has been taken, of 100.
    pub(crate) fn percent(&self) -> u8 {
        let percent = (self.taken * 100).checked_div(self.length).unwrap_or(100);
        u8::try_from(percent).unwrap_or(100).min(100)
    }

    fn buffered(&mut self) -> Option<Bytes> {
        let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let (line, with_end) = match end {
            Some(end) => {
                let end = self.searched + end;
                (self.buffer.split_to(end), 1)
            }
            None if self.ended && !self.buffer.is_empty() => (self.buffer.split(), 0),
            None => {
                self.searched = self.buffer.len();
                return None;
            }
        };
        self.buffer.advance(with_end);
        self.searched = 0;
        let first = self.taken == 0;
        self.taken += (line.len() + with_end) as u64;
        let mut line = line.freeze();
        if first && line.starts_with(BYTE_ORDER_MARK) {
            line.advance(BYTE_ORDER_MARK.len());
        }
        Some(line)
    }

    async fn receive(&mut self) -> Result<(), StorageError> {
        let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
        match frame.map_err(|_| StorageError::new("the blob stopped arriving".to_owned()))? {
            None => self.ended = true,
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.buffer.extend_from_slice(data);
                }
            }
            Some(Err(error)) => return Err(StorageError::new(format!("the blob ended early: {error}"))),
        }
        Ok(())
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Twice what a device with the largest twin needs when every character is escaped.
const LONGEST: usize = 2 * 1024 * 1024;

const PATIENCE: Duration = Duration::from_secs(100);

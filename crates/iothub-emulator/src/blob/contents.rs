use std::{
    collections::VecDeque,
    convert::Infallible,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The bytes of a blob, in the pieces in which they arrived. Clones share the bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contents {
    pieces: VecDeque<Bytes>,
    length: u64,
}

impl Contents {
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        self.length += piece.len() as u64;
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    pub(super) fn extend(&mut self, other: &Self) {
        for piece in &other.pieces {
            self.push(piece.clone());
        }
    }

    /// A part of the whole; what lies beyond the end is left out.
    #[must_use]
    pub(super) fn slice(&self, range: &Range<u64>) -> Self {
        let mut slice = Self::default();
        let mut at = 0;
        for piece in &self.pieces {
            let length = piece.len() as u64;
            let from = range.start.saturating_sub(at).min(length);
            let to = range.end.saturating_sub(at).min(length);
            if from < to {
                // Both are at most the length of the piece, which is a usize.
                slice.push(piece.slice(from as usize..to as usize));
            }
            at += length;
        }
        slice
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        match self.pieces.len() {
            1 => self.pieces[0].clone(),
            _ => self.pieces.iter().flatten().copied().collect(),
        }
    }
}

impl From<Bytes> for Contents {
    fn from(bytes: Bytes) -> Self {
        let mut contents = Self::default();
        contents.push(bytes);
        contents
    }
}

/// Goes out piece by piece.
impl Body for Contents {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.length -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_may_cross_pieces() {
        let mut contents = Contents::default();
        for piece in ["abc", "", "defg", "h"] {
            contents.push(Bytes::from_static(piece.as_bytes()));
        }
        for (range, expected) in [
            (0..8, "abcdefgh"),
            (2..5, "cde"),
            (3..7, "defg"),
            (7..100, "h"),
            (8..9, ""),
        ] {
            let slice = contents.slice(&range);
            assert_eq!(
                (slice.to_bytes().as_ref(), slice.len()),
                (expected.as_bytes(), expected.len() as u64)
            );
        }
    }
}

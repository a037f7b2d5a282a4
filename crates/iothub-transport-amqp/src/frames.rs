/// Follows the frames in a stream of bytes, however the bytes are cut, and keeps only those that are asked for.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The beginning of the present frame: up to `HEAD` bytes, or all so far of a frame to be kept.
    seen: Vec<u8>,
    /// How many bytes of the present frame are still to come, once its beginning is known.
    left: usize,
    keep: bool,
}

impl Frames {
    /// Passes over `bytes`. `wanted` says whether frames with this performative code are worth keeping; each that is goes
    /// to `found`, with its channel and body.
    pub(crate) fn follow(&mut self, mut bytes: &[u8], wanted: impl Fn(u8) -> bool, mut found: impl FnMut(u16, &[u8])) {
        while !bytes.is_empty() {
            if self.left == 0 {
                bytes = self.begin(bytes, &wanted);
            } else {
                let taken = self.left.min(bytes.len());
                let (now, rest) = bytes.split_at(taken);
                if self.keep {
                    self.seen.extend_from_slice(now);
                }
                self.left -= taken;
                bytes = rest;
            }
            if self.is_complete() {
                if self.keep
                    && let Some((channel, body)) = parts(&self.seen)
                {
                    found(channel, body);
                }
                self.seen.clear();
                self.keep = false;
            }
        }
    }

    /// Whether the bytes so far end with the end of a frame.
    pub(crate) fn at_boundary(&self) -> bool {
        self.seen.is_empty() && self.left == 0
    }

    fn begin<'a>(&mut self, bytes: &'a [u8], wanted: &impl Fn(u8) -> bool) -> &'a [u8] {
        // A frame without a body ends before the code would come.
        let enough = self.size().map_or(SIZE, |size| size.min(HEAD));
        let (now, rest) = bytes.split_at((enough - self.seen.len()).min(bytes.len()));
        self.seen.extend_from_slice(now);
        match self.size() {
            Some(size) if self.seen.len() == size.min(HEAD) => {
                self.left = size - self.seen.len();
                self.keep = code(&self.seen).is_some_and(wanted);
            }
            _ => {}
        }
        rest
    }

    fn is_complete(&self) -> bool {
        self.left == 0 && self.size().is_some_and(|size| self.seen.len() >= size.min(HEAD))
    }

    /// The size of the present frame. A protocol header stands where a frame would; its first bytes make a size that no
    /// frame has. A size below that of a frame's own header is an error that the engine reports.
    fn size(&self) -> Option<usize> {
        let size: [u8; SIZE] = self.seen.get(..SIZE)?.try_into().ok()?;
        match &size {
            b"AMQP" => Some(EMPTY_FRAME.len()),
            size => Some((u32::from_be_bytes(*size) as usize).max(EMPTY_FRAME.len())),
        }
    }
}

/// A frame that says nothing, but is heard.
pub(crate) const EMPTY_FRAME: [u8; 8] = [0, 0, 0, 8, 2, 0, 0, 0];

/// The frame that closes a connection without an error.
pub(crate) const CLOSE_FRAME: [u8; 12] = [0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x18, 0x45];

/// The performative of a frame of AMQP whose body stands where it always does and whose descriptor is in the short form
/// that every implementation writes.
fn code(head: &[u8]) -> Option<u8> {
    match head {
        [_, _, _, _, 2, 0, _, _, 0, 0x53, code] => Some(*code),
        _ => None,
    }
}

fn parts(frame: &[u8]) -> Option<(u16, &[u8])> {
    Some((u16::from_be_bytes([*frame.get(6)?, *frame.get(7)?]), frame.get(8..)?))
}

/// The length of the size field.
const SIZE: usize = 4;
/// As much of a frame as tells its performative: its header, and a descriptor.
const HEAD: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by hand from AMQP 1.0, part 2.3: header, empty frame, a frame with code 0x13 on channel 7, one with code
    /// 0x14 that looks like another inside, and one with 0x13 again.
    const STREAM: &[u8] = &[
        b'A', b'M', b'Q', b'P', 0, 1, 0, 0, //
        0, 0, 0, 8, 2, 0, 0, 0, //
        0, 0, 0, 13, 2, 0, 0, 7, 0, 0x53, 0x13, 0xc0, 0x01, //
        0, 0, 0, 24, 2, 0, 0, 1, 0, 0x53, 0x14, 0, 0, 0, 13, 2, 0, 0, 7, 0, 0x53, 0x13, 1, 1, //
        0, 0, 0, 11, 2, 0, 1, 0, 0, 0x53, 0x13,
    ];

    #[test]
    fn frames_are_found_however_the_stream_is_cut() {
        for cut in 1..=STREAM.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in STREAM.chunks(cut) {
                frames.follow(
                    piece,
                    |code| code == 0x13,
                    |channel, body| found.push((channel, body.to_vec())),
                );
            }
            assert!(frames.at_boundary(), "cut by {cut}");
            let expected = [(7, vec![0, 0x53, 0x13, 0xc0, 0x01]), (256, vec![0, 0x53, 0x13])];
            assert_eq!(found, expected, "cut by {cut}");
        }
    }

    #[test]
    fn a_boundary_is_where_a_frame_has_ended() {
        let mut frames = Frames::default();
        let mut boundaries = Vec::new();
        for (at, byte) in STREAM.iter().enumerate() {
            frames.follow(&[*byte], |_| false, |_, _| {});
            if frames.at_boundary() {
                boundaries.push(at + 1);
            }
        }
        assert_eq!(boundaries, [8, 16, 29, 53, 64]);
    }
}

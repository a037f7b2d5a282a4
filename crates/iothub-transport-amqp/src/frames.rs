/// Follows the frames in a stream of bytes, however the bytes are cut, to know where they end.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The size field of the present frame, as far as it has come.
    size: Vec<u8>,
    /// How many bytes of the present frame are still to come, once its size is known.
    left: usize,
}

impl Frames {
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match self.left {
                0 => self.begin(bytes),
                left => {
                    let taken = left.min(bytes.len());
                    self.left -= taken;
                    taken
                }
            };
            bytes = &bytes[taken..];
        }
    }

    /// Whether the bytes so far end with the end of a frame.
    pub(crate) fn at_boundary(&self) -> bool {
        self.size.is_empty() && self.left == 0
    }

    fn begin(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(SIZE - self.size.len());
        self.size.extend_from_slice(&bytes[..taken]);
        if let [a, b, c, d] = self.size[..] {
            // A protocol header stands where a frame would, and is as long as one that is empty.
            self.left = match &[a, b, c, d] {
                b"AMQP" => EMPTY_FRAME.len() - SIZE,
                size => (u32::from_be_bytes(*size) as usize).saturating_sub(SIZE),
            };
            self.size.clear();
        }
        taken
    }
}

/// A frame that says nothing, but is heard.
pub(crate) const EMPTY_FRAME: [u8; 8] = [0, 0, 0, 8, 2, 0, 0, 0];

/// The frame that closes a connection without an error.
pub(crate) const CLOSE_FRAME: [u8; 12] = [0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x18, 0x45];

/// The length of the size field.
const SIZE: usize = 4;

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
    fn a_boundary_is_where_a_frame_has_ended() {
        let mut frames = Frames::default();
        let mut boundaries = Vec::new();
        for (at, byte) in STREAM.iter().enumerate() {
            frames.follow(&[*byte]);
            if frames.at_boundary() {
                boundaries.push(at + 1);
            }
        }
        assert_eq!(boundaries, [8, 16, 29, 53, 64]);
        for cut in 1..=STREAM.len() {
            let mut frames = Frames::default();
            STREAM.chunks(cut).for_each(|piece| frames.follow(piece));
            assert!(frames.at_boundary(), "cut by {cut}");
        }
    }
}

//! Frames that no hub sends, byte by byte.

use crate::hub::fault::FrameGarble;

/// A frame with something wrong.
pub(super) fn frame(kind: FrameGarble) -> Vec<u8> {
    match kind {
        FrameGarble::Short => header(7, 2, 0, 0),
        FrameGarble::Long => header(u32::MAX / 2, 2, 0, 0),
        FrameGarble::Offset => header(8, 1, 0, 0),
        FrameGarble::Type => header(8, 2, 9, 0),
        // A disposition, which says that 127 bytes follow.
        FrameGarble::Truncated => framed(0, b"\x00\x53\x15\xc0\x7f\x05\x41"),
        FrameGarble::Count => framed(0, b"\x00\x53\x15\xd0\x00\x00\x00\x08\xff\xff\xff\xff\x41\x43\x43\x41"),
        FrameGarble::Deep => framed(0, &[0; DEEP]),
        // A close, with an error whose description is two bytes that are in no text.
        FrameGarble::NotUtf8 => framed(
            0,
            b"\x00\x53\x18\xc0\x10\x01\x00\x53\x1d\xc0\x0a\x02\xa3\x03a:b\xa1\x02\xff\xfe",
        ),
        // An end of a session that nobody has begun.
        FrameGarble::Channel => framed(77, b"\x00\x53\x17\x45"),
        // A transfer on handle 77, the first of delivery 1.
        FrameGarble::Handle => framed(
            0,
            b"\x00\x53\x14\xc0\x09\x04\x52\x4d\x52\x01\xa0\x01\x07\x43\x00\x53\x75\xa0\x01x",
        ),
    }
}

/// A frame with right numbers around a body.
fn framed(channel: u16, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(8 + body.len()).unwrap_or(u32::MAX);
    let mut frame = header(size, 2, 0, channel);
    frame.extend_from_slice(body);
    frame
}

fn header(size: u32, offset: u8, kind: u8, channel: u16) -> Vec<u8> {
    let [high, low] = channel.to_be_bytes();
    [&size.to_be_bytes()[..], &[offset, kind, high, low]].concat()
}

const DEEP: usize = 10_000;

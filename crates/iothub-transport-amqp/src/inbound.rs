use std::collections::HashMap;

use fe2o3_amqp_types::performatives::{Performative, Transfer};

use crate::walk::{Refusal, Walk};

/// Follows the peer's frames before the engine sees them, however the stream is cut.
///
/// What the engine decodes has to be [walked](Walk) over first. The performative of a frame is decoded when the frame is
/// whole, and a bad one is the end of the connection. A message is decoded when its last frame is there, which the
/// engine shows to nobody before: so in a message, what is not to be decoded is replaced, as it passes, by a byte with
/// which no value begins. The engine then finds a message that it cannot decode, and nothing else suffers.
#[derive(Debug)]
pub(crate) struct Inbound {
    head: Vec<u8>,
    /// How many bytes of the present frame are still to come, once its header is known.
    left: usize,
    part: Part,
    performative: Vec<u8>,
    max_message: usize,
    /// The messages that have begun, by channel and handle.
    begun: HashMap<(u16, u32), Message>,
    is_lost: bool,
}

/// What the next bytes of a frame are.
#[derive(Debug)]
enum Part {
    Performative(Walk),
    Payload {
        place: (u16, u32),
        message: Message,
        is_last: bool,
    },
    /// Something that nobody decodes.
    Rest,
}

/// How far a message has been walked over; `None` once it is spoilt.
type Message = Option<Walk>;

impl Inbound {
    /// Takes no length in a message that is above `max_message`, in bytes.
    pub(crate) fn new(max_message: u64) -> Self {
        Self {
            head: Vec::with_capacity(HEAD),
            left: 0,
            part: Part::Rest,
            performative: Vec::new(),
            max_message: usize::try_from(max_message).unwrap_or(usize::MAX),
            begun: HashMap::new(),
            is_lost: false,
        }
    }

    /// Passes over `bytes`. `wanted` says whether frames with this performative code are worth decoding; each that is
    /// goes to `found`, with its channel.
    ///
    /// # Errors
    ///
    /// Why the stream must not be read any further.
    pub(crate) fn follow(
        &mut self,
        mut bytes: &mut [u8],
        wanted: impl Fn(u8) -> bool,
        mut found: impl FnMut(u16, &Performative),
    ) -> Result<(), String> {
        if self.is_lost {
            return Err("the hub's frames were given up".to_owned());
        }
        while !bytes.is_empty() {
            let taken = match self.head.len() {
                HEAD => self.body(bytes, &wanted, &mut found),
                _ => self.header(bytes),
            };
            let taken = taken.inspect_err(|_| self.is_lost = true)?;
            bytes = &mut bytes[taken..];
            if self.head.len() == HEAD && self.left == 0 {
                self.end().inspect_err(|_| self.is_lost = true)?;
            }
        }
        Ok(())
    }

    fn header(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let taken = bytes.len().min(HEAD - self.head.len());
        self.head.extend_from_slice(&bytes[..taken]);
        if let [a, b, c, d, doff, kind, ..] = self.head[..]
            && self.head.len() == HEAD
        {
            // A protocol header stands where a frame would, and is as long as one that is empty.
            self.left = match &[a, b, c, d] {
                b"AMQP" => 0,
                size => {
                    let size = u32::from_be_bytes(*size) as usize;
                    // The engine panics at these.
                    let data = usize::from(doff) * 4;
                    if data < HEAD || data > size {
                        return Err(format!(
                            "the hub sent a frame of {size} bytes whose data begins at byte {data}"
                        ));
                    }
                    size - HEAD
                }
            };
            // The engine takes no other frame, and so decodes none.
            self.part = match (doff, kind) {
                (2, 0) => Part::Performative(Walk::new(self.left)),
                _ => Part::Rest,
            };
        }
        Ok(taken)
    }

    fn body(
        &mut self,
        bytes: &mut [u8],
        wanted: &impl Fn(u8) -> bool,
        found: &mut impl FnMut(u16, &Performative),
    ) -> Result<usize, String> {
        let here = bytes.len().min(self.left);
        let bytes = &mut bytes[..here];
        let mut taken = here;
        match &mut self.part {
            Part::Performative(walk) => {
                taken = walk.pass(bytes).map_err(|refusal| unreadable(&refusal))?;
                self.performative.extend_from_slice(&bytes[..taken]);
                if walk.at_boundary() {
                    self.part = self.performed(wanted, found)?;
                }
            }
            Part::Payload { message, .. } => inspect(message, bytes)?,
            Part::Rest => {}
        }
        self.left -= taken;
        Ok(taken)
    }

    /// A performative is whole. What follows it in its frame?
    fn performed(
        &mut self,
        wanted: &impl Fn(u8) -> bool,
        found: &mut impl FnMut(u16, &Performative),
    ) -> Result<Part, String> {
        // One whose descriptor is not in the short form that every implementation writes could be any.
        let is_wanted = match self.performative[..] {
            [0x00, 0x53, code, ..] => matches!(code, ATTACH | TRANSFER) || wanted(code),
            _ => true,
        };
        if !is_wanted {
            return Ok(Part::Rest);
        }
        let performative = serde_amqp::from_slice(&self.performative)
            .map_err(|error| format!("the hub sent a frame that cannot be decoded: {error}"))?;
        let channel = self.channel();
        found(channel, &performative);
        match performative {
            Performative::Attach(attach) => {
                // A link that had this handle before may have ended in the middle of a message.
                self.begun.remove(&(channel, attach.handle.0));
                Ok(Part::Rest)
            }
            Performative::Transfer(transfer) => self.transferred((channel, transfer.handle.0), &transfer),
            _ => Ok(Part::Rest),
        }
    }

    fn transferred(&mut self, place: (u16, u32), transfer: &Transfer) -> Result<Part, String> {
        if transfer.resume {
            return Err("the hub resumed a delivery of a link that was not resumed".to_owned());
        }
        let begun = self.begun.remove(&place);
        Ok(match transfer.aborted {
            true => Part::Rest,
            false => Part::Payload {
                place,
                message: begun.unwrap_or_else(|| Some(Walk::new(self.max_message))),
                is_last: !transfer.more,
            },
        })
    }

    fn end(&mut self) -> Result<(), String> {
        self.head.clear();
        self.performative.clear();
        if let Part::Payload {
            place,
            message,
            is_last: false,
        } = std::mem::replace(&mut self.part, Part::Rest)
        {
            if self.begun.len() == MAX_BEGUN {
                return Err(format!("the hub has begun more than {MAX_BEGUN} messages at once"));
            }
            self.begun.insert(place, message);
        }
        Ok(())
    }

    fn channel(&self) -> u16 {
        u16::from_be_bytes([self.head[6], self.head[7]])
    }
}

fn inspect(message: &mut Message, bytes: &mut [u8]) -> Result<(), String> {
    let mut at = 0;
    while let Some(walk) = message
        && at < bytes.len()
    {
        match walk.pass(&bytes[at..]) {
            Ok(passed) => at += passed,
            Err(Refusal::Unreadable(offset, why)) => {
                tracing::warn!("the hub sent a message in which {why}; it will not be decoded");
                bytes[at + offset] = NO_CONSTRUCTOR;
                *message = None;
            }
            Err(refusal) => return Err(unreadable(&refusal)),
        }
    }
    Ok(())
}

fn unreadable(refusal: &Refusal) -> String {
    let (Refusal::Unreadable(_, why) | Refusal::Malformed(why)) = refusal;
    format!("the hub sent a frame in which {why}")
}

/// The length of a frame's header; there is never an extended one.
const HEAD: usize = 8;
const ATTACH: u8 = 0x12;
const TRANSFER: u8 = 0x14;
/// No value begins with it, in AMQP 1.0 part 1.6.
const NO_CONSTRUCTOR: u8 = 0x01;
/// Far more than the links of a connection.
const MAX_BEGUN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames by hand, AMQP 1.0 parts 2.3 and 2.7.
    fn frame(performative: &[u8], payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(HEAD + performative.len() + payload.len()).unwrap();
        [&size.to_be_bytes()[..], &[2, 0, 0, 7], performative, payload].concat()
    }

    fn transfer(handle: u16, flags: [bool; 3], payload: &[u8]) -> Vec<u8> {
        let [more, resume, aborted] = flags.map(|flag| if flag { 0x41 } else { 0x42 });
        let [high, low] = handle.to_be_bytes();
        let fields = [
            0x70, 0, 0, high, low, 0x43, 0xa0, 1, 1, 0x43, 0x42, more, 0x40, 0x40, resume, aborted,
        ];
        frame(&[&[0x00, 0x53, 0x14, 0xc0, 17, 10][..], &fields].concat(), payload)
    }

    fn attach(handle: u8) -> Vec<u8> {
        frame(&[0x00, 0x53, 0x12, 0xc0, 7, 3, 0xa1, 1, b'x', 0x52, handle, 0x42], &[])
    }

    /// A section with lists in the short form around a null; `true` is what comes after it, if it is read.
    fn deep(levels: usize) -> Vec<u8> {
        let lists = (0..levels).fold(vec![0x40], |inner, _| {
            let size = u8::try_from(inner.len() + 1).unwrap_or(0xff);
            [&[0xc0, size, 1][..], &inner].concat()
        });
        [&[0x00, 0x53, 0x77][..], &lists, &[0x41]].concat()
    }

    /// Where the constructor of the first list stands that is too deep: one level is the section's own.
    const SPOILT: usize = 3 + 63 * 3;

    fn follow(stream: &mut [u8], cut: usize) -> Result<(), String> {
        let mut inbound = Inbound::new(1024);
        stream
            .chunks_mut(cut)
            .try_for_each(|piece| inbound.follow(piece, |_| false, |_, _| {}))
    }

    const WHOLE: [bool; 3] = [false; 3];
    const MORE: [bool; 3] = [true, false, false];
    const ABORTED: [bool; 3] = [false, false, true];

    /// Passes over the frames, of which the last holds the end of a message, and says which bytes have changed in it:
    /// how far they are from the stream's end.
    fn changed(frames: &[Vec<u8>]) -> Vec<usize> {
        let stream = frames.concat();
        let mut seen = Vec::new();
        for cut in 1..=stream.len() {
            let mut passed = stream.clone();
            follow(&mut passed, cut).unwrap();
            let changed: Vec<_> = (0..stream.len()).filter(|at| passed[*at] != stream[*at]).collect();
            assert!(changed.iter().all(|at| passed[*at] == NO_CONSTRUCTOR), "cut by {cut}");
            seen.push(changed.iter().map(|at| stream.len() - at).collect());
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "the same however the stream is cut");
        seen.remove(0)
    }

    #[test]
    fn a_message_is_spoilt_where_it_gets_too_deep_and_nowhere_else() {
        let (fine, bad) = (deep(63), deep(80));
        assert!(changed(&[transfer(1, WHOLE, &fine)]).is_empty());
        assert_eq!(changed(&[transfer(1, WHOLE, &bad)]), [bad.len() - SPOILT]);
    }

    #[test]
    fn a_message_is_followed_from_frame_to_frame_among_those_of_other_links() {
        let (fine, bad) = (deep(63), deep(80));
        let frames = [
            transfer(1, MORE, &bad[..50]),
            transfer(2, MORE, &fine[..100]),
            transfer(1, MORE, &[]),
            transfer(2, WHOLE, &fine[100..]),
            transfer(1, WHOLE, &bad[50..]),
        ];
        assert_eq!(changed(&frames), [bad.len() - SPOILT]);
    }

    #[test]
    fn what_was_begun_is_forgotten_with_an_abort_and_with_the_link() {
        let bad = deep(80);
        for end in [transfer(1, ABORTED, &bad), attach(1)] {
            let frames = [transfer(1, MORE, &bad[..20]), end, transfer(1, WHOLE, &bad)];
            assert_eq!(changed(&frames), [bad.len() - SPOILT]);
        }
    }

    #[test]
    fn a_stream_that_was_given_up_stays_so() {
        let mut inbound = Inbound::new(1024);
        let mut follow = |mut bytes: Vec<u8>| inbound.follow(&mut bytes, |_| false, |_, _| {});
        let error = follow(transfer(1, [false, true, false], &[])).unwrap_err();
        assert!(error.contains("resumed"), "{error}");
        follow(transfer(1, WHOLE, &[])).unwrap_err();
    }

    #[test]
    fn a_frame_that_cannot_be_cut_gives_the_stream_up() {
        for (size, doff) in [(0, 2), (7, 2), (8, 0), (8, 1), (8, 3), (1016, 255)] {
            let mut frame = vec![0, 0, 0, 0, doff, 0, 0, 0];
            frame[..4].copy_from_slice(&u32::to_be_bytes(size));
            for cut in [1, 8] {
                let error = follow(&mut frame.clone(), cut).unwrap_err();
                assert!(error.contains(&format!("a frame of {size} bytes")), "{error}");
            }
        }
        // An extended header is legal, if useless.
        follow(&mut [0, 0, 0, 12, 3, 0, 0, 0, 1, 2, 3, 4], 1).unwrap();
    }

    #[test]
    fn messages_that_never_end_are_not_begun_without_limit() {
        let mut inbound = Inbound::new(1024);
        let mut begin = |handle| inbound.follow(&mut transfer(handle, MORE, b"\x00"), |_| false, |_, _| {});
        (0..1024).for_each(|handle| begin(handle).unwrap());
        assert!(begin(1024).unwrap_err().contains("1024"));
    }
}

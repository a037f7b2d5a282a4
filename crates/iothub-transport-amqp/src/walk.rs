/// Walks over encoded values without decoding them, however the bytes are cut, and in constant space.
///
/// The engine decodes by recursion, so the depth of what it is given has to be limited before. Both have to read the
/// same bytes in the same way, or something deep could be hidden from one of them: like the engine, this goes by
/// counts, and takes the sizes of lists, maps and arrays for what they say about memory only.
#[derive(Debug)]
pub(crate) struct Walk {
    open: Vec<Open>,
    step: Step,
    /// How many bytes there can be at most.
    limit: u32,
}

/// Why a walk does not go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The byte at this place begins a value that is not to be decoded.
    Unreadable(usize, &'static str),
    /// These bytes are not AMQP.
    Malformed(&'static str),
}

/// A value with values inside.
#[derive(Debug)]
struct Open {
    /// How many values are still to come, the one that is being walked over included.
    left: u32,
    /// What each of them is, in an array.
    element: Option<u8>,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Constructor,
    Descriptor,
    /// The constructor of so many elements, which are to come in so many bytes with it.
    Element {
        count: u32,
        room: u32,
    },
    Number {
        of: Of,
        value: u32,
        /// How many bytes of it are to come.
        left: u8,
    },
    Skip(u64),
}

#[derive(Clone, Copy, Debug)]
enum Of {
    Length,
    Size(Compound),
    Count(Compound, u32),
}

/// A list, map or array by its constructor.
#[derive(Clone, Copy, Debug)]
struct Compound(u8);

/// How long a value without values inside is.
enum Length {
    Fixed(u8),
    /// As a number of so many bytes says.
    Told(u8),
}

impl Walk {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            open: Vec::new(),
            step: Step::Constructor,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        }
    }

    /// Whether the bytes so far end with the end of a value.
    pub(crate) fn at_boundary(&self) -> bool {
        self.open.is_empty() && matches!(self.step, Step::Constructor)
    }

    /// Passes over `bytes` up to the end of a value that stands in no other, and says how many those were.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut passed = 0;
        while passed < bytes.len() {
            if let Step::Skip(left) = &mut self.step {
                let now = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - passed);
                *left -= now as u64;
                passed += now;
            } else {
                self.take(bytes[passed], passed)?;
                passed += 1;
            }
            if let Step::Skip(0) = self.step {
                self.finish();
                if self.at_boundary() {
                    break;
                }
            }
        }
        Ok(passed)
    }

    fn take(&mut self, byte: u8, at: usize) -> Result<(), Refusal> {
        self.step = match self.step {
            Step::Constructor => self.value(byte, at)?,
            Step::Descriptor => match byte {
                0x44 | 0x53 | 0x80 | 0xa3 | 0xb3 => self.value(byte, at)?,
                _ => return Err(Refusal::Unreadable(at, "a descriptor is neither a symbol nor a ulong")),
            },
            // Elements of no width could be any number; the engine takes as many as there are bytes.
            Step::Element { count, room } if count > room => {
                return Err(Refusal::Unreadable(at, "an array has more elements than bytes"));
            }
            Step::Element { count, .. } => match length(byte) {
                Some(Length::Fixed(width)) => {
                    self.open.push(Open { left: 1, element: None });
                    Step::Skip(u64::from(width) * u64::from(count))
                }
                Some(told) => {
                    self.open.push(Open {
                        left: count,
                        element: Some(byte),
                    });
                    told.step()
                }
                None => {
                    return Err(Refusal::Unreadable(
                        at,
                        "an array holds lists, maps, arrays or described values",
                    ));
                }
            },
            Step::Number { of, value, left } => {
                let value = value << 8 | u32::from(byte);
                match left - 1 {
                    0 => self.number(of, value)?,
                    left => Step::Number { of, value, left },
                }
            }
            // Without `Step::Skip(0)`, which `pass` does not leave behind, this never takes a byte.
            skip @ Step::Skip(_) => skip,
        };
        Ok(())
    }

    /// A value begins.
    fn value(&mut self, constructor: u8, at: usize) -> Result<Step, Refusal> {
        if let Some(length) = length(constructor) {
            return Ok(length.step());
        }
        if self.open.len() == MAX_DEPTH {
            return Err(Refusal::Unreadable(at, "values are nested in more than 64 levels"));
        }
        match constructor {
            0x00 => {
                self.open.push(Open { left: 2, element: None });
                Ok(Step::Descriptor)
            }
            0xc0 | 0xc1 | 0xd0 | 0xd1 | 0xe0 | 0xf0 => {
                let compound = Compound(constructor);
                Ok(compound.number(Of::Size(compound)))
            }
            _ => Err(Refusal::Unreadable(at, "a constructor is none of AMQP 1.0's")),
        }
    }

    fn number(&mut self, of: Of, value: u32) -> Result<Step, Refusal> {
        if value > self.limit {
            return Err(Refusal::Malformed("a length lies beyond the bytes that there can be"));
        }
        match of {
            Of::Length => Ok(Step::Skip(value.into())),
            Of::Size(compound) if value < compound.width() => {
                Err(Refusal::Malformed("a size leaves no room for a count"))
            }
            Of::Size(compound) => Ok(compound.number(Of::Count(compound, value))),
            Of::Count(compound, size) => self.count(compound, size, value),
        }
    }

    fn count(&mut self, compound: Compound, size: u32, count: u32) -> Result<Step, Refusal> {
        let room = size - compound.width();
        if count > room && !compound.is_array() {
            return Err(Refusal::Malformed("a count is more than the size has room for"));
        }
        if compound.is_map() && count % 2 == 1 {
            return Err(Refusal::Malformed("a map ends with a key"));
        }
        Ok(match count {
            0 => Step::Skip(0),
            count if compound.is_array() => Step::Element { count, room },
            left => {
                self.open.push(Open { left, element: None });
                Step::Constructor
            }
        })
    }

    /// A value has ended, and with it perhaps those around it.
    fn finish(&mut self) {
        self.step = Step::Constructor;
        while let Some(open) = self.open.last_mut() {
            open.left -= 1;
            if open.left > 0 {
                if let Some(length) = open.element.and_then(length) {
                    self.step = length.step();
                }
                return;
            }
            self.open.pop();
        }
    }
}

impl Compound {
    fn is_map(self) -> bool {
        matches!(self.0, 0xc1 | 0xd1)
    }

    fn is_array(self) -> bool {
        matches!(self.0, 0xe0 | 0xf0)
    }

    /// How many bytes size and count have each.
    fn width(self) -> u32 {
        if matches!(self.0, 0xd0 | 0xd1 | 0xf0) { 4 } else { 1 }
    }

    fn number(self, of: Of) -> Step {
        let left = if self.width() == 4 { 4 } else { 1 };
        Step::Number { of, value: 0, left }
    }
}

impl Length {
    fn step(self) -> Step {
        match self {
            Self::Fixed(width) => Step::Skip(width.into()),
            Self::Told(left) => Step::Number {
                of: Of::Length,
                value: 0,
                left,
            },
        }
    }
}

/// AMQP 1.0, part 1.6.
fn length(constructor: u8) -> Option<Length> {
    match constructor {
        0x40..=0x45 => Some(Length::Fixed(0)),
        0x50..=0x56 => Some(Length::Fixed(1)),
        0x60..=0x61 => Some(Length::Fixed(2)),
        0x70..=0x74 => Some(Length::Fixed(4)),
        0x80..=0x84 => Some(Length::Fixed(8)),
        0x94 | 0x98 => Some(Length::Fixed(16)),
        0xa0 | 0xa1 | 0xa3 => Some(Length::Told(1)),
        0xb0 | 0xb1 | 0xb3 => Some(Length::Told(4)),
        _ => None,
    }
}

/// A frame of a hub has fewer than ten levels; some five hundred overflow a thread's stack in an unoptimized build.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire_samples::samples;

    const TOO_DEEP: &str = "values are nested in more than 64 levels";

    /// `deep` levels of what `level` makes, around a null.
    fn nested(deep: usize, level: impl Fn(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
        (0..deep).fold(vec![0x40], |inner, _| level(inner))
    }

    fn compound(constructor: u8, count: u32, items: &[u8]) -> Vec<u8> {
        let size = u32::try_from(items.len() + 4).unwrap();
        [&[constructor][..], &size.to_be_bytes(), &count.to_be_bytes(), items].concat()
    }

    fn list(inner: Vec<u8>) -> Vec<u8> {
        compound(0xd0, 1, &inner)
    }

    fn map(inner: Vec<u8>) -> Vec<u8> {
        compound(0xd1, 2, &[&[0x54, 0x01][..], &inner].concat())
    }

    fn described(inner: Vec<u8>) -> Vec<u8> {
        [&[0x00, 0x53, 0x77][..], &inner].concat()
    }

    fn walk(bytes: &[u8]) -> Result<usize, Refusal> {
        Walk::new(bytes.len()).pass(bytes)
    }

    #[test]
    fn what_other_implementations_wrote_is_passed_however_it_is_cut() {
        for (name, bytes) in samples() {
            for cut in 1..=bytes.len().max(1) {
                let mut walk = Walk::new(bytes.len());
                for mut piece in bytes.chunks(cut) {
                    while !piece.is_empty() {
                        piece = &piece[walk.pass(piece).unwrap_or_else(|why| panic!("{name}: {why:?}"))..];
                    }
                }
                assert!(walk.at_boundary(), "{name} cut by {cut}");
            }
        }
    }

    #[test]
    fn a_walk_stops_where_the_value_ends() {
        let bytes = [&list(described(vec![0xa1, 1, b'x']))[..], b"payload"].concat();
        assert_eq!(walk(&bytes), Ok(bytes.len() - 7));
    }

    #[test]
    fn sixty_four_levels_are_passed_and_no_more() {
        for level in [list, map, described] {
            let bytes = nested(64, level);
            assert_eq!(walk(&bytes), Ok(bytes.len()));
            // Each level has the same head, which ends with the constructor of the next.
            let head = level(vec![0x40]).len() - 1;
            for deep in [65, 5000] {
                assert_eq!(
                    walk(&nested(deep, level)),
                    Err(Refusal::Unreadable(64 * head, TOO_DEEP))
                );
            }
        }
        let descriptors = vec![0x00; 5000];
        assert!(matches!(walk(&descriptors), Err(Refusal::Unreadable(1, _))));
        let arrays = nested(5000, |inner| {
            compound(0xf0, 1, &[&[inner[0]][..], &inner[1..]].concat())
        });
        assert!(matches!(walk(&arrays), Err(Refusal::Unreadable(9, _))));
    }

    #[test]
    fn counts_and_lengths_that_cannot_be_are_refused() {
        for bytes in [
            &[0xd0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40][..],
            &[0xd1, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xfe, 0x40],
            &[0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff],
            &[0xd0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xb0, 0xff, 0xff, 0xff, 0xff, 0],
            &[0xb3, 0x7f, 0xff, 0xff, 0xff, 0],
            &[0x00, 0xb3, 0x7f, 0xff, 0xff, 0xff, 0],
            // Sizes that have no room for the count, and a map that ends with a key.
            &[0xc0, 0, 0],
            &[0xd0, 0, 0, 0, 3, 0, 0, 0, 0],
            &[0xc1, 2, 1, 0x40],
        ] {
            assert!(matches!(walk(bytes), Err(Refusal::Malformed(_))), "{bytes:02x?}");
        }
    }

    #[test]
    fn more_elements_than_bytes_are_refused_though_they_have_no_width() {
        for bytes in [
            &[0xf0, 0, 0, 0, 5, 0, 0, 0, 2, 0x41][..],
            &[0xf0, 0, 0, 0, 4, 0, 0, 0, 1, 0x41],
        ] {
            assert!(matches!(walk(bytes), Err(Refusal::Unreadable(9, _))), "{bytes:02x?}");
        }
    }

    #[test]
    fn arrays_of_plain_values_are_passed() {
        for bytes in [
            &[0xe0, 5, 3, 0x50, 1, 2, 3][..],
            &[0xe0, 7, 2, 0xa3, 1, b'a', 2, b'b', b'c'],
            &[0xf0, 0, 0, 0, 13, 0, 0, 0, 2, 0x71, 0, 0, 0, 1, 0, 0, 0, 2],
            &[0xe0, 1, 0],
        ] {
            assert_eq!(walk(bytes), Ok(bytes.len()), "{bytes:02x?}");
        }
    }
}

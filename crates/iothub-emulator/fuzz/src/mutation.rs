use fastrand::Rng;

/// Spoils inputs in the ways that find most: the same ways in the same order in every run.
#[derive(Debug)]
pub struct Mutation {
    random: Rng,
}

impl Mutation {
    /// Begins anew. Other seeds give other inputs.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Rng::with_seed(seed),
        }
    }

    /// Picks one of these inputs, changes it in one to four places, and says which it was.
    ///
    /// # Panics
    ///
    /// There are no inputs.
    pub fn of<'a>(&mut self, inputs: &'a [(String, Vec<u8>)]) -> (&'a str, Vec<u8>) {
        let (name, input) = &inputs[self.random.usize(..inputs.len())];
        let other = &inputs[self.random.usize(..inputs.len())].1;
        let mut bytes = input.clone();
        for _ in 0..self.random.usize(1..=4) {
            self.change(&mut bytes, other);
        }
        (name, bytes)
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.random.usize(..=bytes.len());
        let some = at..bytes.len().min(at + self.random.usize(..=32));
        match self.random.u8(..9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.random.u8(..8),
            1 if at < bytes.len() => bytes[at] = self.random.u8(..),
            2 => drop(bytes.drain(some)),
            3 => {
                let new: Vec<u8> = some.map(|_| self.random.u8(..)).collect();
                drop(bytes.splice(at..at, new));
            }
            4 => {
                let copies = bytes[some].repeat(self.random.usize(1..=64));
                drop(bytes.splice(at..at, copies));
            }
            5 => {
                // Where an integer may stand, one that is at an edge.
                let edge = EDGES[self.random.usize(..EDGES.len())].to_be_bytes();
                let edge = &edge[8 - [1, 2, 4, 8][self.random.usize(..4)]..];
                let end = bytes.len().min(at + edge.len());
                drop(bytes.splice(at..end, edge.iter().copied()));
            }
            6 => {
                let word = WORDS[self.random.usize(..WORDS.len())];
                drop(bytes.splice(at..at, word.bytes()));
            }
            7 => bytes.truncate(at),
            _ => {
                let from = self.random.usize(..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
}

const EDGES: [u64; 10] = [
    0,
    1,
    0x7f,
    0x80,
    0x7fff,
    0x8000,
    0x7fff_ffff,
    0x8000_0000,
    i64::MAX as u64,
    u64::MAX,
];

/// Pieces that change the meaning of a text more than a random byte does.
const WORDS: [&str; 20] = [
    "0",
    "-1",
    "1e999",
    "9223372036854775808",
    "null",
    "{",
    "}",
    "[",
    "\"",
    "\\",
    "'",
    "%00",
    "\r\n\r\n",
    "*",
    "(",
    ")",
    "🚀",
    "\u{0}",
    " AND NOT ",
    "$metadata",
];

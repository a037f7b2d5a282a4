use std::fmt;

/// What is wrong with a query, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Which character of the text, counted from 1.
    pub(crate) position: usize,
    pub(crate) message: String,
}

impl Mistake {
    pub(super) fn new(position: usize, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { position, message }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.position, self.message)
    }
}

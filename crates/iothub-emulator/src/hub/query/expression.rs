use super::{Path, function::Function, value::Value};

/// A part of a condition.
///
/// What is chained by operators of one rank is one node with many parts, so that nothing grows deeper than the brackets in
/// the text, which the parser bounds.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    Literal(Value<'static>),
    Path(Path),
    Not(Box<Self>),
    Negative(Box<Self>),
    Any(Vec<Self>),
    All(Vec<Self>),
    Compare(Box<(Self, Comparison, Self)>),
    In {
        value: Box<Self>,
        items: Vec<Value<'static>>,
        negated: bool,
    },
    /// A first part, then what happens to it, one after another.
    Chain(Box<Self>, Vec<(Arithmetic, Self)>),
    Call(Function, Vec<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Expression {
    /// Calls `visit` with every path that is mentioned.
    pub(super) fn paths<'a>(&'a self, visit: &mut dyn FnMut(&'a Path)) {
        match self {
            Self::Literal(_) => {}
            Self::Path(path) => visit(path),
            Self::Not(part) | Self::Negative(part) => part.paths(visit),
            Self::In { value, .. } => value.paths(visit),
            Self::Any(parts) | Self::All(parts) | Self::Call(_, parts) => {
                parts.iter().for_each(|part| part.paths(visit))
            }
            Self::Compare(sides) => {
                sides.0.paths(visit);
                sides.2.paths(visit);
            }
            Self::Chain(first, rest) => {
                first.paths(visit);
                rest.iter().for_each(|(_, part)| part.paths(visit));
            }
        }
    }
}

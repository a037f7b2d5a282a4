//! What an expression is worth for a document. True, false and undefined go together as in SQL: `false AND undefined` is
//! false, `true OR undefined` is true, all else with an undefined part is undefined.

use std::cmp::Ordering;

use super::{
    Document, Found,
    expression::{Arithmetic, Comparison, Expression},
    value::{Items, Value},
};

impl Expression {
    pub(super) fn is_true_of(&self, document: &dyn Document) -> bool {
        self.evaluate(document).truth() == Some(true)
    }

    pub(super) fn evaluate<'a>(&'a self, document: &'a dyn Document) -> Value<'a> {
        match self {
            Self::Literal(value) => value.lend(),
            Self::Path(path) => document.find(path.names()).map_or(Value::Undefined, Found::value),
            Self::Not(part) => truth(part.evaluate(document).truth().map(|truth| !truth)),
            Self::Negative(part) => part
                .evaluate(document)
                .as_number()
                .map_or(Value::Undefined, |number| Value::number(-number)),
            Self::Any(parts) => truth(decided(parts, document, true)),
            Self::All(parts) => truth(decided(parts, document, false)),
            Self::Compare(sides) => {
                let (left, comparison, right) = &**sides;
                let ordering = left.evaluate(document).compare(&right.evaluate(document));
                truth(ordering.map(|ordering| comparison.holds(ordering)))
            }
            Self::In { value, items, negated } => {
                let items = Items::Literals(items.as_slice().into());
                truth(value.evaluate(document).is_in(&items).map(|is_in| is_in != *negated))
            }
            Self::Chain(first, rest) => {
                let mut result = first.evaluate(document).as_number();
                for (operator, part) in rest {
                    let right = part.evaluate(document).as_number();
                    result = result
                        .zip(right)
                        .map(|(left, right)| operator.of(left, right))
                        .filter(|it| it.is_finite());
                }
                result.map_or(Value::Undefined, Value::Number)
            }
            Self::Call(function, arguments) => {
                let arguments: Vec<Value<'_>> = arguments.iter().map(|part| part.evaluate(document)).collect();
                function.of(&arguments)
            }
        }
    }
}

impl Comparison {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Arithmetic {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Remainder => left % right,
        }
    }
}

fn truth<'a>(truth: Option<bool>) -> Value<'a> {
    truth.map_or(Value::Undefined, Value::Bool)
}

/// One part that is `decisive` decides; without one, the answer is the opposite unless some part is undefined.
fn decided(parts: &[Expression], document: &dyn Document, decisive: bool) -> Option<bool> {
    let mut answer = Some(!decisive);
    for part in parts {
        match part.evaluate(document).truth() {
            Some(truth) if truth == decisive => return Some(decisive),
            Some(_) => {}
            None => answer = None,
        }
    }
    answer
}

use std::ops::RangeInclusive;

use super::value::Value;

/// The functions of the language. Those beyond `IS_DEFINED` and `ARRAY_CONTAINS` are documented for message routes; that
/// twin queries of the service know them all is unverified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Function(&'static Definition);

#[derive(Debug)]
struct Definition {
    /// The first is the one that messages use.
    names: &'static [&'static str],
    arity: RangeInclusive<usize>,
    of: for<'a> fn(&[Value<'a>]) -> Option<Value<'a>>,
}

impl PartialEq for Definition {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names
    }
}

impl Eq for Definition {}

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        let is_it = |definition: &&Definition| definition.names.iter().any(|known| known.eq_ignore_ascii_case(name));
        ALL.iter().find(is_it).map(Self)
    }

    pub(super) fn name(self) -> &'static str {
        self.0.names[0]
    }

    pub(super) fn arity(self) -> RangeInclusive<usize> {
        self.0.arity.clone()
    }

    /// Undefined where an argument is not of the kind that the function is about.
    pub(super) fn of<'a>(self, arguments: &[Value<'a>]) -> Value<'a> {
        (self.0.of)(arguments).unwrap_or(Value::Undefined)
    }
}

const fn one(names: &'static [&'static str], of: for<'a> fn(&[Value<'a>]) -> Option<Value<'a>>) -> Definition {
    Definition {
        names,
        arity: 1..=1,
        of,
    }
}

const fn two(names: &'static [&'static str], of: for<'a> fn(&[Value<'a>]) -> Option<Value<'a>>) -> Definition {
    Definition {
        names,
        arity: 2..=2,
        of,
    }
}

const ALL: &[Definition] = &[
    one(&["IS_DEFINED"], |it| is(it, |value| !matches!(value, Value::Undefined))),
    one(&["IS_NULL"], |it| is(it, |value| matches!(value, Value::Null))),
    one(&["IS_ARRAY"], |it| is(it, |value| matches!(value, Value::Array(_)))),
    one(&["IS_BOOL"], |it| is(it, |value| matches!(value, Value::Bool(_)))),
    one(&["IS_NUMBER"], |it| is(it, |value| matches!(value, Value::Number(_)))),
    one(&["IS_OBJECT"], |it| is(it, |value| matches!(value, Value::Object))),
    one(&["IS_STRING"], |it| is(it, |value| matches!(value, Value::Text(_)))),
    one(&["IS_PRIMITIVE"], |it| {
        is(it, |value| {
            !matches!(value, Value::Undefined | Value::Array(_) | Value::Object)
        })
    }),
    two(&["ARRAY_CONTAINS"], |it| match it {
        [Value::Array(items), value] => value.is_in(items).map(Value::Bool),
        _ => None,
    }),
    two(&["STARTS_WITH", "STARTSWITH"], |it| {
        texts(it, |text, start| Value::Bool(text.starts_with(start)))
    }),
    two(&["ENDS_WITH", "ENDSWITH"], |it| {
        texts(it, |text, end| Value::Bool(text.ends_with(end)))
    }),
    two(&["CONTAINS"], |it| {
        texts(it, |text, part| Value::Bool(text.contains(part)))
    }),
    two(&["INDEX_OF"], |it| {
        texts(it, |text, part| {
            let at = text.find(part).map(|at| text[..at].chars().count() as f64);
            Value::Number(at.unwrap_or(-1.0))
        })
    }),
    one(&["LOWER"], |it| {
        Some(Value::Text(it[0].as_text()?.to_lowercase().into()))
    }),
    one(&["UPPER"], |it| {
        Some(Value::Text(it[0].as_text()?.to_uppercase().into()))
    }),
    one(&["LENGTH"], |it| match &it[0] {
        Value::Text(text) => Some(Value::Number(text.chars().count() as f64)),
        Value::Array(items) => Some(Value::Number(items.count() as f64)),
        _ => None,
    }),
    Definition {
        names: &["CONCAT"],
        arity: 2..=usize::MAX,
        of: |it| {
            it.iter()
                .map(Value::as_text)
                .collect::<Option<String>>()
                .map(|text| Value::Text(text.into()))
        },
    },
    Definition {
        names: &["SUBSTRING"],
        arity: 2..=3,
        of: |it| {
            let text = it[0].as_text()?.chars().skip(count(&it[1])?);
            let text: String = if let Some(length) = it.get(2) {
                text.take(count(length)?).collect()
            } else {
                text.collect()
            };
            Some(Value::Text(text.into()))
        },
    },
    one(&["AS_NUMBER"], |it| match &it[0] {
        Value::Number(number) => Some(Value::Number(*number)),
        Value::Text(text) => text.trim().parse().ok().map(Value::number),
        _ => None,
    }),
    one(&["ABS"], |it| number(it, f64::abs)),
    one(&["CEILING"], |it| number(it, f64::ceil)),
    one(&["EXP"], |it| number(it, f64::exp)),
    one(&["FLOOR"], |it| number(it, f64::floor)),
    one(&["SIGN"], |it| {
        number(it, |number| if number == 0.0 { 0.0 } else { number.signum() })
    }),
    one(&["SQRT"], |it| number(it, f64::sqrt)),
    one(&["SQUARE"], |it| number(it, |number| number * number)),
    two(&["POWER"], |it| {
        Some(Value::number(it[0].as_number()?.powf(it[1].as_number()?)))
    }),
];

fn is<'a>(arguments: &[Value<'a>], answer: fn(&Value<'a>) -> bool) -> Option<Value<'a>> {
    Some(Value::Bool(answer(&arguments[0])))
}

fn number<'a>(arguments: &[Value<'a>], of: fn(f64) -> f64) -> Option<Value<'a>> {
    arguments[0].as_number().map(|number| Value::number(of(number)))
}

fn texts<'a>(arguments: &[Value<'a>], of: impl Fn(&str, &str) -> Value<'a>) -> Option<Value<'a>> {
    Some(of(arguments[0].as_text()?, arguments[1].as_text()?))
}

/// A number of characters; nobody has a negative one, and a fraction counts down.
fn count(value: &Value<'_>) -> Option<usize> {
    value
        .as_number()
        .filter(|number| *number >= 0.0)
        .map(|number| number as usize)
}

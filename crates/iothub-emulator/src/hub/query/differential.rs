//! The engine against a second opinion: a filter over trees of values, written without a look at the engine, that is asked
//! the same questions about the same twins.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Condition, Query, raw_json::JsonText};

#[test]
fn random_queries_find_what_a_naive_filter_finds() {
    let mut random = Random(0x1071_0001);
    let twins: Vec<Value> = (0..60).map(|n| twin(&mut random, n)).collect();
    let texts: Vec<String> = twins.iter().map(Value::to_string).collect();
    let (mut found, mut left) = (0, 0);
    for round in 0..4000 {
        let question = Question::random(&mut random, 3);
        let text = question.text(&mut random);
        let query = Query::parse(&format!("SELECT * FROM devices WHERE {text}"));
        let query = query.unwrap_or_else(|mistake| panic!("round {round}: {text}: {mistake}"));
        let condition = Condition::parse(&text).unwrap();
        for (twin, json) in twins.iter().zip(&texts) {
            let expected = question.answer(twin) == Answer::Yes;
            assert_eq!(
                query.matches(&JsonText(json)),
                expected,
                "round {round}: {text}\n{json}"
            );
            assert_eq!(condition.matches(twin), expected, "round {round}: {text}\n{json}");
            if expected { found += 1 } else { left += 1 }
        }
    }
    assert!(
        found > 10_000 && left > 10_000,
        "questions that find nothing or all prove nothing: {found}, {left}"
    );
}

#[test]
fn random_groups_count_what_a_naive_count_counts() {
    let mut random = Random(0x1071_0002);
    for _ in 0..300 {
        let twins: Vec<Value> = (0..random.below(40)).map(|n| twin(&mut random, n)).collect();
        let path = PATHS[random.below(PATHS.len())];
        let query = format!("SELECT {path} AS what, COUNT() AS n FROM devices GROUP BY {path}");
        let query = Query::parse(&query).unwrap();
        let mut groups = query.groups();
        twins.iter().for_each(|twin| groups.add(twin));
        let mut counted: Vec<(String, u64)> = groups
            .rows()
            .map(|row| serde_json::from_str::<Value>(&row).unwrap())
            .map(|row| (label(row.get("what")), row["n"].as_u64().unwrap()))
            .collect();
        let mut expected = BTreeMap::new();
        twins
            .iter()
            .for_each(|twin| *expected.entry(label(lookup(twin, path))).or_insert(0) += 1);
        counted.sort();
        assert_eq!(counted, expected.into_iter().collect::<Vec<_>>(), "{path}");
    }
}

#[test]
fn no_text_makes_the_parser_panic() {
    let mut random = Random(0x1071_0003);
    let words = [
        "SELECT",
        "TOP",
        "*",
        "FROM",
        "devices",
        ".",
        "modules",
        "jobs",
        "WHERE",
        "GROUP",
        "BY",
        "AND",
        "OR",
        "NOT",
        "IN",
        "NIN",
        "AS",
        "COUNT",
        "(",
        ")",
        "[",
        "]",
        "[[",
        "]]",
        "'",
        "\"",
        "\\",
        "\\u12",
        "'x'",
        "1",
        "0x",
        "1e",
        "-",
        "+",
        "=",
        "<>",
        "!",
        ",",
        "tags.a",
        "ä",
        "𝄞",
        "\u{0}",
        "IS_DEFINED",
        "SUBSTRING",
        "null",
        "undefined",
        " ",
        "\n",
    ];
    for _ in 0..60_000 {
        let text: String = if random.below(3) == 0 {
            let mut text: Vec<char> = VALID[random.below(VALID.len())].chars().collect();
            for _ in 0..=random.below(4) {
                let at = random.below(text.len());
                let word = words[random.below(words.len())];
                text.splice(at..(at + random.below(3)).min(text.len()), word.chars());
                if text.is_empty() {
                    break;
                }
            }
            text.into_iter().collect()
        } else {
            let spaces = if random.below(2) == 0 { "" } else { " " };
            (0..random.below(24))
                .map(|_| words[random.below(words.len())].to_owned() + spaces)
                .collect()
        };
        for mistake in [Query::parse(&text).err(), Condition::parse(&text).err()]
            .into_iter()
            .flatten()
        {
            assert!(
                (1..=text.chars().count() + 1).contains(&mistake.position),
                "{text:?}: {mistake}"
            );
        }
        if let Ok(query) = Query::parse(&text) {
            let twin = json!({ "deviceId": "x", "tags": { "a": [1, "𝄞"] } });
            query.matches(&twin);
            query.row(&twin);
        }
    }
}

const VALID: &[&str] = &[
    "select * from devices where capabilities.iotEdge = true",
    "select properties.desired.k AS k, COUNT() AS n from devices group by properties.desired.k",
    "SELECT deviceId FROM devices.modules WHERE moduleId='$edgeHub' AND properties.reported.x.code=200",
    "SELECT TOP 7 tags.[[my tag]] AS t FROM devices WHERE deviceId IN ['a', 'b'] OR NOT (tags.a + 2 * -3 >= 0x1F)",
    "SELECT * FROM devices WHERE SUBSTRING(CONCAT(deviceId, '\\u00e4'), 1, 2) != \"\\\"\" AND IS_DEFINED(tags)",
];

/// Paths that some twins have and others have not, of every kind of value.
const PATHS: &[&str] = &[
    "deviceId",
    "tags.a",
    "tags.b",
    "tags.o.p",
    "tags.o",
    "properties.reported.r",
    "properties.desired.d",
    "status",
    "tags.none",
];

fn twin(random: &mut Random, n: usize) -> Value {
    let mut tags = Map::new();
    for name in ["a", "b"] {
        if random.below(4) > 0 {
            tags.insert(name.to_owned(), value(random));
        }
    }
    if random.below(2) == 0 {
        tags.insert("o".to_owned(), json!({ "p": value(random), "q\\\"}": 1 }));
    }
    let status = if random.below(3) == 0 { "disabled" } else { "enabled" };
    let (r, d) = (value(random), value(random));
    json!({ "deviceId": format!("d{n}"), "status": status, "tags": tags,
        "properties": { "reported": { "x": "}]", "r": r }, "desired": { "d": d, "$version": n } } })
}

fn value(random: &mut Random) -> Value {
    match random.below(9) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 | 3 => json!(random.below(4)),
        4 => json!(random.below(4) as f64 + 0.5),
        5 | 6 => json!(TEXTS[random.below(TEXTS.len())]),
        7 => json!([1, "a"]),
        _ => json!({ "p": 1 }),
    }
}

const TEXTS: &[&str] = &["", "a", "b", "ab", "ä\"\\", "1"];

/// The naive side: a question that can be written as a condition, and answered by looking at the tree.
enum Question {
    Compare(Operand, &'static str, Operand),
    In(Operand, Vec<Value>, bool),
    Has(&'static str),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
}

enum Operand {
    Path(&'static str),
    Constant(Value),
    Sum(&'static str, i64),
}

#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Yes,
    No,
    Neither,
}

impl Question {
    fn random(random: &mut Random, depth: usize) -> Self {
        let deeper = |random: &mut Random| Box::new(Self::random(random, depth - 1));
        match random.below(if depth == 0 { 5 } else { 9 }) {
            0..=2 => {
                let operator = ["=", "!=", "<>", "<", "<=", ">", ">="][random.below(7)];
                Self::Compare(Operand::random(random), operator, Operand::random(random))
            }
            3 => {
                let items = (0..random.below(4)).map(|_| simple(random)).collect();
                Self::In(
                    Operand::Path(PATHS[random.below(PATHS.len())]),
                    items,
                    random.below(2) == 0,
                )
            }
            4 => Self::Has(PATHS[random.below(PATHS.len())]),
            5 | 6 => Self::And(deeper(random), deeper(random)),
            7 => Self::Or(deeper(random), deeper(random)),
            _ => Self::Not(deeper(random)),
        }
    }

    /// The condition, with brackets everywhere, so that no rank of operators is taken for granted, and letters in any case.
    fn text(&self, random: &mut Random) -> String {
        let word = |random: &mut Random, word: &str| {
            if random.below(2) == 0 {
                word.to_lowercase()
            } else {
                word.to_owned()
            }
        };
        match self {
            Self::Compare(left, operator, right) => format!("{} {operator} {}", left.text(), right.text()),
            Self::In(value, items, negated) => {
                let items: Vec<String> = items.iter().map(literal).collect();
                format!(
                    "{} {} [{}]",
                    value.text(),
                    word(random, if *negated { "NIN" } else { "IN" }),
                    items.join(",")
                )
            }
            Self::Has(path) => format!("{}({path})", word(random, "IS_DEFINED")),
            Self::And(left, right) => {
                format!(
                    "({}) {} ({})",
                    left.text(random),
                    word(random, "AND"),
                    right.text(random)
                )
            }
            Self::Or(left, right) => format!(
                "({}) {} ({})",
                left.text(random),
                word(random, "OR"),
                right.text(random)
            ),
            Self::Not(inner) => format!("{} ({})", word(random, "NOT"), inner.text(random)),
        }
    }

    fn answer(&self, twin: &Value) -> Answer {
        match self {
            Self::Compare(left, operator, right) => match (left.value(twin), right.value(twin)) {
                (Some(left), Some(right)) => compared(&left, operator, &right),
                _ => Answer::Neither,
            },
            Self::In(value, items, negated) => match value.value(twin) {
                None | Some(Value::Array(_) | Value::Object(_)) => Answer::Neither,
                Some(value) => {
                    let is_in = items.iter().any(|item| compared(&value, "=", item) == Answer::Yes);
                    if is_in == *negated { Answer::No } else { Answer::Yes }
                }
            },
            Self::Has(path) => {
                if lookup(twin, path).is_some() {
                    Answer::Yes
                } else {
                    Answer::No
                }
            }
            Self::And(left, right) => match (left.answer(twin), right.answer(twin)) {
                (Answer::No, _) | (_, Answer::No) => Answer::No,
                (Answer::Yes, Answer::Yes) => Answer::Yes,
                _ => Answer::Neither,
            },
            Self::Or(left, right) => match (left.answer(twin), right.answer(twin)) {
                (Answer::Yes, _) | (_, Answer::Yes) => Answer::Yes,
                (Answer::No, Answer::No) => Answer::No,
                _ => Answer::Neither,
            },
            Self::Not(inner) => match inner.answer(twin) {
                Answer::Yes => Answer::No,
                Answer::No => Answer::Yes,
                Answer::Neither => Answer::Neither,
            },
        }
    }
}

impl Operand {
    fn random(random: &mut Random) -> Self {
        match random.below(5) {
            0..=2 => Self::Path(PATHS[random.below(PATHS.len())]),
            3 => Self::Constant(simple(random)),
            _ => Self::Sum(PATHS[random.below(PATHS.len())], random.below(5) as i64 - 2),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Path(path) => (*path).to_owned(),
            Self::Constant(value) => literal(value),
            Self::Sum(path, number) => format!("{path} + {number}"),
        }
    }

    fn value(&self, twin: &Value) -> Option<Value> {
        match self {
            Self::Path(path) => lookup(twin, path).cloned(),
            Self::Constant(value) => Some(value.clone()),
            Self::Sum(path, number) => Some(json!(lookup(twin, path)?.as_f64()? + *number as f64)),
        }
    }
}

fn lookup<'a>(twin: &'a Value, path: &str) -> Option<&'a Value> {
    twin.pointer(&format!("/{}", path.replace('.', "/")))
}

fn compared(left: &Value, operator: &str, right: &Value) -> Answer {
    let ordering = match (left, right) {
        (Value::Null, Value::Null) => Some(std::cmp::Ordering::Equal),
        (Value::Bool(left), Value::Bool(right)) => left.partial_cmp(right),
        (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
        (Value::String(left), Value::String(right)) => left.partial_cmp(right),
        _ => None,
    };
    let Some(ordering) = ordering else {
        return Answer::Neither;
    };
    let holds = match operator {
        "=" => ordering.is_eq(),
        "!=" | "<>" => ordering.is_ne(),
        "<" => ordering.is_lt(),
        "<=" => ordering.is_le(),
        ">" => ordering.is_gt(),
        _ => ordering.is_ge(),
    };
    if holds { Answer::Yes } else { Answer::No }
}

fn simple(random: &mut Random) -> Value {
    loop {
        let value = value(random);
        if !value.is_array() && !value.is_object() {
            return value;
        }
    }
}

/// JSON's way to write a text happens to be one of the language's.
fn literal(value: &Value) -> String {
    value.to_string()
}

fn label(value: Option<&Value>) -> String {
    match value {
        None => "-".to_owned(),
        // 1 and 1.0 are one group.
        Some(Value::Number(number)) => number.as_f64().unwrap().to_string(),
        Some(value) => value.to_string(),
    }
}

/// SplitMix64: the same numbers everywhere, forever.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end.max(1) as u64).unwrap()
    }
}

//! Twins against a second opinion: random writes, and a model that is compared with the hub after each of them.

use std::{collections::BTreeMap, time::Duration};

use iothub_core::{DeviceId, HubErrorCode, ModuleId};
use serde_json::{Map, Value, json};

use super::model::{Model, Outcome, etag};
use crate::hub::{
    Event, Failure, Grant, Hub, Target, authentication::Authentication, identity_request::ModuleRequest,
    if_match::IfMatch, journal::Operation, twin::Write, twin_request::TwinRequest,
};

#[test]
fn random_writes_leave_twins_as_the_model_has_them() {
    let mut random = Random(0x1071_0004);
    let (hub, targets) = hub();
    let mut twins: Vec<(Target, Model)> = targets.into_iter().map(|target| (target, Model::default())).collect();
    let mut seen = BTreeMap::new();
    for step in 0..3000 {
        // Far enough apart that no two writes can show the same time.
        hub.clock().advance(Duration::from_secs(3600));
        let at = random.below(twins.len());
        let (target, model) = &mut twins[at];
        let is_report = random.below(3) == 0;
        let outcome = match is_report {
            true => report(&hub, target, model, &mut random, step),
            false => write(&hub, target, model, &mut random, step),
        };
        *seen.entry((is_report, outcome)).or_insert(0) += 1;
        model.check(&hub, target, step);
    }
    for (target, model) in &twins {
        model.check(&hub, target, usize::MAX);
        let update = Event::Executed {
            operation: Operation::UpdateTwin,
            on: target.to_string(),
        };
        let updates = hub.journal().count(|event| *event == update);
        assert_eq!(
            updates as u64,
            model.revision - 1,
            "each write that counts is executed once"
        );
    }
    let kinds: Vec<_> = seen.keys().map(|(is_report, outcome)| (*is_report, *outcome)).collect();
    let every_kind = [
        (false, Outcome::Written),
        (false, Outcome::Nothing),
        (false, Outcome::TooLarge),
        (false, Outcome::Invalid),
        (false, Outcome::OtherTag),
        (true, Outcome::Written),
        (true, Outcome::TooLarge),
        (true, Outcome::Invalid),
    ];
    assert_eq!(kinds, every_kind);
    assert!(
        seen.values().all(|count| *count > 10),
        "what hardly ever happens proves nothing: {seen:?}"
    );
}

/// Patches or replaces tags and desired properties, as a service does.
fn write(hub: &Hub, target: &Target, model: &mut Model, random: &mut Random, step: usize) -> Outcome {
    let mut sections = [random.section(), random.section()];
    let is_invalid = random.below(8) == 0;
    if is_invalid {
        let at = random.below(2);
        sections[at] = Some(random.spoiled());
    }
    let [tags, desired] = &sections;
    let body = random.body(tags.as_ref(), desired.as_ref());
    let write = if random.below(4) == 0 {
        Write::Replace
    } else {
        Write::Merge
    };
    let other = random.below(64) as u64 + model.revision + 1;
    let (condition, is_other) = match random.below(8) {
        0 => (tag(model.revision, true), false),
        1 => (tag(other, true), true),
        2 => (tag(other, false), false),
        3 => (IfMatch::Any, false),
        _ => (IfMatch::Absent, false),
    };
    let grant = Grant::unlimited();
    let answer = TwinRequest::parse(body.as_bytes())
        .and_then(|request| hub.write_twin(&grant, target, condition, &request, write));
    let mut next = model.clone();
    let outcome = match next.write(write, tags.as_ref(), desired.as_ref()) {
        _ if is_invalid => Outcome::Invalid,
        _ if is_other => Outcome::OtherTag,
        outcome => outcome,
    };
    assert_eq!(verdict(&answer), outcome.verdict(), "step {step}: {write:?} {body}");
    if outcome == Outcome::Written {
        *model = next;
        model.desired.learn_time(hub, target, "desired");
    }
    if let Ok(document) = answer {
        let read = hub.get_twin(&grant, target).unwrap();
        assert_eq!(document.json, read.json, "step {step}: the answer is the twin");
    }
    outcome
}

/// Merges into reported properties, as a device does.
fn report(hub: &Hub, target: &Target, model: &mut Model, random: &mut Random, step: usize) -> Outcome {
    let is_invalid = random.below(8) == 0;
    let patch = if is_invalid { random.spoiled() } else { random.object(3) };
    let body = random.marked(&patch);
    let answer = hub.report(target, &body);
    let mut next = model.clone();
    let outcome = match next.reported.write(Write::Merge, &patch) {
        _ if is_invalid => Outcome::Invalid,
        outcome => outcome,
    };
    assert_eq!(verdict(&answer), outcome.verdict(), "step {step}: report {body}");
    if let Ok(version) = answer {
        *model = next;
        assert_eq!(version, model.reported.version, "step {step}");
        model.reported.learn_time(hub, target, "reported");
    }
    outcome
}

fn tag(revision: u64, quoted: bool) -> IfMatch {
    let tag = etag(revision);
    IfMatch::Tag { tag, quoted }
}

fn verdict<T>(answer: &Result<T, Failure>) -> Result<(), HubErrorCode> {
    answer.as_ref().map(|_| ()).map_err(|failure| failure.code.clone())
}

/// A hub with two devices and a module on the first.
fn hub() -> (Hub, [Target; 3]) {
    let hub = Hub::new(vec!["hub.test".to_owned()], Vec::new());
    let [lamp, other]: [DeviceId; 2] = ["lamp", "other"].map(|id| id.parse().unwrap());
    hub.add_device(&lamp).unwrap();
    hub.add_device(&other).unwrap();
    let module = ModuleId::new(lamp.clone(), "dimmer").unwrap();
    let request = ModuleRequest {
        managed_by: None,
        authentication: Authentication::generated().unwrap(),
    };
    hub.put_module(&Grant::unlimited(), &module, &IfMatch::Absent, request)
        .unwrap();
    (hub, [lamp.into(), other.into(), module.into()])
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

    /// What a request says of a section, if anything.
    fn section(&mut self) -> Option<Value> {
        match self.below(12) {
            0..=3 => None,
            4 => Some(Value::Null),
            5 => Some(json!({})),
            // As much as there is room for, to the byte.
            6 => Some(json!({ "": vec![longest(); [2, 8][self.below(2)]] })),
            _ => Some(self.object(3)),
        }
    }

    /// Few names, so that writes meet what earlier ones left.
    fn object(&mut self, depth: usize) -> Value {
        let count = self.below(5);
        let mut members = Map::new();
        for _ in 0..count {
            let name = ["a", "b", "", "ä/~\"\\", "c-C"][self.below(5)];
            let value = match self.below(4) {
                0 => Value::Null,
                _ => self.value(depth),
            };
            members.insert(name.to_owned(), value);
        }
        Value::Object(members)
    }

    /// Anything but null.
    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 8 } else { 14 }) {
            0 => json!(self.below(2) == 0),
            1 => json!(self.below(100)),
            2 => json!(self.below(4) as f64 + 0.5),
            3 => json!([-(1_i64 << 52), (1_i64 << 52) - 1][self.below(2)]),
            4 => json!(["", "ä\"\\", "\u{1}}\n", "null", "{\"a\":1}"][self.below(5)]),
            5 => json!("é".repeat(self.below(30))),
            // Enough of these, and there is no room for more.
            6 if self.below(3) == 0 => json!(vec![longest(); [1, 1, 2, 8][self.below(4)]]),
            6 => json!([]),
            7 => json!([self.below(9), [self.below(9)], { "a": "null", "b": {} }]),
            8 if depth == 3 => nested(10),
            _ => self.object(depth - 1),
        }
    }

    /// A section with one thing in it that no twin may have.
    fn spoiled(&mut self) -> Value {
        let mut section = self.object(3);
        let (name, value) = match self.below(11) {
            0 => ("a.b", json!(1)),
            1 => ("a b", Value::Null),
            2 => ("$a", json!({})),
            3 => ("#", json!(1)),
            4 => ("a\u{7f}", json!(1)),
            5 => ("x", json!(1_i64 << 52)),
            6 => ("x", json!(-(1_i64 << 52) - 1)),
            7 => ("x", json!(longest() + "e")),
            8 => ("x", json!([1, [null]])),
            9 => ("x", nested(11)),
            _ => ("x", json!({ "a": { "$version": 1 } })),
        };
        let place = if self.below(2) == 0 && name != "x" { "a" } else { name };
        section[place] = if place == name { value } else { json!({ name: value }) };
        section
    }

    /// A request with a twin, as somebody sends it who has read it before.
    fn body(&mut self, tags: Option<&Value>, desired: Option<&Value>) -> String {
        let mut members = vec![r#""deviceId":"x","version":99"#.to_owned()];
        if let Some(tags) = tags {
            members.push(format!("\"tags\":{}", self.marked(tags)));
        }
        let reported = r#""reported":{"a":"not for services to say"}"#;
        match desired {
            Some(desired) => {
                let desired = self.marked(desired);
                members.push(format!("\"properties\":{{\"desired\":{desired},{reported}}}"));
            }
            None if self.below(2) == 0 => members.push(format!("\"properties\":{{{reported}}}")),
            None => {}
        }
        format!("{{{}}}", members.join(","))
    }

    /// The text of a section, in which there may be what hubs add.
    fn marked(&mut self, section: &Value) -> String {
        let mut section = section.clone();
        if section.is_object() && self.below(4) == 0 {
            section["$metadata"] = json!({ "$lastUpdated": "1999-12-31T00:00:00Z", "a": { "$lastUpdated": "x" } });
            section["$version"] = json!(99);
        }
        let text = self.text(&section);
        let same: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(same, section, "{text}");
        text
    }

    /// One of many texts for the same value.
    fn text(&mut self, value: &Value) -> String {
        let space = ["", "", "", " ", "\n\t"][self.below(5)];
        match value {
            Value::Object(members) => {
                let mut texts = Vec::new();
                for (name, member) in members {
                    let name = self.quoted(name);
                    if self.below(8) == 0 {
                        // The last of two with the same name counts.
                        let earlier = self.value(1);
                        texts.push(format!("{name}:{earlier}"));
                    }
                    texts.push(format!("{name}{space}:{}", self.text(member)));
                }
                format!("{{{space}{}}}", texts.join(","))
            }
            Value::Array(items) => {
                let texts: Vec<String> = items.iter().map(|item| self.text(item)).collect();
                format!("[{}{space}]", texts.join(","))
            }
            Value::String(text) => self.quoted(text),
            other => format!("{space}{other}"),
        }
    }

    fn quoted(&mut self, text: &str) -> String {
        if text.len() > 100 || self.below(2) == 0 {
            return Value::from(text).to_string();
        }
        let escapes = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
        format!("\"{}\"", escapes.collect::<String>())
    }
}

/// As many objects, one in the other.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!({ "n": inner }))
}

/// The longest string that a twin takes, in few characters.
fn longest() -> String {
    "𝄞".repeat(1024)
}

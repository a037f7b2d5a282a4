use crate::hub::{Failure, Target, sas::percent_decode};

/// What a device publishes to the hub.
#[derive(Debug, PartialEq)]
pub(super) enum Inbound<'a> {
    Telemetry {
        /// The bag of properties as it stands in the topic.
        properties: &'a str,
    },
    MethodAnswer {
        status: i32,
        request: &'a str,
    },
    GetTwin {
        /// The device's own name for the request, which the answer repeats.
        request: &'a str,
    },
    Report {
        request: &'a str,
    },
}

impl Inbound<'_> {
    /// What the device does by it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Telemetry { .. } => "send",
            Self::MethodAnswer { .. } => "answer method",
            Self::GetTwin { .. } => "get twin",
            Self::Report { .. } => "report",
        }
    }
}

/// What a device can subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    Messages,
    /// Messages of other modules, which only an edge runtime has.
    Inputs,
    Methods,
    TwinAnswers,
    Desired,
}

impl<'a> Inbound<'a> {
    pub(super) fn parse(topic: &'a str, target: &Target) -> Result<Self, Failure> {
        if let Some(rest) = below_target(topic, target)
            && let Some(properties) = strip(rest, "messages/events")
        {
            return Ok(Self::Telemetry { properties });
        }
        let parsed = if let Some(rest) = strip(topic, "$iothub/twin/GET") {
            request(rest).map(|request| Self::GetTwin { request })
        } else if let Some(rest) = strip(topic, "$iothub/twin/PATCH/properties/reported") {
            request(rest).map(|request| Self::Report { request })
        } else if let Some(rest) = strip(topic, "$iothub/methods/res") {
            rest.split_once('/').and_then(|(status, rest)| {
                let (status, request) = (status.parse().ok()?, request(rest)?);
                Some(Self::MethodAnswer { status, request })
            })
        } else {
            None
        };
        parsed.ok_or_else(|| Failure::argument(format!("{target} can publish nothing to {topic:?}")))
    }
}

impl Feed {
    /// What stands behind a topic filter.
    pub(super) fn parse(filter: &str, target: &Target) -> Result<&'static [Self], Failure> {
        let feeds: Option<&[Self]> = match below_target(filter, target) {
            Some(rest) if is(rest, "messages/devicebound/#") => Some(&[Self::Messages]),
            Some(rest) if target.module().is_some() => match rest {
                "#" => Some(&[Self::Messages, Self::Inputs]),
                rest if is(rest, "inputs/#") => Some(&[Self::Inputs]),
                _ => None,
            },
            Some(_) => None,
            None if is(filter, "$iothub/methods/POST/#") => Some(&[Self::Methods]),
            None if is(filter, "$iothub/twin/res/#") => Some(&[Self::TwinAnswers]),
            None if is(filter, "$iothub/twin/PATCH/properties/desired/#") => Some(&[Self::Desired]),
            None => None,
        };
        feeds.ok_or_else(|| Failure::argument(format!("{target} can subscribe to nothing by {filter:?}")))
    }
}

/// Where messages for a device or module go, without the properties.
pub(super) fn device_bound(target: &Target) -> String {
    format!("{}/messages/devicebound/", target.resource())
}

pub(super) fn method_request(name: &str, request: &str) -> String {
    format!("$iothub/methods/POST/{name}/?$rid={request}")
}

pub(super) fn twin_answer(status: u16, request: &str, version: Option<u64>) -> String {
    let version = version
        .map(|version| format!("&$version={version}"))
        .unwrap_or_default();
    format!("$iothub/twin/res/{status}/?$rid={request}{version}")
}

pub(super) fn desired_change(version: u64) -> String {
    format!("$iothub/twin/PATCH/properties/desired/?$version={version}")
}

/// What stands behind `devices/{device}/` or `devices/{device}/modules/{module}/`, if these are the ids of `target`,
/// encoded or not.
fn below_target<'a>(topic: &'a str, target: &Target) -> Option<&'a str> {
    let id = |rest: &'a str, expected: &str| {
        let (id, rest) = rest.split_once('/')?;
        let is_right = id == expected || percent_decode(id).as_deref() == Some(expected);
        is_right.then_some(rest)
    };
    let rest = id(strip(topic, "devices")?, target.device())?;
    match target.module() {
        None => Some(rest),
        Some(module) => id(strip(rest, "modules")?, module),
    }
}

/// What stands behind these words and a slash, or nothing if nothing does. Words are the same in any case.
fn strip<'a>(topic: &'a str, words: &str) -> Option<&'a str> {
    let head = topic.get(..words.len())?;
    let rest = &topic[words.len()..];
    if !is(head, words) {
        return None;
    }
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix('/')
    }
}

fn is(topic: &str, words: &str) -> bool {
    topic.eq_ignore_ascii_case(words)
}

/// The `$rid` of a query.
fn request(query: &str) -> Option<&str> {
    let pairs = query.strip_prefix('?')?.split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, value)| matches!(*key, "$rid" | "%24rid") && !value.is_empty())
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lamp() -> Target {
        Target::parse("lamp", None).unwrap()
    }

    fn bulb() -> Target {
        Target::parse("lamp", Some("bulb")).unwrap()
    }

    #[test]
    fn what_devices_publish_is_told_apart() {
        let telemetry = |properties| Inbound::Telemetry { properties };
        for (topic, expected) in [
            ("devices/lamp/messages/events", telemetry("")),
            ("devices/lamp/messages/events/", telemetry("")),
            ("devices/l%61mp/messages/events/a=1&b=2", telemetry("a=1&b=2")),
            ("devices/lamp/messages/events/a=1/", telemetry("a=1/")),
            ("$iothub/twin/GET/?$rid=7", Inbound::GetTwin { request: "7" }),
            ("$iothub/twin/GET/?%24rid=a-b&x=1", Inbound::GetTwin { request: "a-b" }),
            (
                "$iothub/twin/PATCH/properties/reported/?$rid=7&$version=3",
                Inbound::Report { request: "7" },
            ),
            (
                "$iothub/methods/res/-5/?$rid=1f",
                Inbound::MethodAnswer {
                    status: -5,
                    request: "1f",
                },
            ),
        ] {
            assert_eq!(Inbound::parse(topic, &lamp()).unwrap(), expected, "{topic}");
        }
        let topic = "devices/lamp/modules/bulb/messages/events/%24.on=out";
        assert_eq!(Inbound::parse(topic, &bulb()).unwrap(), telemetry("%24.on=out"));
    }

    #[test]
    fn other_topics_are_nobodys() {
        for (topic, target) in [
            ("", lamp()),
            ("lamp", lamp()),
            ("devices/door/messages/events/", lamp()),
            ("devices/lamp/messages/eventsx", lamp()),
            ("devices/lamp/messages/devicebound/", lamp()),
            ("devices/lamp/modules/bulb/messages/events/", lamp()),
            ("devices/lamp/messages/events/", bulb()),
            ("devices/lamp/modules/other/messages/events/", bulb()),
            ("$iothub/twin/GET/", lamp()),
            ("$iothub/twin/GET/?$rid=", lamp()),
            ("$iothub/twin/PATCH/properties/desired/?$rid=1", lamp()),
            ("$iothub/methods/res/?$rid=1", lamp()),
            ("$iothub/methods/res/ok/?$rid=1", lamp()),
            ("$iothub/methods/res/99999999999/?$rid=1", lamp()),
            ("$SYS/x", lamp()),
        ] {
            assert!(Inbound::parse(topic, &target).is_err(), "{topic}");
        }
    }

    #[test]
    fn filters_lead_to_feeds() {
        for (filter, target, feeds) in [
            ("devices/lamp/messages/devicebound/#", lamp(), &[Feed::Messages][..]),
            ("devices/lamp/messages/deviceBound/#", lamp(), &[Feed::Messages]),
            ("devices/lamp/modules/bulb/#", bulb(), &[Feed::Messages, Feed::Inputs]),
            (
                "devices/lamp/modules/bulb/messages/devicebound/#",
                bulb(),
                &[Feed::Messages],
            ),
            ("devices/lamp/modules/bulb/inputs/#", bulb(), &[Feed::Inputs]),
            ("$iothub/methods/POST/#", lamp(), &[Feed::Methods]),
            ("$iothub/twin/res/#", bulb(), &[Feed::TwinAnswers]),
            ("$iothub/twin/PATCH/properties/desired/#", lamp(), &[Feed::Desired]),
        ] {
            assert_eq!(Feed::parse(filter, &target).unwrap(), feeds, "{filter}");
        }
        for (filter, target) in [
            ("#", lamp()),
            ("devices/+/messages/devicebound/#", lamp()),
            ("devices/door/messages/devicebound/#", lamp()),
            ("devices/lamp/#", lamp()),
            ("devices/lamp/modules/bulb/#", lamp()),
            ("devices/lamp/messages/devicebound/#", bulb()),
            ("$iothub/#", lamp()),
        ] {
            assert!(Feed::parse(filter, &target).is_err(), "{filter}");
        }
    }
}

use crate::{
    amqp::{
        composite::{Fields, entries},
        error::{AmqpError, condition},
        value::Value,
    },
    hub::event_readers::Start,
};

/// Where a receiver wants to begin, by the filter of its source. Without one it reads what there is.
pub(super) fn start(source: &Value) -> Result<Start, AmqpError> {
    let everything = Start::Offset {
        than: -1,
        inclusive: false,
    };
    let Some(expression) = expression(source)? else {
        return Ok(everything);
    };
    parse(&expression).ok_or_else(|| {
        let text = format!(
            "the filter {expression:?} is not understood: it compares one of amqp.annotation.x-opt-offset, \
             x-opt-sequence-number and x-opt-enqueued-time with > or >= to a text in quotes"
        );
        AmqpError::new("com.microsoft:argument-error", text)
    })
}

/// The selector, if there is one. Other filters are left alone, as they are by Event Hubs.
fn expression(source: &Value) -> Result<Option<String>, AmqpError> {
    if source.is_null() {
        return Ok(None);
    }
    let (_, mut fields) = Fields::of(source.clone())?;
    fields.skip(FILTER);
    let filters = entries(fields.next())?;
    let Some((_, filter)) = filters.into_iter().find(|(name, _)| name == SELECTOR) else {
        return Ok(None);
    };
    let text = match filter {
        Value::Described(described) => described.1.into_text(),
        other => other.into_text(),
    };
    let text = text.ok_or_else(|| AmqpError::new(condition::INVALID_FIELD, "the selector should be a string"))?;
    Ok(Some(text))
}

fn parse(expression: &str) -> Option<Start> {
    let (name, comparison) = expression.split_once('>')?;
    let (inclusive, value) = match comparison.strip_prefix('=') {
        Some(value) => (true, value),
        None => (false, comparison),
    };
    let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    let name = name.trim().strip_prefix("amqp.annotation.")?;
    if name == "x-opt-offset" && value == "@latest" {
        return Some(Start::Latest);
    }
    let than = value.parse().ok()?;
    Some(match name {
        "x-opt-offset" => Start::Offset { than, inclusive },
        "x-opt-sequence-number" => Start::Sequence { than, inclusive },
        // The longer name is that of Microsoft's command line.
        "x-opt-enqueued-time" | "x-opt-enqueuedtimeutc" => Start::Time { than, inclusive },
        _ => return None,
    })
}

/// Where the filter stands in a source, by the standard's part 3, section 5.3.
const FILTER: usize = 7;
const SELECTOR: &str = "apache.org:selector-filter:string";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_of_every_client_are_understood() {
        let offset = |than, inclusive| Start::Offset { than, inclusive };
        let sequence = |than, inclusive| Start::Sequence { than, inclusive };
        let time = |than, inclusive| Start::Time { than, inclusive };
        for (text, expected) in [
            ("amqp.annotation.x-opt-offset > '-1'", offset(-1, false)),
            ("amqp.annotation.x-opt-offset > '@latest'", Start::Latest),
            ("amqp.annotation.x-opt-offset >= '@latest'", Start::Latest),
            ("amqp.annotation.x-opt-offset >= '1024'", offset(1024, true)),
            ("amqp.annotation.x-opt-sequence-number > '7'", sequence(7, false)),
            ("amqp.annotation.x-opt-sequence-number >= '7'", sequence(7, true)),
            (
                "amqp.annotation.x-opt-enqueued-time > '1767225600000'",
                time(1_767_225_600_000, false),
            ),
            (
                "amqp.annotation.x-opt-enqueuedtimeutc > '1767225600000'",
                time(1_767_225_600_000, false),
            ),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "amqp.annotation.x-opt-offset = '1'",
            "amqp.annotation.x-opt-offset > 1",
            "amqp.annotation.x-opt-offset > 'x'",
            "amqp.annotation.x-opt-color > '1'",
            "x-opt-offset > '1'",
            "amqp.annotation.x-opt-sequence-number > '@latest'",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

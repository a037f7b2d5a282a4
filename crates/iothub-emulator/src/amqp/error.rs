use std::borrow::Cow;

use super::value::Value;

/// An AMQP error: what a rejected outcome, a detach, an end or a close carries.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct AmqpError {
    pub(crate) condition: Cow<'static, str>,
    pub(crate) description: String,
    pub(crate) info: Vec<(String, Value)>,
}

impl AmqpError {
    pub(crate) fn new(condition: impl Into<Cow<'static, str>>, description: impl Into<String>) -> Self {
        Self {
            condition: condition.into(),
            description: description.into(),
            info: Vec::new(),
        }
    }

    /// Reads the composite; `None` if it is not one with a condition.
    pub(crate) fn read(value: Value) -> Option<Self> {
        let Value::Described(described) = value else {
            return None;
        };
        let (descriptor, Value::List(fields)) = *described else {
            return None;
        };
        if !matches!(descriptor, Value::Ulong(ERROR)) && descriptor.as_text() != Some("amqp:error:list") {
            return None;
        }
        let mut fields = fields.into_iter();
        let condition = fields.next()?.into_text()?;
        let description = fields.next().and_then(Value::into_text).unwrap_or_default();
        let info = match fields.next() {
            Some(Value::Map(pairs)) => pairs
                .into_iter()
                .filter_map(|(key, value)| Some((key.into_text()?, value)))
                .collect(),
            _ => Vec::new(),
        };
        Some(Self {
            condition: condition.into(),
            description,
            info,
        })
    }

    pub(crate) fn into_value(self) -> Value {
        let info = if self.info.is_empty() {
            Value::Null
        } else {
            Value::fields(self.info)
        };
        Value::composite(
            ERROR,
            vec![
                Value::Symbol(self.condition.into_owned()),
                Value::String(self.description),
                info,
            ],
        )
    }
}

impl From<AmqpError> for Value {
    fn from(error: AmqpError) -> Self {
        error.into_value()
    }
}

const ERROR: u64 = 0x1d;

/// The conditions that the engine itself gives.
pub(crate) mod condition {
    pub(crate) const CONNECTION_FORCED: &str = "amqp:connection:forced";
    pub(crate) const DETACH_FORCED: &str = "amqp:link:detach-forced";
    pub(crate) const DECODE_ERROR: &str = "amqp:decode-error";
    pub(crate) const FRAMING_ERROR: &str = "amqp:connection:framing-error";
    pub(crate) const HANDLE_IN_USE: &str = "amqp:session:handle-in-use";
    pub(crate) const ILLEGAL_STATE: &str = "amqp:illegal-state";
    pub(crate) const INTERNAL_ERROR: &str = "amqp:internal-error";
    pub(crate) const INVALID_FIELD: &str = "amqp:invalid-field";
    pub(crate) const MESSAGE_SIZE_EXCEEDED: &str = "amqp:link:message-size-exceeded";
    pub(crate) const NOT_ALLOWED: &str = "amqp:not-allowed";
    pub(crate) const NOT_FOUND: &str = "amqp:not-found";
    pub(crate) const REDIRECT: &str = "amqp:link:redirect";
    pub(crate) const RESOURCE_LIMIT_EXCEEDED: &str = "amqp:resource-limit-exceeded";
    pub(crate) const STOLEN: &str = "amqp:link:stolen";
    pub(crate) const TRANSFER_LIMIT_EXCEEDED: &str = "amqp:link:transfer-limit-exceeded";
    pub(crate) const UNATTACHED_HANDLE: &str = "amqp:session:unattached-handle";
    pub(crate) const UNAUTHORIZED: &str = "amqp:unauthorized-access";
    pub(crate) const WINDOW_VIOLATION: &str = "amqp:session:window-violation";
}

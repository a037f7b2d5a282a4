use std::{borrow::Cow, fmt};

use azure_core::Error;

use super::AmqpValue;

/// What an AMQP peer said when it refused something, or how far a fault reached.
///
/// A transport puts it inside an [`Error`]; [`AmqpError::of`] finds it again. The scope tells the recovery above the
/// seam what has to be made anew.
///
/// # Examples
///
/// ```
/// use iothub_core::{Error, amqp::{AmqpCondition, AmqpError, AmqpScope}};
///
/// let error: Error = AmqpError::new(AmqpScope::Link).with_condition("amqp:link:detach-forced", "idle").into();
/// let found = AmqpError::of(&error).expect("it was put there");
/// assert_eq!(found.scope, AmqpScope::Link);
/// assert_eq!(found.condition.as_ref().map(AmqpCondition::as_str), Some("amqp:link:detach-forced"));
/// ```
#[derive(Clone, Debug)]
pub struct AmqpError {
    /// What is gone.
    pub scope: AmqpScope,
    /// The condition, when the peer gave one.
    pub condition: Option<AmqpCondition>,
    /// The peer's text, or ours.
    pub description: Option<String>,
    /// The info map of the error.
    pub info: Vec<(String, AmqpValue)>,
}

/// The smallest thing that has to be made anew after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AmqpScope {
    /// Nothing: one message was refused.
    Message,
    /// The link.
    Link,
    /// The session that carries the link.
    Session,
    /// The connection.
    Connection,
}

/// An AMQP error condition such as `amqp:not-found`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AmqpCondition(Cow<'static, str>);

impl AmqpError {
    /// A fault without a condition.
    pub fn new(scope: AmqpScope) -> Self {
        Self {
            scope,
            condition: None,
            description: None,
            info: Vec::new(),
        }
    }

    /// The same fault with what the peer said.
    #[must_use]
    pub fn with_condition(mut self, condition: impl Into<AmqpCondition>, description: impl Into<String>) -> Self {
        self.condition = Some(condition.into());
        self.description = Some(description.into());
        self
    }

    /// The same fault with a text of the transport's own.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// The AMQP error inside `error`, however deep.
    pub fn of(error: &Error) -> Option<&Self> {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = source {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            source = error.source();
        }
        None
    }
}

impl AmqpCondition {
    /// The condition's symbol.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Cow<'static, str>>> From<T> for AmqpCondition {
    fn from(symbol: T) -> Self {
        Self(symbol.into())
    }
}

impl fmt::Display for AmqpCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for AmqpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.scope {
            AmqpScope::Message => "the message was refused",
            AmqpScope::Link => "the link ended",
            AmqpScope::Session => "the session ended",
            AmqpScope::Connection => "the connection ended",
        };
        f.write_str(what)?;
        if let Some(condition) = &self.condition {
            write!(f, " with {condition}")?;
        }
        match &self.description {
            Some(description) if !description.is_empty() => write!(f, ": {description}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for AmqpError {}

impl From<AmqpError> for Error {
    fn from(error: AmqpError) -> Self {
        use azure_core::error::ErrorKind;
        let kind = match error.scope {
            AmqpScope::Message => ErrorKind::Other,
            AmqpScope::Link | AmqpScope::Session | AmqpScope::Connection => ErrorKind::Io,
        };
        Self::new(kind, error)
    }
}

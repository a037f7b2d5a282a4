use super::{composite::Fields, decode::DecodeError, error::AmqpError, value::Value};

/// What became of a message, by the end that received it.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Outcome {
    Accepted,
    Rejected(Option<AmqpError>),
    Released,
    Modified { undeliverable_here: bool },
}

/// How far a delivery is.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum DeliveryState {
    /// It has come to its end.
    Terminal(Outcome),
    /// It is under way, or in a state of a kind that a hub does not have, such as a transaction's.
    Other,
}

impl Outcome {
    /// The outcome's name, or the condition of a refusal.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Accepted => "accepted".to_owned(),
            Self::Rejected(Some(error)) => error.condition.clone().into_owned(),
            Self::Rejected(None) => "rejected".to_owned(),
            Self::Released => "released".to_owned(),
            Self::Modified { .. } => "modified".to_owned(),
        }
    }
}

impl DeliveryState {
    pub(super) fn read(value: Value) -> Result<Option<Self>, DecodeError> {
        if value.is_null() {
            return Ok(None);
        }
        let (code, mut fields) = Fields::of(value)?;
        Ok(Some(match code {
            ACCEPTED => Self::Terminal(Outcome::Accepted),
            REJECTED => Self::Terminal(Outcome::Rejected(fields.error())),
            RELEASED => Self::Terminal(Outcome::Released),
            MODIFIED => {
                fields.skip(1);
                Self::Terminal(Outcome::Modified {
                    undeliverable_here: fields.boolean()?.unwrap_or_default(),
                })
            }
            _ => Self::Other,
        }))
    }
}

impl From<Outcome> for DeliveryState {
    fn from(outcome: Outcome) -> Self {
        Self::Terminal(outcome)
    }
}

impl From<AmqpError> for Outcome {
    fn from(error: AmqpError) -> Self {
        Self::Rejected(Some(error))
    }
}

impl From<DeliveryState> for Value {
    fn from(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Terminal(Outcome::Accepted) => Self::composite(ACCEPTED, vec![]),
            DeliveryState::Terminal(Outcome::Rejected(error)) => Self::composite(REJECTED, vec![error.into()]),
            DeliveryState::Terminal(Outcome::Released) => Self::composite(RELEASED, vec![]),
            DeliveryState::Terminal(Outcome::Modified { undeliverable_here }) => Self::composite(
                MODIFIED,
                vec![Self::Boolean(true), Self::Boolean(undeliverable_here), Self::Null],
            ),
            DeliveryState::Other => Self::Null,
        }
    }
}

const ACCEPTED: u64 = 0x24;
const REJECTED: u64 = 0x25;
const RELEASED: u64 = 0x26;
const MODIFIED: u64 = 0x27;

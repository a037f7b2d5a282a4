use super::{AmqpError, AmqpScope};

/// What a fault asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recovery {
    /// What has to be made anew.
    pub(super) rebuild: AmqpScope,
    /// What to do after that.
    pub(super) next: Next,
}

/// What follows a fault once that which it broke is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again.
    Retry,
    /// Authorize with a new token and try again, once.
    Authorize,
    /// Leave the hub alone for a while, then try again.
    Throttle,
    /// Tell the caller: trying again is of no use, or not ours to decide.
    Surface,
}

/// Which end of a link a fault is seen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Sender,
    Receiver,
}

impl Recovery {
    pub(super) fn from(error: &AmqpError, role: Role) -> Self {
        let (least, next) = match &error.condition {
            None if error.scope == AmqpScope::Message => (AmqpScope::Message, Next::Surface),
            None => (AmqpScope::Message, Next::Retry),
            Some(condition) => Self::from_condition(condition.as_str(), error, role),
        };
        Self {
            rebuild: least.max(error.scope),
            next,
        }
    }

    fn from_condition(condition: &str, error: &AmqpError, role: Role) -> (AmqpScope, Next) {
        match condition {
            "amqp:link:detach-forced" if error.description.as_deref().is_some_and(says_busy) => {
                (AmqpScope::Link, Next::Throttle)
            }
            "amqp:link:detach-forced" => (AmqpScope::Link, Next::Retry),
            // A receiver that is thrown out by another consumer would only throw that one out in turn.
            "amqp:link:stolen" if role == Role::Receiver => (AmqpScope::Link, Next::Surface),
            "amqp:link:stolen" => (AmqpScope::Link, Next::Retry),

            "amqp:link:transfer-limit-exceeded"
            | "amqp:session:errant-link"
            | "amqp:session:handle-in-use"
            | "amqp:session:unattached-handle"
            | "amqp:session:window-violation" => (AmqpScope::Session, Next::Retry),

            "amqp:connection:forced" | "amqp:connection:framing-error" => (AmqpScope::Connection, Next::Retry),

            "amqp:unauthorized-access" => (AmqpScope::Message, Next::Authorize),

            "com.microsoft:server-busy"
            | "com.microsoft:device-container-throttled"
            | "com.microsoft:timeout"
            | "com.microsoft:operation-cancelled"
            | "amqp:internal-error" => (AmqpScope::Message, Next::Throttle),

            // Redirects included: credentials go to the configured host only. Of `amqp:resource-limit-exceeded` the
            // peers' SDKs agree that it means a full device queue, which no repetition empties. And what nobody has
            // met yet is for the caller to see.
            _ => (AmqpScope::Message, Next::Surface),
        }
    }
}

fn says_busy(description: &str) -> bool {
    let text = description.to_ascii_lowercase();
    text.contains("server busy") || text.contains("server-busy") || text.contains("serverbusy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_decides_what_is_rebuilt_and_what_follows() {
        use AmqpScope::{Connection, Link, Message, Session};
        use Next::{Authorize, Retry, Surface, Throttle};

        for (condition, seen_on, rebuild, next) in [
            ("amqp:link:detach-forced", Link, Link, Retry),
            ("amqp:link:transfer-limit-exceeded", Link, Session, Retry),
            ("amqp:session:errant-link", Session, Session, Retry),
            ("amqp:session:handle-in-use", Session, Session, Retry),
            ("amqp:session:unattached-handle", Session, Session, Retry),
            ("amqp:session:window-violation", Session, Session, Retry),
            ("amqp:connection:forced", Connection, Connection, Retry),
            ("amqp:connection:forced", Link, Connection, Retry),
            ("amqp:connection:framing-error", Connection, Connection, Retry),
            ("amqp:connection:redirect", Connection, Connection, Surface),
            ("amqp:link:redirect", Link, Link, Surface),
            ("amqp:unauthorized-access", Message, Message, Authorize),
            ("amqp:unauthorized-access", Link, Link, Authorize),
            ("amqp:unauthorized-access", Connection, Connection, Authorize),
            ("com.microsoft:server-busy", Link, Link, Throttle),
            ("com.microsoft:device-container-throttled", Message, Message, Throttle),
            ("com.microsoft:timeout", Message, Message, Throttle),
            ("amqp:internal-error", Link, Link, Throttle),
            ("com.microsoft:operation-cancelled", Message, Message, Throttle),
            ("amqp:resource-limit-exceeded", Message, Message, Surface),
            ("com.microsoft:quota-exceeded", Message, Message, Surface),
            ("com.microsoft:iot-hub-suspended", Connection, Connection, Surface),
            ("com.microsoft:iot-hub-not-found-error", Connection, Connection, Surface),
            ("com.microsoft:device-already-exists", Message, Message, Surface),
            ("com.microsoft:precondition-failed", Message, Message, Surface),
            ("amqp:link:message-size-exceeded", Message, Message, Surface),
            ("amqp:decode-error", Link, Link, Surface),
            ("amqp:invalid-field", Link, Link, Surface),
            ("amqp:not-allowed", Link, Link, Surface),
            ("amqp:not-implemented", Link, Link, Surface),
            ("amqp:not-found", Link, Link, Surface),
            ("amqp:precondition-failed", Message, Message, Surface),
            ("com.microsoft:argument-error", Message, Message, Surface),
            ("com.microsoft:argument-out-of-range", Message, Message, Surface),
            ("com.microsoft:entity-disabled", Link, Link, Surface),
            ("com.microsoft:message-lock-lost", Link, Link, Surface),
            ("vendor:never-seen", Link, Link, Surface),
        ] {
            for role in [Role::Sender, Role::Receiver] {
                let error = AmqpError::new(seen_on).with_condition(condition, "");
                assert_eq!(Recovery::from(&error, role), Recovery { rebuild, next }, "{condition}");
            }
        }
    }

    #[test]
    fn an_end_without_a_reason_is_mended_in_silence() {
        for scope in [AmqpScope::Link, AmqpScope::Session, AmqpScope::Connection] {
            let expected = Recovery {
                rebuild: scope,
                next: Next::Retry,
            };
            assert_eq!(Recovery::from(&AmqpError::new(scope), Role::Sender), expected);
        }
    }

    #[test]
    fn only_a_sender_takes_a_stolen_link_back() {
        let stolen = AmqpError::new(AmqpScope::Link).with_condition("amqp:link:stolen", "another took over");
        assert_eq!(Recovery::from(&stolen, Role::Sender).next, Next::Retry);
        assert_eq!(Recovery::from(&stolen, Role::Receiver).next, Next::Surface);
    }

    #[test]
    fn a_forced_detach_that_says_busy_is_a_throttle() {
        let busy =
            AmqpError::new(AmqpScope::Link).with_condition("amqp:link:detach-forced", "The server is busy: ServerBusy");
        assert_eq!(Recovery::from(&busy, Role::Sender).next, Next::Throttle);
    }
}

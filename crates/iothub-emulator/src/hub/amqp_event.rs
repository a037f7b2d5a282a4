use serde::Serialize;

/// What happened on an AMQP connection. Tokens and bodies are not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
#[non_exhaustive]
pub enum AmqpEvent {
    /// The peer opened the connection.
    Opened {
        /// What the peer calls itself.
        container: String,
    },
    /// A token was put on `$cbs`.
    TokenPut {
        /// The status of the answer; 200 if the token holds.
        status: i32,
    },
    /// A link was attached.
    Attached {
        /// The address, as the peer wrote it.
        address: String,
    },
    /// An attach was refused.
    AttachRefused {
        /// The address, as the peer wrote it.
        address: String,
        /// Why.
        condition: String,
    },
    /// The peer sent a message.
    Received {
        /// Where to.
        address: String,
        /// `accepted`, or the condition of the refusal.
        outcome: String,
    },
    /// The peer was sent a message.
    Sent {
        /// Where from, as the peer wrote it.
        address: String,
    },
    /// The peer said what became of a message it was sent.
    Settled {
        /// Where the message is from, as the peer wrote it.
        address: String,
        /// `accepted`, `rejected`, `released` or `modified`.
        outcome: String,
    },
    /// The hub detached a link.
    Detached {
        /// The address, as the peer wrote it.
        address: String,
        /// Why; `None` if it did not say.
        condition: Option<String>,
    },
    /// The hub ended a session.
    Ended {
        /// Why; `None` if it did not say.
        condition: Option<String>,
    },
    /// The hub closed the connection.
    Closed {
        /// Why; `None` if it did not say.
        condition: Option<String>,
    },
    /// The connection is gone, whoever ended it.
    Gone,
}

//! What can be wrong with what the hub says below the level of requests and messages.

use serde::{Deserialize, Serialize};

/// What is wrong with a frame of AMQP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FrameGarble {
    /// It says to be shorter than its own header.
    Short,
    /// It says to be longer than anybody agreed to.
    Long,
    /// Its data begins inside its header.
    Offset,
    /// It is of a type that there is not.
    Type,
    /// It ends in the middle of a list.
    Truncated,
    /// It has a list that says to have 2³² - 1 items.
    Count,
    /// It has ten thousand descriptors in each other.
    Deep,
    /// It has a text that is not UTF-8.
    NotUtf8,
    /// It is for a channel that nobody has opened.
    Channel,
    /// It is for a link that nobody has attached.
    Handle,
}

/// What is wrong with what a client hears of a message that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SettlementGarble {
    /// It comes twice.
    Twice,
    /// The one before it is about messages that were never sent.
    Unknown,
    /// It is about this message and a hundred that are not there.
    Range,
    /// It says at first that the message is not settled.
    UnsettledFirst,
    /// It comes when the hub has detached the link.
    AfterDetach,
}

/// What is wrong with a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WebSocketGarble {
    /// A text message comes first.
    Text,
    /// Every message comes in fragments of a few bytes.
    Fragments,
    /// A hundred pings come before every message.
    Pings,
    /// It is closed with 1001, going away, before anything is said.
    GoingAway,
    /// It is closed with 1011, an unexpected condition, before anything is said.
    Failing,
}

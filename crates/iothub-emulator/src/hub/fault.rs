mod garble;

use std::time::Duration;

use iothub_core::{HubErrorCode, Result};
use serde::{Deserialize, Serialize, Serializer};

pub use self::garble::{FrameGarble, SettlementGarble, WebSocketGarble};
use super::options::wrong;

/// One thing that can go wrong, by name.
///
/// As JSON a fault is an object with its `name` in kebab case and its fields in camel case, such as
/// `{"name":"cut-answer","after":10}`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(
    tag = "name",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
#[non_exhaustive]
pub enum Fault {
    /// A request or a message is refused before anything happens.
    Refuse {
        /// With this code.
        #[serde(serialize_with = "by_name")]
        code: HubErrorCode,
        /// What stands in the header `Retry-After`, whatever it is. Without it there is no such header, as at the hub.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<String>,
    },
    /// A request or a message is carried out. The connection ends instead of an answer; of a message nobody hears.
    LoseAnswer,
    /// Nothing happens. The connection ends instead of an answer; of a message nobody hears.
    LoseRequest,
    /// A message over AMQP is not taken, and gets this outcome.
    ReturnMessage {
        /// Which.
        outcome: ReturnedAs,
    },
    /// A request is answered with a redirect, and does nothing.
    Redirect {
        /// Where to.
        location: String,
        /// From 300 to 399. Without it, 307.
        #[serde(default = "temporary")]
        status: u16,
    },
    /// A request is carried out, and answered so much later by the hub's clock.
    DelayAnswer {
        /// How much.
        #[serde(with = "humantime_serde")]
        by: Duration,
    },
    /// A request is carried out, and the body of the answer comes slowly.
    SlowAnswer {
        /// How slowly; at least 1.
        bytes_per_second: u32,
    },
    /// A request is carried out, and the connection ends in the middle of the body of the answer.
    CutAnswer {
        /// After so many bytes of the body.
        after: usize,
    },
    /// A request is carried out, and the answer makes no sense.
    GarbleAnswer {
        /// What is wrong with it.
        kind: Garble,
    },
    /// A request is carried out, and its connection takes no further ones: HTTP/2 says so with a GOAWAY.
    GoAway,
    /// A request for the next page is answered with the continuation that it came with.
    RepeatContinuation,
    /// A request for the next page is answered with an empty one, and another continuation to the same place.
    EmptyPage,
    /// A request for a token is refused, at the token endpoint or at one of managed identities.
    RefuseTokenRequest {
        /// With this status, from 400 to 599.
        status: u16,
        /// What stands in the header `Retry-After`, whatever it is. Without it there is no such header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<String>,
    },
    /// A connection is reset when it has just been accepted.
    RefuseConnection,
    /// A connection is reset.
    CutConnection {
        /// When so many bytes of TLS came from the client. Without this and the other, at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_read: Option<u64>,
        /// When so many bytes of TLS went to the client.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_written: Option<u64>,
    },
    /// A connection stays open, and nobody reads from it or writes to it any more.
    SilenceConnection {
        /// When so many bytes of TLS came from the client. Without this and the other, at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_read: Option<u64>,
        /// When so many bytes of TLS went to the client.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_written: Option<u64>,
    },
    /// A connection carries so much in each direction, and no more.
    SlowConnection {
        /// How much; at least 1.
        bytes_per_second: u32,
    },
    /// What the hub says on a connection goes out byte by byte.
    SplitConnection,
    /// A connection is shown a certificate with something wrong.
    Certificate {
        /// What.
        flaw: CertificateFlaw,
    },
    /// A connection speaks TLS 1.2, and nothing newer.
    OldTls,
    /// A client that speaks AMQP is told that another protocol is spoken here: an older AMQP.
    RefuseProtocol {
        /// It is not an older one, but the security layer, without which nothing goes.
        #[serde(default)]
        sasl: bool,
    },
    /// The security layer of an AMQP connection ends with a refusal.
    RefuseSasl {
        /// From 1 to 4: not authenticated, and three kinds of an error of the system, of which the last may pass.
        outcome: u8,
    },
    /// The hub's open of an AMQP connection has another idle time-out than a hub's.
    IdleTimeOut {
        /// Without it, none. From 100 on the hub keeps to it, and gives up a client that is silent for so long.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        milliseconds: Option<u32>,
    },
    /// A session of AMQP takes so many frames with messages at once; none at all, if that is 0.
    LimitWindow {
        /// How many.
        frames: u32,
    },
    /// A link on which a client sends gets so much credit at once; none at all, if that is 0.
    LimitCredit {
        /// Part of the address, whatever the case; any link without it.
        #[serde(default)]
        address: String,
        /// How much.
        credit: u32,
    },
    /// A link is refused, and its client led to another host.
    RedirectLink {
        /// Part of the address, whatever the case; any link without it.
        #[serde(default)]
        address: String,
        /// Where to.
        host: String,
        /// Without it, 5671.
        #[serde(default = "amqps")]
        port: u16,
    },
    /// A message over AMQP is taken, and what the client hears of that is odd.
    GarbleSettlement {
        /// In which way.
        kind: SettlementGarble,
    },
    /// A WebSocket is refused.
    RefuseUpgrade {
        /// With this status, from 400 to 599.
        status: u16,
    },
    /// A WebSocket is agreed to with another subprotocol than the one that was asked for.
    AnswerSubprotocol {
        /// Without it, with none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        protocol: Option<String>,
    },
    /// What comes over a WebSocket is odd.
    GarbleWebSocket {
        /// In which way.
        kind: WebSocketGarble,
    },
}

/// What a client hears of a message that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ReturnedAs {
    /// `released`
    Released,
    /// `modified`
    Modified,
    /// `modified`, undeliverable here
    Undeliverable,
    /// `rejected` without a reason
    Rejected,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Garble {
    /// It has no body.
    Empty,
    /// It is `null`.
    Null,
    /// It is a JSON array of a string, whatever was asked for.
    WrongType,
    /// It is half of a JSON text.
    Truncated,
    /// It is JSON with bytes that are not UTF-8.
    NotUtf8,
    /// It begins with a byte order mark.
    ByteOrderMark,
    /// It is a hundred thousand arrays in each other.
    Deep,
    /// It is a page of HTML, with status 502, as a gateway has it.
    Html,
    /// It says to be plain text.
    ContentType,
    /// It has a header of 100 KiB.
    LongHeader,
    /// It has three hundred headers more.
    ManyHeaders,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CertificateFlaw {
    /// It was valid until yesterday.
    Expired,
    /// It is valid from tomorrow on.
    NotYetValid,
    /// It is for another host.
    OtherHost,
    /// It was signed by an authority that nobody knows.
    UnknownAuthority,
    /// Nothing: it is another good one.
    Renewed,
}

/// What a fault happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim<'a> {
    /// A request over HTTPS.
    Request {
        /// Whether it is for the next page of an answer.
        continues: bool,
    },
    /// A message over AMQP.
    Message,
    /// A request for an access token.
    TokenRequest,
    /// A connection, when it is accepted.
    Connection,
    /// An AMQP connection, when it is opened.
    Opening,
    /// A session, when it begins.
    Session,
    /// A link, when it is attached.
    Link {
        address: &'a str,
        /// Whether the client sends on it.
        takes: bool,
    },
    /// A request for a WebSocket.
    Upgrade,
}

impl Fault {
    /// The name that it has in JSON and in the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refuse { .. } => "refuse",
            Self::LoseAnswer => "lose-answer",
            Self::LoseRequest => "lose-request",
            Self::ReturnMessage { .. } => "return-message",
            Self::Redirect { .. } => "redirect",
            Self::DelayAnswer { .. } => "delay-answer",
            Self::SlowAnswer { .. } => "slow-answer",
            Self::CutAnswer { .. } => "cut-answer",
            Self::GarbleAnswer { .. } => "garble-answer",
            Self::GoAway => "go-away",
            Self::RepeatContinuation => "repeat-continuation",
            Self::EmptyPage => "empty-page",
            Self::RefuseTokenRequest { .. } => "refuse-token-request",
            Self::RefuseConnection => "refuse-connection",
            Self::CutConnection { .. } => "cut-connection",
            Self::SilenceConnection { .. } => "silence-connection",
            Self::SlowConnection { .. } => "slow-connection",
            Self::SplitConnection => "split-connection",
            Self::Certificate { .. } => "certificate",
            Self::OldTls => "old-tls",
            Self::RefuseProtocol { .. } => "refuse-protocol",
            Self::RefuseSasl { .. } => "refuse-sasl",
            Self::IdleTimeOut { .. } => "idle-time-out",
            Self::LimitWindow { .. } => "limit-window",
            Self::LimitCredit { .. } => "limit-credit",
            Self::RedirectLink { .. } => "redirect-link",
            Self::GarbleSettlement { .. } => "garble-settlement",
            Self::RefuseUpgrade { .. } => "refuse-upgrade",
            Self::AnswerSubprotocol { .. } => "answer-subprotocol",
            Self::GarbleWebSocket { .. } => "garble-web-socket",
        }
    }

    pub(super) fn happens_to(&self, victim: Victim<'_>) -> bool {
        match self {
            Self::Refuse { .. } | Self::LoseAnswer | Self::LoseRequest => {
                matches!(victim, Victim::Request { .. } | Victim::Message)
            }
            Self::RefuseTokenRequest { .. } => victim == Victim::TokenRequest,
            Self::ReturnMessage { .. } | Self::GarbleSettlement { .. } => victim == Victim::Message,
            Self::Redirect { .. }
            | Self::DelayAnswer { .. }
            | Self::SlowAnswer { .. }
            | Self::CutAnswer { .. }
            | Self::GarbleAnswer { .. }
            | Self::GoAway => matches!(victim, Victim::Request { .. }),
            Self::RepeatContinuation | Self::EmptyPage => victim == Victim::Request { continues: true },
            Self::RefuseConnection
            | Self::CutConnection { .. }
            | Self::SilenceConnection { .. }
            | Self::SlowConnection { .. }
            | Self::SplitConnection
            | Self::Certificate { .. }
            | Self::OldTls => victim == Victim::Connection,
            Self::RefuseProtocol { .. } | Self::RefuseSasl { .. } | Self::IdleTimeOut { .. } => {
                victim == Victim::Opening
            }
            Self::LimitWindow { .. } => victim == Victim::Session,
            Self::LimitCredit { address: part, .. } => {
                matches!(victim, Victim::Link { address, takes: true } if contains(address, part))
            }
            Self::RedirectLink { address: part, .. } => {
                matches!(victim, Victim::Link { address, .. } if contains(address, part))
            }
            Self::RefuseUpgrade { .. } | Self::AnswerSubprotocol { .. } | Self::GarbleWebSocket { .. } => {
                victim == Victim::Upgrade
            }
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::SlowAnswer { bytes_per_second: 0 } | Self::SlowConnection { bytes_per_second: 0 } => {
                Err(wrong(format!(
                    "{}: bytesPerSecond is at least 1; silence-connection has none",
                    self.name()
                )))
            }
            Self::Redirect { status, .. } if !(300..400).contains(status) => Err(wrong(format!(
                "redirect: status is {status}, and has to be from 300 to 399"
            ))),
            Self::RefuseTokenRequest { status, .. } | Self::RefuseUpgrade { status }
                if !(400..600).contains(status) =>
            {
                Err(wrong(format!(
                    "{}: status is {status}, and has to be from 400 to 599",
                    self.name()
                )))
            }
            Self::RefuseSasl { outcome } if !(1..=4).contains(outcome) => Err(wrong(format!(
                "refuse-sasl: outcome is {outcome}, and has to be from 1 to 4"
            ))),
            _ => Ok(()),
        }
    }
}

fn by_name<S: Serializer>(code: &HubErrorCode, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(code.as_str())
}

fn contains(address: &str, part: &str) -> bool {
    address.to_ascii_lowercase().contains(&part.to_ascii_lowercase())
}

fn amqps() -> u16 {
    5671
}

fn temporary() -> u16 {
    307
}

//! The built-in endpoint, where what devices send is read as from an event hub.
//!
//! `/messages/events/…` is how a hub calls it, and where it only says where to go: in Azure to a namespace of Event Hubs,
//! here to the same door, where the event hub has a name of its own.

mod events;
mod filter;
mod management;

use std::sync::Arc;

use super::{
    address::Address,
    error::{AmqpError, condition},
    node::{Access, LinkRequest, Source, Target},
    peer::Peer,
    value::Value,
};
use crate::hub::{DataAction, telemetry::TelemetryEvent};

/// What there is in an event hub.
enum Node<'a> {
    /// Itself.
    Root,
    /// Where one asks what partitions there are and what they hold.
    Management,
    Partition {
        group: &'a str,
        partition: &'a str,
    },
}

/// What a peer that wants to ask about the event hub attaches to; `None` if there is no such address.
pub(crate) fn target(
    request: &LinkRequest<'_>,
    address: &Address<'_>,
    peer: &Arc<Peer>,
) -> Result<Option<Target>, AmqpError> {
    match find(address, peer)? {
        Some(Node::Management) => management::target(request, peer).map(Some),
        Some(Node::Root | Node::Partition { .. }) | None => Ok(None),
    }
}

/// What a peer that wants to read attaches to; `None` if there is no such address.
pub(crate) fn source(
    request: &LinkRequest<'_>,
    address: &Address<'_>,
    peer: &Arc<Peer>,
) -> Result<Option<Source>, AmqpError> {
    match find(address, peer)? {
        Some(Node::Management) => management::source(request, peer).map(Some),
        Some(Node::Partition { group, partition }) => events::source(request, group, partition, peer).map(Some),
        Some(Node::Root) | None => Ok(None),
    }
}

/// Finds the node, or says where it is to be found.
fn find<'a>(address: &'a Address<'_>, peer: &Peer) -> Result<Option<Node<'a>>, AmqpError> {
    let event_hub = peer.hub.event_hub();
    if address.is("$management") {
        return Ok(Some(Node::Management));
    }
    let Some(name) = address.segments().first().copied() else {
        return Ok(None);
    };
    if name.eq_ignore_ascii_case(&event_hub) {
        return Ok(node(&address.segments()[1..]));
    }
    let Some(below) = address.below("messages/events") else {
        return Ok(None);
    };
    let Some(node) = node(&below.segments()).map(|node| node.path()) else {
        return Ok(None);
    };
    peer.check(&Access::Needs {
        action: DataAction::ReadTelemetry,
        resource: "messages/events".to_owned(),
    })?;
    Err(redirect(peer, &format!("{event_hub}{node}")))
}

fn node<'a>(segments: &[&'a str]) -> Option<Node<'a>> {
    let is = |text: &str, expected| text.eq_ignore_ascii_case(expected);
    match *segments {
        [] => Some(Node::Root),
        [management] if is(management, "$management") => Some(Node::Management),
        [groups, group, partitions, partition] if is(groups, "ConsumerGroups") && is(partitions, "Partitions") => {
            Some(Node::Partition { group, partition })
        }
        _ => None,
    }
}

impl Node<'_> {
    /// The path below the event hub.
    fn path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Management => "/$management".to_owned(),
            Self::Partition { group, partition } => format!("/ConsumerGroups/{group}/Partitions/{partition}"),
        }
    }

    fn access(&self, peer: &Peer) -> Access {
        Access::Needs {
            action: DataAction::ReadTelemetry,
            resource: format!("{}{}", peer.hub.event_hub(), self.path()),
        }
    }
}

/// What clients show as the last enqueued event of a partition; the next one gets the number `next`.
fn last_enqueued(next: u64, last: Option<&TelemetryEvent>) -> [(&'static str, Value); 3] {
    let offset = last.map_or("-1".to_owned(), |event| event.offset.to_string());
    let time = last.map_or(Value::Timestamp(0), |event| event.enqueued_time.into());
    [
        ("last_enqueued_sequence_number", Value::Long(long(next) - 1)),
        ("last_enqueued_offset", Value::String(offset)),
        ("last_enqueued_time_utc", time),
    ]
}

/// A number as Event Hubs write it.
fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn redirect(peer: &Peer, path: &str) -> AmqpError {
    redirect_to(peer.hub.name(), peer.hub.amqps_port(), path)
}

/// Leads a client to a path on a host.
pub(super) fn redirect_to(host: &str, port: u16, path: &str) -> AmqpError {
    let text = format!("the event hub is {path}");
    let mut error = AmqpError::new(condition::REDIRECT, text);
    error.info = vec![
        ("hostname".to_owned(), Value::string(host)),
        ("network-host".to_owned(), Value::string(host)),
        ("port".to_owned(), Value::Uint(port.into())),
        (
            "address".to_owned(),
            Value::string(format!("amqps://{host}:{port}/{path}")),
        ),
    ];
    error
}

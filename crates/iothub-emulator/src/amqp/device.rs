//! `/devices/{id}[/modules/{id}]/…`: the links of devices, of which many can share a connection.

mod events;
mod messages;
mod methods;
mod twin;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use self::twin::TwinReplies;
use super::{
    address::Address,
    error::{AmqpError, condition},
    node::{self, Access, LinkRequest, Terminus},
    pairs::Pairs,
    peer::Peer,
    value::Value,
};
use crate::hub::{Failure, Session, Target, sessions::SessionEnd};

/// The devices and modules that one connection speaks for.
#[derive(Default)]
pub(crate) struct Devices(Mutex<HashMap<Target, Weak<Line>>>);

/// A device at the other end. It is connected as long as one of its links is there.
struct Line {
    session: Session,
    twin_replies: Pairs<TwinReplies>,
}

/// What a device that wants to send attaches to; `None` if there is no such address.
pub(crate) fn target(
    request: &LinkRequest<'_>,
    address: &Address<'_>,
    peer: &Arc<Peer>,
) -> Result<Option<node::Target>, AmqpError> {
    let Some((device, module, below)) = address.below_device() else {
        return Ok(None);
    };
    let open = if below.is("messages/events") {
        events::target
    } else if below.is("methods/devicebound") {
        methods::target
    } else if below.is("twin") {
        twin::target
    } else {
        return Ok(None);
    };
    attach((device, module), request, peer, |line| open(request, line, peer)).map(Some)
}

/// What a device that wants to receive attaches to; `None` if there is no such address.
pub(crate) fn source(
    request: &LinkRequest<'_>,
    address: &Address<'_>,
    peer: &Arc<Peer>,
) -> Result<Option<node::Source>, AmqpError> {
    let Some((device, module, below)) = address.below_device() else {
        return Ok(None);
    };
    let open = if below.is("messages/devicebound") {
        messages::source
    } else if below.is("messages/events") {
        events::inputs
    } else if below.is("methods/devicebound") {
        methods::source
    } else if below.is("twin") {
        twin::source
    } else {
        return Ok(None);
    };
    attach((device, module), request, peer, |line| open(request, line)).map(Some)
}

/// Attaches a link of a device, which makes it connected if it was not.
fn attach<N>(
    (device, module): (&str, Option<&str>),
    request: &LinkRequest<'_>,
    peer: &Peer,
    open: impl FnOnce(&Arc<Line>) -> N,
) -> Result<Terminus<N>, AmqpError> {
    let target = Target::parse(device, module)?;
    // Before anything happens: a stranger must not end the connection of a device.
    peer.admit(&target)?;
    let line = peer.devices.line(peer, &target)?;
    if let Some(model) = request.property("com.microsoft:model-id").and_then(Value::as_text) {
        line.session.announce_model(model)?;
    }
    let access = Access::Device(target);
    let end = line.session.ending();
    let terminus = Terminus::new(open(&line), access);
    Ok(terminus.until(async move { ended(end.await) }))
}

impl Devices {
    fn line(&self, peer: &Peer, target: &Target) -> Result<Arc<Line>, Failure> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lines.get(target).and_then(Weak::upgrade);
        if let Some(line) = known.filter(|line| line.session.end().is_none()) {
            return Ok(line);
        }
        let session = peer.hub.connect(target, peer.door)?;
        session.broken_by(peer.breaker.clone());
        let line = Arc::new(Line {
            session,
            twin_replies: Pairs::default(),
        });
        lines.retain(|_, line| line.strong_count() > 0);
        lines.insert(target.clone(), Arc::downgrade(&line));
        Ok(line)
    }
}

impl Line {
    /// Why something was refused: the end of the session, where that is the reason.
    fn refusal(&self, failure: Failure) -> AmqpError {
        self.session.end().map_or_else(|| failure.into(), ended)
    }
}

/// What a device is told when the hub ends its session. All but a lost identity are conditions to come back after.
fn ended(end: SessionEnd) -> AmqpError {
    let (condition, text) = match end {
        SessionEnd::TakenOver => (condition::STOLEN, "the device connected again"),
        SessionEnd::Deleted => ("amqp:not-found", "the identity was deleted"),
        SessionEnd::Disabled => ("amqp:unauthorized-access", "the device was disabled"),
        SessionEnd::TooSlow => (
            "amqp:link:detach-forced",
            "the device did not take what it asked to be sent",
        ),
        SessionEnd::Disconnected => ("amqp:link:detach-forced", "somebody asked for it"),
    };
    AmqpError::new(condition, text)
}

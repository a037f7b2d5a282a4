//! Every address that the hub has.

use std::sync::Arc;

use super::{
    address::Address,
    cbs, device, device_bound,
    error::{AmqpError, condition},
    event_hub,
    node::{LinkRequest, Source, Target},
    peer::Peer,
    service_bound,
};

/// What a peer that wants to send attaches to.
pub(crate) fn target(request: &LinkRequest<'_>, peer: &Arc<Peer>) -> Result<Target, AmqpError> {
    let address = Address::parse(request.address);
    let target = if address.is("$cbs") {
        cbs::target(request, peer)
    } else if address.is("messages/devicebound") {
        device_bound::target(peer)
    } else if let Some(target) = device::target(request, &address, peer)? {
        target
    } else if let Some(target) = event_hub::target(request, &address, peer)? {
        target
    } else {
        return Err(nothing(request, peer, "nothing can be sent to"));
    };
    peer.check(&target.access)?;
    Ok(target)
}

/// What a peer that wants to receive attaches to.
pub(crate) fn source(request: &LinkRequest<'_>, peer: &Arc<Peer>) -> Result<Source, AmqpError> {
    let address = Address::parse(request.address);
    let source = if address.is("$cbs") {
        cbs::source(request, peer)
    } else if address.is("messages/servicebound/feedback") {
        service_bound::feedback(peer)
    } else if address.is("messages/servicebound/filenotifications")
        // What documentation calls it; every client goes to the other one.
        || address.is("messages/servicebound/fileuploadnotifications")
    {
        service_bound::file_notifications(peer)
    } else if let Some(source) = device::source(request, &address, peer)? {
        source
    } else if let Some(source) = event_hub::source(request, &address, peer)? {
        source
    } else {
        return Err(nothing(request, peer, "nothing can be received from"));
    };
    peer.check(&source.access)?;
    Ok(source)
}

/// A stranger does not learn which addresses there are.
fn nothing(request: &LinkRequest<'_>, peer: &Peer, what: &str) -> AmqpError {
    if peer.is_unknown() {
        let text = "put a token on $cbs before attaching to anything else";
        return AmqpError::new(condition::UNAUTHORIZED, text);
    }
    let shown: String = request.address.chars().take(256).collect();
    AmqpError::new(condition::NOT_FOUND, format!("{what} {shown:?}"))
}

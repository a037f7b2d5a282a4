use std::{collections::HashMap, future::ready, time::Instant};

use bytes::Bytes;
use futures::FutureExt;
use tracing::info;

use super::{
    directory,
    error::{AmqpError, condition},
    event_hub,
    link::{End, IncomingLink, Link, MAX_MESSAGE_SIZE, OutgoingLink},
    node::{LinkRequest, OutgoingMessage, Settlement},
    outbox::{FIRST_ID, Outbox},
    outcome::{DeliveryState, Outcome},
    performative::{
        self, Attach, Begin, Detach, Disposition, Flow, Performative, ReceiverSettleMode, Role, SenderSettleMode,
        Transfer,
    },
    value::Value,
    wire::{LinkKey, Wake, Wire},
};
use crate::hub::{AmqpEvent, Fault, Victim, fault::SettlementGarble};

/// One session of a connection.
///
/// Our channel and our handles have the numbers that the peer chose for its own.
pub(super) struct Session {
    channel: u16,
    next_incoming_id: u32,
    incoming_window: u32,
    /// How much that is when nothing is under way.
    window: u32,
    outbox: Outbox,
    /// Null is a link that we have detached and the peer has not.
    links: HashMap<u32, Option<Link>>,
}

/// A rule that the peer broke, and what ends because of that.
pub(super) enum Violation {
    Session(AmqpError),
    Connection(AmqpError),
}

impl Session {
    /// Answers a begin.
    pub(super) fn begin(channel: u16, begin: &Begin, wire: &mut Wire) -> Self {
        let window = match wire.peer.hub.fault_for(Victim::Session) {
            Some(Fault::LimitWindow { frames }) => frames,
            _ => WINDOW,
        };
        let session = Self {
            channel,
            next_incoming_id: begin.next_outgoing_id,
            incoming_window: window,
            window,
            outbox: Outbox::new(channel, begin.incoming_window),
            links: HashMap::new(),
        };
        let answer = Begin {
            remote_channel: Some(channel),
            next_outgoing_id: FIRST_ID,
            incoming_window: window,
            outgoing_window: begin.incoming_window,
            handle_max: HANDLE_MAX,
        };
        wire.send(channel, Performative::Begin(answer));
        session
    }

    pub(super) fn attach(&mut self, attach: Attach, wire: &mut Wire) -> Result<(), Violation> {
        if attach.handle > HANDLE_MAX {
            let text = format!("the handle {} is larger than {HANDLE_MAX}", attach.handle);
            return Err(Violation::Connection(AmqpError::new(condition::FRAMING_ERROR, text)));
        }
        match self.links.get(&attach.handle) {
            // A refusal of ours is still on its way to the peer.
            Some(None) => return Ok(()),
            Some(Some(_)) => {
                let text = format!("the handle {} is in use", attach.handle);
                return Err(Violation::Session(AmqpError::new(condition::HANDLE_IN_USE, text)));
            }
            None => {}
        }
        let is_sender = attach.role == Role::Sender;
        self.steal(&attach.name, is_sender, wire);
        let key = wire.key(self.channel, attach.handle);
        let (ours, theirs) = if is_sender {
            (&attach.target, &attach.source)
        } else {
            (&attach.source, &attach.target)
        };
        let request = LinkRequest {
            address: performative::address(ours).unwrap_or_default(),
            peer_address: performative::address(theirs),
            session: self.channel,
            desired: &attach.desired_capabilities,
            properties: &attach.properties,
            source: &attach.source,
        };
        let address = request.address.to_owned();
        let fault = wire.peer.hub.fault_for(Victim::Link {
            address: &address,
            takes: is_sender,
        });
        let opened = if let Some(Fault::RedirectLink { host, port, .. }) = &fault {
            Err(event_hub::redirect_to(host, *port, &address))
        } else if wire.links >= MAX_LINKS {
            let text = format!("a connection carries at most {MAX_LINKS} links");
            Err(AmqpError::new(condition::RESOURCE_LIMIT_EXCEEDED, text))
        } else if is_sender {
            let limit = match fault {
                Some(Fault::LimitCredit { credit, .. }) => Some(credit),
                _ => None,
            };
            directory::target(&request, &wire.peer).map(|target| {
                let end = IncomingLink::new(target.node, limit);
                (End::Target(end), target.access, target.end)
            })
        } else {
            let settled = attach.snd_settle_mode == SenderSettleMode::Settled;
            directory::source(&request, &wire.peer).map(|source| {
                (
                    End::Source(OutgoingLink::new(source.node, settled)),
                    source.access,
                    source.end,
                )
            })
        };
        match opened {
            Ok((end, access, ended)) => {
                wire.peer.record(AmqpEvent::Attached {
                    address: address.clone(),
                });
                let link = Link::new(key, (attach.name.clone(), address), access, end, ended, wire);
                wire.links += 1;
                wire.send(self.channel, Performative::Attach(Box::new(answer(attach))));
                self.links.insert(key.handle, Some(link));
                self.top_up(key.handle, wire);
            }
            Err(error) => {
                wire.peer.record(AmqpEvent::AttachRefused {
                    address,
                    condition: error.condition.clone().into_owned(),
                });
                self.refuse(attach, error, wire);
            }
        }
        Ok(())
    }

    pub(super) fn flow(&mut self, flow: &Flow, wire: &mut Wire) -> Result<(), Violation> {
        self.next_incoming_id = flow.next_outgoing_id;
        self.outbox.update(flow);
        if let Some(handle) = flow.handle {
            if let Some(Link { end, .. }) = self.link(handle)? {
                let nothing_to_drain = match end {
                    End::Target(_) => false,
                    End::Source(link) => {
                        link.update(flow);
                        !link.has_credit() && link.drained()
                    }
                };
                if flow.echo || nothing_to_drain {
                    self.send_flow(Some(handle), nothing_to_drain, wire);
                }
            }
        } else if flow.echo {
            self.send_flow(None, false, wire);
        }
        self.pump(wire);
        Ok(())
    }

    pub(super) fn transfer(&mut self, transfer: &Transfer, payload: Bytes, wire: &mut Wire) -> Result<(), Violation> {
        self.incoming_window = self.incoming_window.checked_sub(1).ok_or_else(|| {
            Violation::Session(AmqpError::new(
                condition::WINDOW_VIOLATION,
                "a transfer came beyond the window",
            ))
        })?;
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        if self.incoming_window <= self.window / 2 {
            self.incoming_window = self.window;
            self.send_flow(None, false, wire);
        }
        let handle = transfer.handle;
        let Some(link) = self.link(handle)? else {
            return Ok(());
        };
        let key = link.key;
        let End::Target(end) = &mut link.end else {
            let text = "a transfer came on a link on which we send";
            return Err(Violation::Session(AmqpError::new(condition::NOT_ALLOWED, text)));
        };
        let arrived = match end.receive(transfer, payload, wire) {
            Ok(Some(arrived)) => arrived,
            Ok(None) => {
                self.top_up(handle, wire);
                return Ok(());
            }
            Err(error) => {
                self.detach(handle, Some(error), wire);
                return Ok(());
            }
        };
        let (delivery_id, settled) = (arrived.delivery_id, arrived.settled);
        let started = Instant::now();
        let settlement = end.node().deliver(arrived.message);
        info!(
            connection = wire.peer.connection,
            address = link.address,
            status = settlement.name(),
            micros = started.elapsed().as_micros(),
            "message"
        );
        let (outcome, garble) = match settlement {
            Settlement::Now(outcome) if wire.peer.hub.is_persisted() => {
                self.settle(delivery_id, settled, outcome, wire);
                self.top_up(handle, wire);
                return Ok(());
            }
            Settlement::Now(outcome) => (ready(outcome).boxed(), None),
            Settlement::Later(outcome) => (outcome, None),
            Settlement::Garbled(outcome, garble) => (ready(outcome).boxed(), Some(garble)),
            Settlement::Never => {
                wire.is_broken = true;
                return Ok(());
            }
        };
        end.hold();
        let hub = wire.peer.hub.clone();
        wire.waiting.push(Box::pin(async move {
            let outcome = outcome.await;
            // The peer hears of it when what the node did is there for good.
            let persisted = hub.persisted().await;
            Wake::Settled {
                link: key,
                delivery_id,
                settled,
                garble,
                outcome: persisted.map_or_else(|failure| AmqpError::from(failure).into(), |()| outcome),
            }
        }));
        self.top_up(handle, wire);
        Ok(())
    }

    /// The peer says what became of deliveries.
    pub(super) fn disposition(&mut self, disposition: &Disposition, wire: &mut Wire) {
        // About its own deliveries there is nothing to learn: we settle them first.
        if disposition.role == Role::Sender {
            return;
        }
        let outcome = match &disposition.state {
            Some(DeliveryState::Terminal(outcome)) => outcome.clone(),
            _ if disposition.settled => Outcome::Released,
            _ => return,
        };
        let last = disposition.last.unwrap_or(disposition.first);
        for answer in self.outbox.settle(disposition.first, last, &outcome) {
            let Some(Some(link)) = self.links.get(&answer.handle) else {
                continue;
            };
            wire.peer.record(AmqpEvent::Settled {
                address: link.address.clone(),
                outcome: outcome.name(),
            });
            if !disposition.settled {
                wire.confirm(link.key, answer);
            }
        }
        self.pump(wire);
    }

    /// The peer detaches a link, or answers that we did.
    ///
    /// A detach of nothing is passed over, as Microsoft's own servers do: clients that are refused tend to detach twice.
    pub(super) fn detached(&mut self, detach: &Detach, wire: &mut Wire) {
        let Some(Some(link)) = self.links.remove(&detach.handle) else {
            return;
        };
        self.forget(&link, wire);
        let answer = Detach {
            handle: detach.handle,
            closed: detach.closed,
            error: None,
        };
        wire.send(self.channel, Performative::Detach(answer));
    }

    /// Something happened that one of the session's links waited for.
    pub(super) fn wake(&mut self, wake: Wake, wire: &mut Wire) {
        match wake {
            Wake::Message { link, wait, .. } if !self.end_wait(link, wait) => wake.give_back(),
            Wake::Message { link, next, .. } => self.answer_of_source(link.handle, next, wire),
            Wake::Ended { link: key, error } => {
                let link = self.links.get(&key.handle).and_then(Option::as_ref);
                if error.is_some() && link.is_some_and(|link| link.key == key) {
                    self.detach(key.handle, error, wire);
                }
            }
            Wake::Settled {
                link: key,
                delivery_id,
                settled,
                garble,
                outcome,
            } => {
                let link = self.links.get_mut(&key.handle).and_then(Option::as_mut);
                let Some(link) = link.filter(|link| link.key == key) else {
                    return;
                };
                if let End::Target(end) = &mut link.end {
                    end.let_go();
                }
                match garble {
                    Some(garble) => self.settle_oddly((key.handle, delivery_id), outcome, garble, wire),
                    None => self.settle(delivery_id, settled, outcome, wire),
                }
                self.top_up(key.handle, wire);
            }
            Wake::Confirmed { confirmation, .. } => wire.send(self.channel, Performative::Disposition(confirmation)),
        }
    }

    /// Writes what waits for window, then asks the sources of links with credit.
    pub(super) fn pump(&mut self, wire: &mut Wire) {
        self.outbox.write(wire);
        if wire.is_full() {
            wire.is_stalled = true;
            return;
        }
        if self.outbox.is_full() {
            return;
        }
        for link in self.links.values_mut().flatten() {
            if let End::Source(end) = &mut link.end {
                end.ask(link.key, wire);
            }
        }
    }

    /// Detaches every link that may no longer be.
    pub(super) fn detach_unauthorized(&mut self, wire: &mut Wire) {
        let links: Vec<_> = self.links.values().flatten().collect();
        let refused: Vec<_> = links
            .into_iter()
            .filter_map(|link| Some((link.key.handle, wire.peer.check(&link.access).err()?)))
            .collect();
        for (handle, failure) in refused {
            self.detach(handle, Some(failure.into()), wire);
        }
    }

    pub(super) fn has_link(&self, like: impl Fn(&Link) -> bool) -> bool {
        self.links.values().flatten().any(like)
    }

    /// Detaches every link that is like this.
    pub(super) fn detach_matching(&mut self, like: impl Fn(&Link) -> bool, error: Option<&AmqpError>, wire: &mut Wire) {
        let links = self.links.values().flatten();
        let matching = links.filter(|link| like(link));
        let handles: Vec<u32> = matching.map(|link| link.key.handle).collect();
        for handle in handles {
            self.detach(handle, error.cloned(), wire);
        }
    }

    /// Gives up everything the session holds.
    pub(super) fn end(mut self, wire: &mut Wire) {
        for link in std::mem::take(&mut self.links).values().flatten() {
            self.forget(link, wire);
        }
    }

    /// Whether the link still waits for this answer of its source. It does not any more, then.
    fn end_wait(&mut self, key: LinkKey, wait: u64) -> bool {
        let link = self.links.get_mut(&key.handle).and_then(Option::as_mut);
        match link.filter(|link| link.key == key).map(|link| &mut link.end) {
            Some(End::Source(end)) => end.answered(wait),
            _ => false,
        }
    }

    fn answer_of_source(&mut self, handle: u32, next: Option<Result<OutgoingMessage, AmqpError>>, wire: &mut Wire) {
        match next {
            Some(Ok(message)) => self.send(handle, message, wire),
            Some(Err(error)) => self.detach(handle, Some(error), wire),
            None => {
                if let Some(Some(Link {
                    end: End::Source(end), ..
                })) = self.links.get_mut(&handle)
                    && end.drained()
                {
                    self.send_flow(Some(handle), true, wire);
                }
            }
        }
        self.pump(wire);
    }

    fn send(&mut self, handle: u32, message: OutgoingMessage, wire: &mut Wire) {
        let Some(Some(Link {
            address,
            end: End::Source(end),
            ..
        })) = self.links.get_mut(&handle)
        else {
            return;
        };
        wire.peer.record(AmqpEvent::Sent {
            address: address.clone(),
        });
        end.spend();
        self.outbox.push(handle, end.settled, &end.node, message);
        let drained = !end.has_credit() && end.drained();
        self.pump(wire);
        if drained {
            self.send_flow(Some(handle), true, wire);
        }
    }

    /// Tells the peer what became of its delivery, unless it does not want to know.
    fn settle(&mut self, delivery_id: u32, settled: bool, outcome: Outcome, wire: &mut Wire) {
        if !settled {
            self.dispose((delivery_id, delivery_id), true, outcome, wire);
        }
    }

    /// The same, in a way that no hub has.
    fn settle_oddly(&mut self, (handle, id): (u32, u32), outcome: Outcome, garble: SettlementGarble, wire: &mut Wire) {
        match garble {
            SettlementGarble::Twice => self.dispose((id, id), true, outcome.clone(), wire),
            SettlementGarble::Unknown => {
                let never = id.wrapping_add(1_000_000);
                self.dispose((never, never.wrapping_add(100)), true, outcome.clone(), wire);
            }
            SettlementGarble::Range => return self.dispose((id, id.wrapping_add(100)), true, outcome, wire),
            SettlementGarble::UnsettledFirst => self.dispose((id, id), false, outcome.clone(), wire),
            SettlementGarble::AfterDetach => self.detach(handle, None, wire),
        }
        self.dispose((id, id), true, outcome, wire);
    }

    fn dispose(&mut self, (first, last): (u32, u32), settled: bool, outcome: Outcome, wire: &mut Wire) {
        let disposition = Disposition {
            role: Role::Receiver,
            first,
            last: Some(last),
            settled,
            state: Some(outcome.into()),
        };
        wire.send(self.channel, Performative::Disposition(disposition));
    }

    fn top_up(&mut self, handle: u32, wire: &mut Wire) {
        let Some(Some(Link {
            end: End::Target(end), ..
        })) = self.links.get_mut(&handle)
        else {
            return;
        };
        if end.top_up() {
            self.send_flow(Some(handle), false, wire);
        }
    }

    fn send_flow(&self, handle: Option<u32>, drain: bool, wire: &mut Wire) {
        let mut flow = Flow {
            next_incoming_id: Some(self.next_incoming_id),
            incoming_window: self.incoming_window,
            next_outgoing_id: self.outbox.next_id(),
            outgoing_window: WINDOW,
            handle,
            delivery_count: None,
            link_credit: None,
            available: None,
            drain,
            echo: false,
        };
        if let Some(Some(link)) = handle.and_then(|handle| self.links.get(&handle)) {
            link.end.describe(&mut flow);
        }
        wire.send(self.channel, Performative::Flow(flow));
    }

    /// Detaches a link; the handle stays taken until the peer has answered.
    fn detach(&mut self, handle: u32, error: Option<AmqpError>, wire: &mut Wire) {
        let Some(slot) = self.links.get_mut(&handle) else {
            return;
        };
        let Some(link) = slot.take() else {
            return;
        };
        wire.peer.record(AmqpEvent::Detached {
            address: link.address.clone(),
            condition: error.as_ref().map(|error| error.condition.clone().into_owned()),
        });
        self.forget(&link, wire);
        let detach = Detach {
            handle,
            closed: true,
            error,
        };
        wire.send(self.channel, Performative::Detach(detach));
    }

    /// A hub refuses a link by attaching it to nothing and detaching it at once with the reason. A redirect keeps the
    /// address, for clients that look at it before they look at the detach.
    fn refuse(&mut self, attach: Attach, error: AmqpError, wire: &mut Wire) {
        let handle = attach.handle;
        let mut answer = answer(attach);
        if error.condition != condition::REDIRECT {
            match answer.role {
                Role::Sender => answer.source = Value::Null,
                Role::Receiver => answer.target = Value::Null,
            }
        }
        wire.send(self.channel, Performative::Attach(Box::new(answer)));
        let detach = Detach {
            handle,
            closed: true,
            error: Some(error),
        };
        wire.send(self.channel, Performative::Detach(detach));
        self.links.insert(handle, None);
    }

    /// A link attached again under its name takes the place of the one before it.
    fn steal(&mut self, name: &str, is_sender: bool, wire: &mut Wire) {
        let mut links = self.links.values().flatten();
        let same = links.find(|link| link.name == name && matches!(link.end, End::Target(_)) == is_sender);
        if let Some(handle) = same.map(|link| link.key.handle) {
            let error = AmqpError::new(condition::STOLEN, "a link of the same name was attached");
            self.detach(handle, Some(error), wire);
        }
    }

    /// Gives back what a link holds: parts of messages, frames not yet sent, messages not yet settled.
    fn forget(&mut self, link: &Link, wire: &mut Wire) {
        wire.links -= 1;
        match &link.end {
            End::Target(end) => wire.partial -= end.partial(),
            End::Source(_) => self.outbox.forget(link.key.handle),
        }
    }

    /// The link with this handle; `None` if we have detached it already and the peer does not know yet.
    fn link(&mut self, handle: u32) -> Result<Option<&mut Link>, Violation> {
        match self.links.get_mut(&handle) {
            None => Err(Violation::Session(unattached(handle))),
            Some(link) => Ok(link.as_mut()),
        }
    }
}

/// The answer to an attach, with the termini as the peer wrote them.
fn answer(attach: Attach) -> Attach {
    let role = match attach.role {
        Role::Sender => Role::Receiver,
        Role::Receiver => Role::Sender,
    };
    Attach {
        name: attach.name,
        handle: attach.handle,
        role,
        snd_settle_mode: match (role, attach.snd_settle_mode) {
            // We settle first or not at all, and do not decide that anew for each message.
            (Role::Sender, SenderSettleMode::Mixed) => SenderSettleMode::Unsettled,
            (_, mode) => mode,
        },
        rcv_settle_mode: match role {
            Role::Sender => attach.rcv_settle_mode,
            Role::Receiver => ReceiverSettleMode::First,
        },
        source: attach.source,
        target: attach.target,
        initial_delivery_count: (role == Role::Sender).then_some(0),
        max_message_size: Some(MAX_MESSAGE_SIZE as u64),
        desired_capabilities: Vec::new(),
        properties: Vec::new(),
    }
}

fn unattached(handle: u32) -> AmqpError {
    AmqpError::new(condition::UNATTACHED_HANDLE, format!("no link has the handle {handle}"))
}

/// What a hub says in its begin.
const WINDOW: u32 = 5000;
const HANDLE_MAX: u32 = 262_143;

/// More than the device clients' pools ever open on one connection.
const MAX_LINKS: usize = 16_384;

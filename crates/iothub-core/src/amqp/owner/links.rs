use std::{pin::pin, sync::Arc};

use futures::{
    channel::oneshot,
    future::{Either, select},
};

use super::{Event, Owner, STEADY, State};
use crate::amqp::{
    AmqpScope, ReceiverLink, SenderLink,
    fault::Fault,
    recovery::{Next, Role},
    slot::{AttachedReceiver, AttachedSender, Port, ReceiverReply, SenderCell, Slot, SlotState},
};
use crate::deadline::within;

/// The links of the connection.
impl Owner {
    pub(super) fn on_sender_wanted(
        &mut self,
        id: u64,
        link: SenderLink,
        cell: Arc<SenderCell>,
        reply: oneshot::Sender<Result<(), Fault>>,
    ) {
        let waiting = Vec::new();
        let slot = self
            .slots
            .entry(id)
            .or_insert_with(|| Slot::new(Port::Sender { link, cell, waiting }));
        if let SlotState::Attached { .. } = slot.state {
            let _ = reply.send(Ok(()));
            return;
        }
        if let Port::Sender { waiting, .. } = &mut slot.port {
            waiting.push(reply);
        }
        self.serve(id);
    }

    pub(super) fn on_receiver_wanted(&mut self, id: u64, link: ReceiverLink, reply: oneshot::Sender<ReceiverReply>) {
        let slot = self
            .slots
            .entry(id)
            .or_insert_with(|| Slot::new(Port::Receiver { link, waiting: None }));
        if let Port::Receiver { waiting, .. } = &mut slot.port {
            *waiting = Some(reply);
        }
        if let SlotState::Attached { .. } = slot.state {
            slot.detach();
        }
        self.serve(id);
    }

    pub(super) fn on_link_lost(&mut self, id: u64, number: u64, fault: &Fault, has_worked: bool) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.is_attached_as(number)) else {
            return;
        };
        if has_worked {
            slot.has_worked();
        }
        if fault.recovery.rebuild == AmqpScope::Connection {
            return self.on_connection_lost(fault);
        }
        tracing::debug!(%fault, "a link to the hub is gone");
        slot.detach();
        slot.backoff.failed();
        match fault.recovery.next {
            Next::Authorize => {
                slot.was_refused = true;
                self.authorize_anew();
            }
            Next::Throttle => self.attach_after_throttle(id),
            Next::Retry | Next::Surface => {}
        }
    }

    /// Attaches every link that somebody waits for.
    pub(super) fn serve_all(&mut self) {
        let wanted: Vec<u64> = self
            .slots
            .iter_mut()
            .filter_map(|(id, slot)| slot.is_wanted().then_some(*id))
            .collect();
        for id in wanted {
            self.serve(id);
        }
    }

    /// Gets on with a link that somebody waits for.
    fn serve(&mut self, id: u64) {
        match &self.state {
            State::Idle => return self.connect_if_wanted(),
            State::Open(open) if open.is_authorized => {}
            _ => return,
        }
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let SlotState::Detached = slot.state else { return };
        let wait = slot.backoff.reconnect();
        if wait.is_zero() {
            return self.attach(id);
        }
        slot.state = SlotState::Waiting;
        self.after(wait, Event::AttachDue { id });
    }

    fn attach_after_throttle(&mut self, id: u64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.state = SlotState::Waiting;
        let wait = slot.backoff.throttled();
        self.after(wait, Event::AttachDue { id });
    }

    pub(super) fn on_attach_due(&mut self, id: u64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.state = SlotState::Detached;
        if slot.is_wanted() && matches!(&self.state, State::Open(open) if open.is_authorized) {
            self.attach(id);
        }
    }

    fn attach(&mut self, id: u64) {
        let State::Open(open) = &self.state else { return };
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.state = SlotState::Attaching;
        let connection = Arc::clone(&open.connection);
        let (number, generation) = (self.config.number(), self.generation);
        let limit = self.config.options.attach_timeout;
        let late = || Fault::timed_out("the hub did not answer the attach of a link in time");
        match &slot.port {
            Port::Sender { link, .. } => {
                let link = link.clone();
                self.work.push(Box::pin(async move {
                    let result = match within(limit, connection.sender(link)).await {
                        Some(Ok(sender)) => Ok(AttachedSender::new(number, generation, sender)),
                        Some(Err(error)) => Err(Fault::new(error, Role::Sender)),
                        None => Err(late()),
                    };
                    Event::SenderAttached { id, result }
                }));
            }
            Port::Receiver { link, .. } => {
                let link = link.clone();
                self.work.push(Box::pin(async move {
                    let result = match within(limit, connection.receiver(link)).await {
                        Some(Ok(receiver)) => Ok(AttachedReceiver {
                            number,
                            generation,
                            receiver,
                        }),
                        Some(Err(error)) => Err(Fault::new(error, Role::Receiver)),
                        None => Err(late()),
                    };
                    Event::ReceiverAttached { id, result }
                }));
            }
        }
    }

    pub(super) fn on_sender_attached(&mut self, id: u64, result: Result<AttachedSender, Fault>) {
        // Whoever wanted it may be gone by now; then so is the link.
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let link = match result {
            Ok(link) => Arc::new(link),
            Err(fault) => return self.on_attach_failed(id, &fault),
        };
        let number = link.number;
        let (watch, dropped) = oneshot::channel();
        slot.state = SlotState::Attached {
            number,
            _watch: Some(watch),
        };
        if let Port::Sender { cell, waiting, .. } = &mut slot.port {
            cell.set(Some(Arc::clone(&link)));
            for reply in waiting.drain(..) {
                let _ = reply.send(Ok(()));
            }
        }
        self.work.push(Box::pin(async move {
            match select(pin!(link.sender.detached()), dropped).await {
                Either::Left((error, _)) => Event::Detached {
                    id,
                    number,
                    error,
                    has_worked: link.has_worked(),
                },
                Either::Right(_) => Event::Nothing,
            }
        }));
        self.after(STEADY, Event::LinkSteady { id, number });
    }

    pub(super) fn on_receiver_attached(&mut self, id: u64, result: Result<AttachedReceiver, Fault>) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let link = match result {
            Ok(link) => link,
            Err(fault) => return self.on_attach_failed(id, &fault),
        };
        let number = link.number;
        slot.state = SlotState::Detached;
        let Port::Receiver { waiting, .. } = &mut slot.port else {
            return;
        };
        let Some(reply) = waiting.take() else { return };
        if reply.send(ReceiverReply::Attached(link)).is_ok() {
            slot.state = SlotState::Attached { number, _watch: None };
            self.after(STEADY, Event::LinkSteady { id, number });
        }
    }

    fn on_attach_failed(&mut self, id: u64, fault: &Fault) {
        if fault.recovery.rebuild == AmqpScope::Connection {
            return self.on_connection_lost(fault);
        }
        self.config.set_trouble(Some(fault));
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.state = SlotState::Detached;
        match fault.recovery.next {
            Next::Surface => slot.fail(fault),
            Next::Authorize if slot.was_refused => {
                slot.was_refused = false;
                slot.fail(fault);
            }
            Next::Authorize => {
                slot.was_refused = true;
                self.authorize_anew();
            }
            Next::Retry => {
                slot.backoff.failed();
                slot.report(fault);
                self.serve(id);
            }
            Next::Throttle => {
                slot.backoff.failed();
                slot.report(fault);
                self.attach_after_throttle(id);
            }
        }
    }
}

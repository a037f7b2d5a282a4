use std::{sync::Arc, time::Duration};

use azure_core::{Error, Result, error::ErrorKind};
use futures::channel::oneshot;

use super::{
    AmqpMessage, HubReceipt, SenderLink,
    connection::Shared,
    fault::{self, Fault},
    owner::Command,
    slot::{AttachedSender, SenderCell},
    transmission::Transmission,
};
use crate::{
    CallFacts, CallLimits,
    call_limits::{DEADLINE, TRIES},
    deadline::Deadline,
};

/// Sends messages over one link of a [`HubConnection`](super::HubConnection), which is made anew whenever it breaks.
///
/// Sending is two steps: [`send`](Self::send) hands a message over, and the [`HubReceipt`] resolves when the hub has
/// settled it. Between the two hundreds of messages may be under way. Messages go out in the order of the calls; only
/// one that the hub gave back goes out again behind later ones.
///
/// A clone is another handle to the same link.
#[derive(Clone, Debug)]
pub struct HubSender {
    port: Arc<SenderPort>,
}

/// How one message is sent.
#[derive(Clone, Debug, Default)]
pub struct SendOptions {
    /// The deadline is for everything: connecting, authorizing, credit, tries and the settlement. Zero fails at once.
    /// There is no head of an answer to wait for.
    pub limits: CallLimits,
    /// Whether to send again if the link broke before the hub settled the message. Then it may arrive twice, with the
    /// same message id, and should have one. Without this the call fails with
    /// [`maybe_applied`](CallFacts::maybe_applied).
    pub at_least_once: bool,
}

/// What the clones of a sender have in common.
#[derive(Debug)]
pub(super) struct SenderPort {
    id: u64,
    link: SenderLink,
    cell: Arc<SenderCell>,
    pub(super) shared: Arc<Shared>,
}

impl HubSender {
    pub(super) fn new(shared: Arc<Shared>, link: SenderLink) -> Self {
        let port = SenderPort {
            id: shared.config.number(),
            link,
            cell: Arc::default(),
            shared,
        };
        Self { port: Arc::new(port) }
    }

    /// Hands a message over to the hub, waiting for the link and for credit.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Connection`] if there was no link in time; a [`HubError`](crate::HubError) if the hub refused the
    /// link or the credential. [`CallFacts::maybe_applied`] is false unless time ran out while the transport had the
    /// message, which then may have waited for credit only.
    pub async fn send(&self, message: AmqpMessage, options: SendOptions) -> Result<HubReceipt> {
        self.port.check(options.deadline())?;
        let mut deadline = Deadline::after(options.deadline());
        let mut transmission = Transmission::new(Arc::clone(&self.port), message, options);
        match deadline.bound(transmission.hand_over()).await {
            Some(Ok((link, receipt))) => Ok(HubReceipt::new(transmission, link, receipt, deadline)),
            Some(Err(error)) => Err(error),
            None => Err(transmission.late()),
        }
    }

    /// Connects, authorizes and attaches the link now, so that the first message does not pay for it.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn warm_up(&self, limits: CallLimits) -> Result<()> {
        let deadline = limits.deadline.unwrap_or(DEADLINE);
        self.port.check(deadline)?;
        match Deadline::after(deadline).bound(self.port.attached()).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(CallFacts::default().attach(error)),
            None => Err(CallFacts::default().attach(self.port.shared.config.late(deadline))),
        }
    }
}

impl SendOptions {
    pub(super) fn deadline(&self) -> Duration {
        self.limits.deadline.unwrap_or(DEADLINE)
    }

    pub(super) fn tries(&self) -> u32 {
        self.limits.tries.unwrap_or(TRIES)
    }
}

impl SenderPort {
    fn check(&self, deadline: Duration) -> Result<()> {
        if self.shared.is_closed() {
            return Err(fault::closed());
        }
        if deadline.is_zero() {
            return Err(Error::with_message(
                ErrorKind::Other,
                "a deadline of zero leaves no time to try",
            ));
        }
        Ok(())
    }

    /// The link, once there is one.
    pub(super) async fn attached(&self) -> Result<Arc<AttachedSender>> {
        loop {
            if let Some(link) = self.cell.get() {
                return Ok(link);
            }
            let (reply, ready) = oneshot::channel();
            self.shared.command(Command::Sender {
                id: self.id,
                link: self.link.clone(),
                cell: Arc::clone(&self.cell),
                reply,
            })?;
            match ready.await {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => return Err(fault.to_error()),
                Err(oneshot::Canceled) => return Err(self.shared.gone()),
            }
        }
    }

    /// Tells the owner task that a link failed.
    pub(super) fn lost(&self, link: &AttachedSender, fault: &Fault) {
        // Without a task the link is gone anyhow.
        let _ = self.shared.try_command(Command::Lost {
            id: self.id,
            number: link.number,
            fault: fault.clone(),
            has_worked: link.has_worked(),
        });
        // After the report, so that whoever finds the cell empty and asks for a link is heard behind it.
        self.cell.clear(link.number);
    }
}

impl Drop for SenderPort {
    fn drop(&mut self) {
        let _ = self.shared.try_command(Command::Release { id: self.id });
    }
}

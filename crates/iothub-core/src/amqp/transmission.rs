use std::{sync::Arc, time::Duration};

use azure_core::{Error, Result, error::ErrorKind};

use super::{
    AmqpError, AmqpMessage, AmqpScope, Outcome, Receipt, SendOptions, Sent,
    fault::Fault,
    owner::Command,
    recovery::{Next, Role},
    sender::SenderPort,
    slot::AttachedSender,
};
use crate::{
    CallFacts,
    deadline::sleep,
    schedule::{Schedule, chance},
};

/// One message on its way, through as many tries as it takes.
pub(super) struct Transmission {
    port: Arc<SenderPort>,
    message: AmqpMessage,
    options: SendOptions,
    attempts: u32,
    /// Whether the message may have left in the present try, of which the hub has not said what became.
    is_under_way: bool,
    /// Whether an earlier try ended without a word of what became of it.
    was_lost: bool,
    was_refused: bool,
    /// Whether a link was found to have ended before this message came to it.
    was_stale: bool,
    /// What the present try is there for, and how long the hub wants to be left alone.
    trouble: Option<(Fault, Option<Duration>)>,
}

impl Transmission {
    pub(super) fn new(port: Arc<SenderPort>, message: AmqpMessage, options: SendOptions) -> Self {
        Self {
            port,
            message,
            options,
            attempts: 0,
            is_under_way: false,
            was_lost: false,
            was_refused: false,
            was_stale: false,
            trouble: None,
        }
    }

    /// Hands the message over, over as many links as that takes.
    pub(super) async fn hand_over(&mut self) -> Result<(Arc<AttachedSender>, Receipt)> {
        loop {
            let link = self.port.attached().await.map_err(|error| self.failed(error))?;
            self.attempts += 1;
            // If this is dropped in the middle, by the deadline, nobody can tell whether the message has left.
            self.is_under_way = true;
            match link.sender.send(self.message.clone()).await {
                Ok(receipt) => return Ok((link, receipt)),
                Err(error) => {
                    self.is_under_way = false;
                    let fault = Fault::new(error, Role::Sender);
                    if fault.is_of_a_message() {
                        return Err(self.failed(fault.to_error()));
                    }
                    self.port.lost(&link, &fault);
                    // Why an idle link ended is past. If the reason still stands, the next attach says so.
                    let is_news = std::mem::replace(&mut self.was_stale, true);
                    if !is_news && fault.is_for_the_caller() && self.attempts < self.options.tries() {
                        continue;
                    }
                    self.recover(fault).await?;
                }
            }
        }
    }

    /// Follows the message to its end from what became of a try.
    pub(super) async fn follow(&mut self, mut link: Arc<AttachedSender>, mut settled: Result<Outcome>) -> Result<Sent> {
        loop {
            if let Ok(Outcome::Accepted) = settled {
                return Ok(self.accepted(&link));
            }
            self.judge(&link, settled).await?;
            let receipt;
            (link, receipt) = self.hand_over().await?;
            settled = receipt.await;
        }
    }

    pub(super) fn accepted(&self, link: &AttachedSender) -> Sent {
        link.worked();
        Sent {
            attempts: self.attempts,
        }
    }

    /// The error of a message that was handed over and not settled in time.
    pub(super) fn unsettled(&self, link: &AttachedSender) -> Error {
        // A hub that does not answer for so long may be gone without a word. A shorter wait proves nothing.
        if self.options.deadline() >= SUSPICIOUS {
            let generation = link.generation;
            let _ = self.port.shared.try_command(Command::Suspect { generation });
        }
        self.late()
    }

    /// The error of a message for which time ran out.
    pub(super) fn late(&self) -> Error {
        let deadline = self.options.deadline();
        if self.is_under_way || self.was_lost {
            let message = format!("the hub did not settle the message within {deadline:?}");
            return self.failed(match &self.trouble {
                Some((fault, _)) => Error::with_error(ErrorKind::Io, fault.to_error(), format!("{message}: {fault}")),
                None => Error::with_message(ErrorKind::Io, message),
            });
        }
        self.failed(match &self.trouble {
            Some((fault, _)) => {
                let message = format!("the message was not sent within {deadline:?}: {fault}");
                Error::with_error(ErrorKind::Connection, fault.to_error(), message)
            }
            None => self.port.shared.config.late(deadline),
        })
    }

    /// Makes an error of an outcome other than accepted, or waits as it asks for if the message is to be sent again.
    async fn judge(&mut self, link: &AttachedSender, settled: Result<Outcome>) -> Result<()> {
        self.is_under_way = false;
        let given_back = |text| Error::with_message(ErrorKind::Other, text);
        match settled {
            Err(error) => {
                let fault = Fault::new(error, Role::Sender);
                self.was_lost = true;
                self.port.lost(link, &fault);
                if !self.options.at_least_once {
                    return Err(self.failed(fault.to_unknown()));
                }
                self.recover(fault).await
            }
            Ok(Outcome::Rejected {
                condition,
                description,
                info,
            }) => {
                link.worked();
                let rejected = AmqpError {
                    scope: AmqpScope::Message,
                    condition,
                    description,
                    info,
                };
                let fault = Fault::new(rejected.into(), Role::Sender);
                if fault.recovery.next == Next::Authorize {
                    self.port.lost(link, &fault);
                }
                self.recover(fault).await
            }
            Ok(Outcome::Modified {
                undeliverable_here: true,
            }) => Err(self.failed(given_back("the hub gave the message back as undeliverable"))),
            Ok(_) if self.attempts >= self.options.tries() => {
                Err(self.failed(given_back("the hub gave the message back every time")))
            }
            Ok(_) => {
                sleep(Schedule::Normal.delay(self.attempts - 1, chance())).await;
                Ok(())
            }
        }
    }

    /// Waits as a fault asks for; an error if the message is not to be tried again.
    async fn recover(&mut self, fault: Fault) -> Result<()> {
        let wait = match fault.recovery.next {
            _ if self.attempts >= self.options.tries() => return Err(self.failed(fault.to_error())),
            // The owner task waits before it makes a link anew.
            Next::Retry => None,
            Next::Authorize if !self.was_refused => {
                self.was_refused = true;
                None
            }
            Next::Throttle => Some(Schedule::Throttle.delay(self.attempts - 1, chance())),
            Next::Authorize | Next::Surface => return Err(self.failed(fault.to_error())),
        };
        let is_too_long = wait.is_some_and(|wait| wait >= self.options.deadline());
        let (fault, _) = self.trouble.insert((fault, wait));
        if is_too_long {
            let error = fault.to_error();
            return Err(self.failed(error));
        }
        if let Some(wait) = wait {
            sleep(wait).await;
        }
        Ok(())
    }

    fn failed(&self, error: Error) -> Error {
        let facts = CallFacts {
            attempts: self.attempts.max(1),
            maybe_applied: self.is_under_way || self.was_lost,
            retry_after: self.trouble.as_ref().and_then(|(_, wait)| *wait),
        };
        facts.attach(error)
    }
}

/// The time after which an unsettled message makes the connection suspect.
const SUSPICIOUS: Duration = Duration::from_secs(15);

use std::{
    fmt,
    future::{pending, ready},
    sync::Arc,
};

use async_trait::async_trait;
use azure_core::{Error, Result, error::ErrorKind};

use super::{Script, ScriptedAmqp, SendAnswer, cbs::CBS};
use crate::amqp::{
    AmqpDelivery, AmqpError, AmqpMessage, AmqpReceiver, AmqpScope, AmqpSender, AmqpSettler, DeliveryTag, Outcome,
    Receipt, Settlement,
};

#[derive(Debug)]
pub(super) struct ScriptedSender {
    link: ScriptedLink,
    is_cbs: bool,
}

#[derive(Debug)]
pub(super) struct ScriptedReceiver {
    link: ScriptedLink,
    credit: usize,
}

#[derive(Debug)]
struct ScriptedSettler {
    hub: ScriptedAmqp,
    link: usize,
}

/// Detaches when it is dropped.
struct ScriptedLink {
    hub: ScriptedAmqp,
    number: usize,
}

impl ScriptedSender {
    pub(super) fn new(hub: ScriptedAmqp, number: usize, is_cbs: bool) -> Self {
        let link = ScriptedLink { hub, number };
        Self { link, is_cbs }
    }
}

#[async_trait]
impl AmqpSender for ScriptedSender {
    async fn send(&self, message: AmqpMessage) -> Result<Receipt> {
        let ScriptedLink { hub, number } = &self.link;
        if self.is_cbs {
            hub.change(|script| script.put_token(*number, message))?;
            return Ok(Receipt::new(ready(Ok(Outcome::Accepted))));
        }
        let mut message = Some(message);
        hub.find(move |script| {
            if let Some(error) = script.end_of(*number) {
                return Some(Err(error.into()));
            }
            if script.credit == Some(0) {
                return None;
            }
            Some(script.take(hub, *number, message.take()?))
        })
        .await
    }

    async fn detached(&self) -> AmqpError {
        let number = self.link.number;
        self.link.hub.find(|script| script.end_of(number)).await
    }
}

impl Script {
    fn take(&mut self, hub: &ScriptedAmqp, link: usize, message: AmqpMessage) -> Result<Receipt> {
        if self.is_silent(link) {
            return Ok(self.hold(hub, link));
        }
        let answer = self.sends.pop_front();
        if let Some(SendAnswer::Refuse(error)) = answer {
            self.end(link, error.clone());
            return Err(error.into());
        }
        if let Some(credit) = &mut self.credit {
            *credit -= 1;
        }
        self.sent.push(message);
        let outcome = match answer {
            None => Outcome::Accepted,
            Some(SendAnswer::Settle(outcome)) => outcome,
            Some(SendAnswer::Hold) => return Ok(self.hold(hub, link)),
            Some(SendAnswer::End(error) | SendAnswer::Refuse(error)) => {
                let receipt = self.hold(hub, link);
                self.end(link, error);
                return Ok(receipt);
            }
        };
        Ok(Receipt::new(ready(Ok(outcome))))
    }

    fn hold(&mut self, hub: &ScriptedAmqp, link: usize) -> Receipt {
        let held = self.held;
        self.held += 1;
        self.links[link].held.push_back(held);
        let hub = hub.clone();
        Receipt::new(async move {
            hub.find(|script| {
                let outcomes = &mut script.links[link].outcomes;
                match outcomes.iter().position(|(of, _)| *of == held) {
                    Some(position) => Some(Ok(outcomes.swap_remove(position).1)),
                    None => script.end_of(link).map(|error| Err(error.into())),
                }
            })
            .await
        })
    }
}

impl ScriptedReceiver {
    pub(super) fn new(hub: ScriptedAmqp, number: usize, credit: u32) -> Self {
        Self {
            link: ScriptedLink { hub, number },
            credit: usize::try_from(credit).unwrap_or(usize::MAX),
        }
    }
}

#[async_trait]
impl AmqpReceiver for ScriptedReceiver {
    async fn recv(&mut self) -> Result<AmqpDelivery> {
        let ScriptedLink { hub, number } = &self.link;
        let credit = self.credit;
        hub.find(|script| {
            if let Some(error) = script.end_of(*number) {
                return Some(Err(error.into()));
            }
            let link = &script.links[*number];
            if script.is_silent(*number) || link.unsettled.len() >= credit {
                return None;
            }
            let position = script.inbox.iter().position(|(of, _)| *of == link.address)?;
            let (_, delivery) = script.inbox.remove(position);
            script.links[*number].unsettled.push(delivery.clone());
            Some(Ok(delivery))
        })
        .await
    }

    fn settler(&self) -> Arc<dyn AmqpSettler> {
        Arc::new(ScriptedSettler {
            hub: self.link.hub.clone(),
            link: self.link.number,
        })
    }
}

#[async_trait]
impl AmqpSettler for ScriptedSettler {
    async fn settle(&self, tag: &DeliveryTag, settlement: Settlement) -> Result<()> {
        if self.hub.lock().is_silent(self.link) {
            return pending().await;
        }
        self.hub.change(|script| {
            if let Some(error) = script.end_of(self.link) {
                return Err(error.into());
            }
            let unsettled = &mut script.links[self.link].unsettled;
            let Some(position) = unsettled.iter().position(|delivery| delivery.tag == *tag) else {
                return Err(Error::with_message(
                    ErrorKind::Other,
                    "no delivery of this tag is unsettled",
                ));
            };
            let delivery = unsettled.remove(position);
            let address = script.links[self.link].address.clone();
            if address != CBS {
                script.settlements.push((tag.clone(), settlement.clone()));
            }
            if settlement == Settlement::Released {
                script.inbox.push((address, delivery));
            }
            Ok(())
        })
    }
}

impl Drop for ScriptedLink {
    fn drop(&mut self) {
        let error = AmqpError::new(AmqpScope::Link).with_description("dropped by this side");
        self.hub.change(|script| {
            script.links[self.number].is_dropped = true;
            script.end_link(self.number, error);
        });
    }
}

impl fmt::Debug for ScriptedLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScriptedLink")
    }
}

use std::future::pending;

use async_trait::async_trait;
use azure_core::Result;

use super::{
    ScriptedAmqp,
    cbs::CBS,
    links::{ScriptedReceiver, ScriptedSender},
};
use crate::amqp::{AmqpConnection, AmqpError, AmqpReceiver, AmqpScope, AmqpSender, ReceiverLink, SenderLink};

#[derive(Debug)]
pub(super) struct ScriptedConnection {
    hub: ScriptedAmqp,
    number: usize,
}

impl ScriptedConnection {
    pub(super) fn new(hub: ScriptedAmqp, number: usize) -> Self {
        Self { hub, number }
    }

    async fn attach(&self, address: &str) -> Result<usize> {
        if self.hub.lock().connections[self.number].is_silent {
            return pending().await;
        }
        self.hub.change(|script| script.attach(self.number, address))
    }
}

#[async_trait]
impl AmqpConnection for ScriptedConnection {
    async fn sender(&self, link: SenderLink) -> Result<Box<dyn AmqpSender>> {
        let number = self.attach(&link.address).await?;
        Ok(Box::new(ScriptedSender::new(
            self.hub.clone(),
            number,
            link.address == CBS,
        )))
    }

    async fn receiver(&self, link: ReceiverLink) -> Result<Box<dyn AmqpReceiver>> {
        let number = self.attach(&link.address).await?;
        Ok(Box::new(ScriptedReceiver::new(self.hub.clone(), number, link.credit)))
    }

    async fn closed(&self) -> AmqpError {
        self.hub
            .find(|script| script.connections[self.number].end.clone())
            .await
    }

    async fn close(&self) -> Result<()> {
        if self.hub.lock().connections[self.number].is_silent {
            return pending().await;
        }
        let error = AmqpError::new(AmqpScope::Connection).with_description("closed by this side");
        self.hub.change(|script| script.end_connection(self.number, error));
        Ok(())
    }
}

impl Drop for ScriptedConnection {
    fn drop(&mut self) {
        let error = AmqpError::new(AmqpScope::Connection).with_description("dropped by this side");
        self.hub.change(|script| {
            script.connections[self.number].is_dropped = true;
            script.end_connection(self.number, error);
        });
    }
}

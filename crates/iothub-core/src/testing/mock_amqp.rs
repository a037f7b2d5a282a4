use std::sync::Arc;

use async_trait::async_trait;
use azure_core::Result;
use mockall::mock;

use crate::{
    HubHost,
    amqp::{
        AmqpConnection, AmqpDelivery, AmqpError, AmqpMessage, AmqpReceiver, AmqpSender, AmqpSettler, AmqpTransport,
        DeliveryTag, Receipt, ReceiverLink, SenderLink, Settlement,
    },
};

mock! {
    /// A mock of [`AmqpTransport`].
    #[derive(Debug)]
    pub AmqpTransport {}

    #[async_trait]
    impl AmqpTransport for AmqpTransport {
        async fn connect(&self, host: &HubHost) -> Result<Box<dyn AmqpConnection>>;
    }
}

mock! {
    /// A mock of [`AmqpConnection`].
    #[derive(Debug)]
    pub AmqpConnection {}

    #[async_trait]
    impl AmqpConnection for AmqpConnection {
        async fn sender(&self, link: SenderLink) -> Result<Box<dyn AmqpSender>>;
        async fn receiver(&self, link: ReceiverLink) -> Result<Box<dyn AmqpReceiver>>;
        async fn closed(&self) -> AmqpError;
        async fn close(&self) -> Result<()>;
    }
}

mock! {
    /// A mock of [`AmqpSender`].
    #[derive(Debug)]
    pub AmqpSender {}

    #[async_trait]
    impl AmqpSender for AmqpSender {
        async fn send(&self, message: AmqpMessage) -> Result<Receipt>;
        async fn detached(&self) -> AmqpError;
    }
}

mock! {
    /// A mock of [`AmqpReceiver`].
    #[derive(Debug)]
    pub AmqpReceiver {}

    #[async_trait]
    impl AmqpReceiver for AmqpReceiver {
        async fn recv(&mut self) -> Result<AmqpDelivery>;
        fn settler(&self) -> Arc<dyn AmqpSettler>;
    }
}

mock! {
    /// A mock of [`AmqpSettler`].
    #[derive(Debug)]
    pub AmqpSettler {}

    #[async_trait]
    impl AmqpSettler for AmqpSettler {
        async fn settle(&self, tag: &DeliveryTag, settlement: Settlement) -> Result<()>;
    }
}

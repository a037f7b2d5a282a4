use std::sync::Arc;

use async_trait::async_trait;
use azure_core::{Error, error::ErrorKind};
use iothub_core::{
    HubHost, Result,
    amqp::{AmqpConnection, AmqpTransport},
};

use crate::{AmqpCarrier, amqp_carrier::CarrierInUse};

/// Two transports, of which the one that connected last is tried first.
#[derive(Debug)]
pub(crate) struct AutoTransport {
    tls: Arc<dyn AmqpTransport>,
    web_socket: Arc<dyn AmqpTransport>,
    in_use: CarrierInUse,
}

impl AutoTransport {
    pub(crate) fn new(tls: Arc<dyn AmqpTransport>, web_socket: Arc<dyn AmqpTransport>, in_use: CarrierInUse) -> Self {
        Self {
            tls,
            web_socket,
            in_use,
        }
    }

    async fn connect_by(&self, carrier: AmqpCarrier, host: &HubHost) -> Result<Box<dyn AmqpConnection>> {
        let transport = match carrier {
            AmqpCarrier::WebSocket => &self.web_socket,
            AmqpCarrier::Tls | AmqpCarrier::Auto => &self.tls,
        };
        let connection = transport.connect(host).await?;
        self.in_use.set(carrier);
        Ok(connection)
    }
}

#[async_trait]
impl AmqpTransport for AutoTransport {
    async fn connect(&self, host: &HubHost) -> Result<Box<dyn AmqpConnection>> {
        let (first, second) = match self.in_use.get() {
            Some(AmqpCarrier::WebSocket) => (AmqpCarrier::WebSocket, AmqpCarrier::Tls),
            _ => (AmqpCarrier::Tls, AmqpCarrier::WebSocket),
        };
        let error = match self.connect_by(first, host).await {
            // Whatever is not about the way, such as a certificate, is as bad on the other.
            Err(error) if error.kind() == &ErrorKind::Connection => error,
            decided => return decided,
        };
        tracing::warn!(%host, from = ?first, to = ?second, %error, "no connection to the hub; trying the other way");
        let connected = self.connect_by(second, host).await;
        connected.map_err(|other| {
            let kind = other.kind().clone();
            let message = format!("no connection by {second:?}: {other}; and before that none by {first:?}: {error}");
            Error::with_error(kind, other, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use iothub_core::testing::ScriptedAmqp;
    use iothub_emulator::{AmqpEvent, Door, Emulator, EmulatorOptions, Event};
    use iothub_transport_amqp::{AmqpOptions, Carrier, Fe2o3Transport};

    use super::*;

    fn transport(tls: &ScriptedAmqp, web_socket: &ScriptedAmqp) -> AutoTransport {
        AutoTransport::new(
            Arc::new(tls.clone()),
            Arc::new(web_socket.clone()),
            CarrierInUse::default(),
        )
    }

    async fn connect(transport: &AutoTransport) -> Result<Box<dyn AmqpConnection>> {
        transport.connect(&"my-hub.azure-devices.net".parse()?).await
    }

    #[tokio::test]
    async fn tls_is_used_where_it_works() -> Result<()> {
        let (tls, web_socket) = (ScriptedAmqp::new(), ScriptedAmqp::new());
        let transport = transport(&tls, &web_socket);
        assert_eq!(transport.in_use.get(), None);
        connect(&transport).await?;
        assert_eq!((tls.connects(), web_socket.connects()), (1, 0));
        assert_eq!(transport.in_use.get(), Some(AmqpCarrier::Tls));
        Ok(())
    }

    #[tokio::test]
    async fn the_way_that_worked_is_tried_first() -> Result<()> {
        let (tls, web_socket) = (ScriptedAmqp::new(), ScriptedAmqp::new());
        let transport = transport(&tls, &web_socket);
        tls.refuse_connects(1);
        connect(&transport).await?;
        assert_eq!(transport.in_use.get(), Some(AmqpCarrier::WebSocket));
        connect(&transport).await?;
        assert_eq!((tls.connects(), web_socket.connects()), (1, 2));
        web_socket.refuse_connects(1);
        connect(&transport).await?;
        assert_eq!((tls.connects(), web_socket.connects()), (2, 3));
        assert_eq!(transport.in_use.get(), Some(AmqpCarrier::Tls));
        Ok(())
    }

    #[tokio::test]
    async fn a_port_that_is_closed_leads_to_a_web_socket() -> Result<()> {
        let hub = Emulator::start(EmulatorOptions::default()).await?;
        let over = |carrier| -> Result<Arc<dyn AmqpTransport>> {
            let options = AmqpOptions {
                carrier,
                extra_roots: vec![hub.root_certificate().to_owned().into()],
                ..AmqpOptions::default()
            };
            Ok(Arc::new(Fe2o3Transport::new(options)?))
        };
        let in_use = CarrierInUse::default();
        let transport = AutoTransport::new(over(Carrier::Tls)?, over(Carrier::WebSocket)?, in_use.clone());
        let closed = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address").port()
        };
        let connection = transport.connect(&hub.host().clone().with_amqps_port(closed)).await?;
        assert_eq!(in_use.get(), Some(AmqpCarrier::WebSocket));
        let opened = |event: &Event| matches!(event, Event::Amqp { door, event: AmqpEvent::Opened { .. }, .. } if *door == Door::AmqpWebSocket);
        assert_eq!(hub.journal().count(opened), 1);
        connection.close().await
    }

    #[tokio::test]
    async fn both_reasons_are_told() {
        let (tls, web_socket) = (ScriptedAmqp::new(), ScriptedAmqp::new());
        tls.fail_connects([Error::with_message(ErrorKind::Connection, "port 5671 is closed")]);
        web_socket.fail_connects([Error::with_message(ErrorKind::Connection, "the proxy is down")]);
        let error = connect(&transport(&tls, &web_socket)).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Connection);
        let error = error.to_string();
        assert!(error.contains("5671") && error.contains("proxy"), "{error}");
    }

    #[tokio::test]
    async fn a_certificate_is_no_reason_to_go_another_way() {
        let (tls, web_socket) = (ScriptedAmqp::new(), ScriptedAmqp::new());
        tls.fail_connects([Error::with_message(ErrorKind::Other, "the certificate is not trusted")]);
        assert!(connect(&transport(&tls, &web_socket)).await.is_err());
        assert_eq!(web_socket.connects(), 0);
    }
}

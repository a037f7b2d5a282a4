//! What a client speaks AMQP through unless it is given something else.

use std::sync::Arc;

use iothub_core::{Result, amqp::AmqpTransport};

use crate::{AmqpCarrier, amqp_carrier::CarrierInUse};

#[cfg(feature = "fe2o3")]
pub(crate) fn default_transport(carrier: AmqpCarrier, in_use: &CarrierInUse) -> Result<Arc<dyn AmqpTransport>> {
    use iothub_transport_amqp::{AmqpOptions, Carrier, Fe2o3Transport};

    let over = |carrier| -> Result<Arc<dyn AmqpTransport>> {
        let options = AmqpOptions {
            carrier,
            ..AmqpOptions::default()
        };
        Ok(Arc::new(Fe2o3Transport::new(options)?))
    };
    if carrier != AmqpCarrier::Auto {
        in_use.set(carrier);
    }
    match carrier {
        AmqpCarrier::Tls => over(Carrier::Tls),
        AmqpCarrier::WebSocket => over(Carrier::WebSocket),
        AmqpCarrier::Auto => {
            let (tls, web_socket) = (over(Carrier::Tls)?, over(Carrier::WebSocket)?);
            let auto = crate::auto_transport::AutoTransport::new(tls, web_socket, in_use.clone());
            Ok(Arc::new(auto))
        }
    }
}

#[cfg(not(feature = "fe2o3"))]
pub(crate) fn default_transport(_: AmqpCarrier, _: &CarrierInUse) -> Result<Arc<dyn AmqpTransport>> {
    Err(azure_core::Error::with_message(
        azure_core::error::ErrorKind::Other,
        "no AMQP transport: set `ServiceClientOptions::amqp_transport`, or turn on the feature `fe2o3` of iothub-service",
    ))
}

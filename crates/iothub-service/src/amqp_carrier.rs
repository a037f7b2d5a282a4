use std::sync::{Arc, Mutex, PoisonError};

/// What carries AMQP from the default transport to the hub. All are encrypted.
///
/// # Examples
///
/// ```
/// use iothub_service::{AmqpCarrier, ServiceClientOptions};
///
/// let behind_a_firewall =
///     ServiceClientOptions { amqp_carrier: AmqpCarrier::WebSocket, ..ServiceClientOptions::default() };
/// # let _ = behind_a_firewall;
/// ```
#[doc(alias = "TransportType")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AmqpCarrier {
    /// TLS on port 5671.
    #[default]
    #[doc(alias = "TransportType.Amqp")]
    Tls,
    /// A WebSocket on port 443, through the proxy that the environment names, if any: for networks that let nothing else
    /// out.
    #[doc(alias = "TransportType.Amqp_WebSocket_Only")]
    WebSocket,
    /// TLS, and a WebSocket where no connection can be made by TLS. A certificate that is refused is no reason to try the
    /// other.
    ///
    /// A network that swallows what it does not let through costs the first connection some ten seconds. What carried
    /// the last connection is tried first for the next. The change is a warning in the log, and
    /// [`ServiceClient::amqp_carrier`](crate::ServiceClient::amqp_carrier) tells which it is.
    Auto,
}

/// What carries a client's connection, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct CarrierInUse(Arc<Mutex<Option<AmqpCarrier>>>);

impl CarrierInUse {
    #[cfg_attr(
        not(feature = "fe2o3"),
        expect(dead_code, reason = "of a transport of the application nothing is known")
    )]
    pub(crate) fn set(&self, carrier: AmqpCarrier) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(carrier);
    }

    pub(crate) fn get(&self) -> Option<AmqpCarrier> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

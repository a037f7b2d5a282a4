//! The seam behind which an AMQP 1.0 implementation stands.
//!
//! A transport brings connections, links and messages ([`AmqpTransport`] and the traits it leads to). Everything
//! that makes them a hub's, put-token and its renewal, reconnection, deadlines, is written once above the seam, in
//! [`HubConnection`] and its links, and is not a transport's concern. No type of any AMQP engine appears here.

mod backoff;
mod cbs;
mod cbs_token;
mod connection;
mod error;
mod fault;
mod message;
mod owner;
mod receipt;
mod receiver;
mod recovery;
mod sender;
mod slot;
mod transmission;
mod transport;
mod value;

pub use cbs_token::{CbsToken, CbsTokenKind, CbsTokenSource};
pub use connection::{HubConnection, HubConnectionOptions};
pub use error::{AmqpCondition, AmqpError, AmqpScope};
pub use message::{AmqpBody, AmqpMessage};
pub use receipt::{HubReceipt, Sent};
pub use receiver::{HubDelivery, HubReceiver, ReceiverEvent};
pub use sender::{HubSender, SendOptions};
pub use transport::{
    AmqpConnection, AmqpDelivery, AmqpReceiver, AmqpSender, AmqpSettler, AmqpTransport, DeliveryTag, Outcome, Receipt,
    ReceiverLink, SenderLink, Settlement,
};
pub use value::AmqpValue;

#[cfg(test)]
mod tests;

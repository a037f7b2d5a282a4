use std::sync::{Mutex, MutexGuard, PoisonError};

use iothub_core::HubErrorCode;
use time::OffsetDateTime;
use tokio::sync::mpsc;

use super::{device::Devices, node::Access, pairs::Pairs, replies::Replies};
use crate::hub::{AmqpEvent, Break, CertificateChain, Door, Event, Failure, Grant, Hub, Target};

/// Who is at the other end of a connection, as far as it has said: what the nodes of one connection share.
pub(crate) struct Peer {
    pub(crate) hub: Hub,
    /// The number of the connection in the journal.
    pub(crate) connection: u64,
    pub(crate) door: Door,
    /// Where answers to put-token go.
    pub(crate) token_replies: Pairs<Replies>,
    /// Where answers to what is asked of the event hub go.
    pub(crate) management_replies: Pairs<Replies>,
    /// The devices that it speaks for.
    pub(crate) devices: Devices,
    /// How the connection is broken.
    pub(crate) breaker: mpsc::UnboundedSender<Break>,
    grants: Mutex<Vec<Grant>>,
    certificates: CertificateChain,
}

impl Peer {
    pub(crate) fn new(
        hub: Hub,
        (connection, breaker): (u64, mpsc::UnboundedSender<Break>),
        door: Door,
        certificates: CertificateChain,
    ) -> Self {
        Self {
            hub,
            connection,
            door,
            token_replies: Pairs::default(),
            management_replies: Pairs::default(),
            devices: Devices::default(),
            breaker,
            grants: Mutex::default(),
            certificates,
        }
    }

    /// Adds what a token grants; a newer token of the same principal for the same resource takes the place of the older.
    pub(crate) fn add(&self, grant: Grant) -> Result<(), Failure> {
        let mut grants = self.grants();
        grants.retain(|held| !held.is_renewed_by(&grant));
        if grants.len() == MAX_TOKENS {
            let text = format!("a connection carries at most {MAX_TOKENS} tokens");
            return Err(Failure::new(HubErrorCode::IotHubMaxCbsTokenExceeded, text));
        }
        grants.push(grant);
        Ok(())
    }

    /// Forgets what has expired.
    pub(crate) fn forget_expired(&self) {
        let now = self.hub.clock().now();
        self.grants().retain(|grant| grant.expires() > now);
    }

    /// When the first of the grants expires.
    pub(crate) fn next_expiry(&self) -> Option<OffsetDateTime> {
        self.grants().iter().map(Grant::expires).min()
    }

    /// Whether nobody has said yet who this is.
    pub(crate) fn is_unknown(&self) -> bool {
        self.grants().is_empty()
    }

    pub(crate) fn check(&self, access: &Access) -> Result<(), Failure> {
        if matches!(access, Access::Open) {
            return Ok(());
        }
        let now = self.hub.clock().now();
        let mut verdict = Err(Failure::unauthorized("no token has been put on $cbs that holds now"));
        for grant in self.grants().iter().filter(|grant| grant.expires() > now) {
            verdict = match access {
                Access::Open => Ok(()),
                Access::Needs { action, resource } => grant.check(*action, resource),
                Access::Device(target) => grant.check_identity(target),
            };
            if verdict.is_ok() {
                break;
            }
        }
        verdict
    }

    /// Lets a device in: by what the connection holds already, or by the certificate that the peer presented.
    pub(crate) fn admit(&self, device: &Target) -> Result<(), Failure> {
        let verdict = self.check(&Access::Device(device.clone()));
        if verdict.is_ok() || self.certificates.is_empty() {
            return verdict;
        }
        self.add(self.hub.authenticate_certificate(device, &self.certificates)?)
    }

    /// Writes into the journal.
    pub(crate) fn record(&self, event: AmqpEvent) {
        self.hub.journal().record(Event::Amqp {
            door: self.door,
            connection: self.connection,
            event,
        });
    }

    fn grants(&self) -> MutexGuard<'_, Vec<Grant>> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More devices than one connection of the device clients' pools carries.
const MAX_TOKENS: usize = 1000;

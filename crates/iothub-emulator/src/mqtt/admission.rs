use std::sync::Arc;

use iothub_core::HubErrorCode;
use time::OffsetDateTime;

use super::{
    packet::{Connect, ConnectCode},
    topic::Inbound,
    user_name::UserName,
};
use crate::hub::{CertificateChain, Door, Event, Failure, Hub, Session, Target};

/// A device that was let in.
pub(super) struct Admitted {
    pub(super) session: Arc<Session>,
    /// When what it showed holds no longer.
    pub(super) expires: OffsetDateTime,
}

/// Why a device was not let in, in the words of the protocol.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: ConnectCode,
    pub(super) failure: Failure,
    /// What the hub itself refuses, it writes down.
    is_recorded: bool,
}

/// Lets a device or module in that has shown who it is, by a token for a password or by a certificate.
pub(super) fn admit(
    hub: &Hub,
    connect: &Connect,
    certificates: &CertificateChain,
    door: Door,
) -> Result<Admitted, Refusal> {
    let target = target(&connect.client_id).map_err(|failure| Refusal {
        code: ConnectCode::IdentifierRejected,
        ..failure.into()
    })?;
    let user_name = connect
        .user_name
        .as_deref()
        .ok_or_else(|| Failure::unauthorized("a CONNECT without a user name"))?;
    let user_name = UserName::parse(user_name, &target)?;
    if !hub.goes_by(user_name.host) {
        let text = format!(
            "the user name names the host {:?}, and this is {}",
            user_name.host,
            hub.name()
        );
        return Err(Failure::unauthorized(text).into());
    }
    if let Some(will) = &connect.will
        && !matches!(Inbound::parse(&will.topic, &target)?, Inbound::Telemetry { .. })
    {
        let text = format!("the will of {target} is no message to the hub: {:?}", will.topic);
        return Err(Failure::argument(text).into());
    }
    let grant = match connect.password.as_deref().filter(|password| !password.is_empty()) {
        None => hub.authenticate_certificate(&target, certificates),
        Some(password) => hub.authorize_sas(&String::from_utf8_lossy(password)),
    };
    let grant = grant.map_err(|failure| Refusal {
        is_recorded: true,
        ..failure.into()
    })?;
    grant.check_identity(&target)?;
    let session = hub.connect(&target, door)?;
    if let Some(model) = &user_name.model_id {
        session.announce_model(model)?;
    }
    Ok(Admitted {
        session: Arc::new(session),
        expires: grant.expires(),
    })
}

/// Reads `device` or `device/module`.
fn target(client_id: &str) -> Result<Target, Failure> {
    match client_id.split_once('/') {
        None => Target::parse(client_id, None),
        Some((device, module)) => Target::parse(device, Some(module)),
    }
}

impl Refusal {
    pub(super) fn record(&self, hub: &Hub) {
        if !self.is_recorded {
            hub.journal().record(Event::refused(&self.failure));
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let code = match failure.code {
            HubErrorCode::ServerError => ConnectCode::ServerUnavailable,
            _ => ConnectCode::NotAuthorized,
        };
        Self {
            code,
            failure,
            is_recorded: false,
        }
    }
}

use serde::Deserialize;

use crate::hub::{Faults, fault::FrameGarble};

/// Something that breaks at once, or stays broken until it is mended.
#[derive(Deserialize)]
#[serde(
    tag = "name",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub(crate) enum Disruption {
    DetachLinks {
        /// Part of the address; all links without it.
        #[serde(default)]
        address: String,
        condition: Option<String>,
    },
    EndSessions {
        condition: Option<String>,
    },
    CloseConnections {
        condition: Option<String>,
    },
    StopResponding,
    SendNonsense {
        kind: FrameGarble,
    },
    RefuseTokens {
        status: i32,
        #[serde(default = "one")]
        next: usize,
    },
    HoldSettlements,
    SettleAgain,
    HoldTransfers,
    ReleaseTransfers,
}

pub(crate) fn cause(faults: &Faults, disruption: Disruption) {
    let amqp = faults.amqp();
    match disruption {
        Disruption::DetachLinks { address, condition } => amqp.detach_links(&address, condition.as_deref()),
        Disruption::EndSessions { condition } => amqp.end_sessions(condition.as_deref()),
        Disruption::CloseConnections { condition } => amqp.close_connections(condition.as_deref()),
        Disruption::StopResponding => amqp.stop_responding(),
        Disruption::SendNonsense { kind } => amqp.send_nonsense(kind),
        Disruption::RefuseTokens { status, next } => amqp.refuse_next_tokens(status, next),
        Disruption::HoldSettlements => amqp.hold_settlements(),
        Disruption::SettleAgain => amqp.settle_again(),
        Disruption::HoldTransfers => faults.hold_transfers(),
        Disruption::ReleaseTransfers => faults.release_transfers(),
    }
}

fn one() -> usize {
    1
}

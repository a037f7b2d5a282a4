use serde::{Deserialize, Serialize};

use super::answer::{Answer, Mistake};
use crate::hub::{Fault, Hub, faults::When};

/// A fault and when it happens: the `next` times, or with a `probability` and a `seed`.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scheduled {
    fault: Fault,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

pub(crate) fn read(hub: &Hub) -> Vec<Scheduled> {
    let scheduled = hub.faults().scheduled().into_iter();
    scheduled
        .map(|(fault, when)| match when {
            When::Next(next) => Scheduled {
                fault,
                next: Some(next),
                probability: None,
                seed: None,
            },
            When::Chance { probability, seed } => Scheduled {
                fault,
                next: None,
                probability: Some(probability),
                seed: Some(seed),
            },
        })
        .collect()
}

pub(crate) fn add(hub: &Hub, scheduled: Scheduled) -> Result<Answer, Mistake> {
    let when = match (scheduled.next, scheduled.probability, scheduled.seed) {
        (next, None, None) => When::Next(next.unwrap_or(1)),
        (None, Some(probability), Some(seed)) => When::Chance { probability, seed },
        _ => return Err(Mistake::bad("a fault has `next`, or `probability` and `seed`")),
    };
    hub.faults().inject(scheduled.fault, when)?;
    Ok(Answer::nothing())
}

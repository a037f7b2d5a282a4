use std::time::Duration;

use serde::Serialize;

use super::answer::{Answer, Mistake};
use crate::hub::{Hub, journal::Entry};

/// A part of the journal.
#[derive(Serialize)]
struct Part {
    entries: Vec<Entry>,
    /// What to ask for next: the number of the last entry here, or of the last that was asked for.
    last: u64,
}

/// Gives what came after entry `since`, at most `limit` entries, and waits up to `wait` seconds for the first.
pub(crate) async fn read(hub: &Hub, query: &str) -> Result<Answer, Mistake> {
    let (mut since, mut limit, mut wait) = (0, 1000, 0);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let slot = match &*name {
            "since" => &mut since,
            "limit" => &mut limit,
            "wait" => &mut wait,
            _ => return Err(Mistake::bad(format!("{name:?} is not since, limit or wait"))),
        };
        let number = value.parse::<u64>();
        *slot = number.map_err(|_| Mistake::bad(format!("{name} is {value:?}, and has to be a number")))?;
    }
    let limit = usize::try_from(limit.clamp(1, MOST)).unwrap_or(usize::MAX);
    let journal = hub.journal();
    // Whether something came or not, what is there is the answer.
    let _ = tokio::time::timeout(Duration::from_secs(wait.min(LONGEST)), journal.newer_than(since)).await;
    let entries = journal.since(since, limit);
    let last = entries.last().map_or(since, |entry| entry.number);
    Answer::json(&Part { entries, last })
}

const MOST: u64 = 10_000;

/// In seconds.
const LONGEST: u64 = 60;

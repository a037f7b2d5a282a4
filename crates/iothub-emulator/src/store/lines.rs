//! Lines of JSON, one for each thing that is kept.

use crate::{
    hub::{Failure, changes::Batch},
    state::{Record, State, check_format},
};

/// Takes up what a line holds.
pub(super) fn restore(line: &[u8], state: &State) -> Result<(), Failure> {
    let text = std::str::from_utf8(line).map_err(|_| Failure::argument("not UTF-8"))?;
    match serde_json::from_str::<Record>(text) {
        Ok(record) => state.restore(record),
        Err(error) => {
            check_format(text)?;
            Err(Failure::argument(error.to_string()))
        }
    }
}

/// Writes a line for everything that has changed: what it is now, or that it is gone.
pub(super) fn write_changed(state: &State, lines: &mut Vec<u8>) -> Batch {
    // Locked first, so that whatever changes together is in the batch together.
    let still = state.hub.hold_still();
    let batch = state.hub.changes().take();
    for key in &batch.keys {
        let record = state.record(&still, key);
        write_line(&record.unwrap_or_else(|| Record::Deleted(key.clone())), lines);
    }
    batch
}

/// Writes a line for everything that is there, and hands over the lines some at a time, so that others get their turn.
pub(super) fn write_all<E>(state: &State, mut take: impl FnMut(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let mut lines = Vec::new();
    for keys in state.keys().chunks(CHUNK) {
        let still = state.hub.hold_still();
        // What has gone since is noted, or nobody's concern.
        for record in keys.iter().filter_map(|key| state.record(&still, key)) {
            write_line(&record, &mut lines);
        }
        drop(still);
        take(&mut lines)?;
    }
    Ok(())
}

fn write_line(record: &Record, lines: &mut Vec<u8>) {
    // Records hold texts and numbers, which can always be written.
    let _ = serde_json::to_writer(&mut *lines, record);
    lines.push(b'\n');
}

/// How many things are read under one lock.
const CHUNK: usize = 256;

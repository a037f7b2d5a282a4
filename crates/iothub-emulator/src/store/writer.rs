use std::{io, time::Duration};

use azure_core::error::{ErrorKind, ResultExt};
use iothub_core::Result;
use tracing::{debug, error};

use super::{lines, lock::DirectoryLock, log::Log};
use crate::{
    hub::changes::{Batch, Changes},
    state::State,
};

/// Stores what changes in a hub, batch by batch. Each holds everything that came while the one before was written.
pub(super) struct Writer {
    state: State,
    log: Log,
    _lock: DirectoryLock,
}

impl Writer {
    pub(super) fn new(state: State, log: Log, lock: DirectoryLock) -> Self {
        Self {
            state,
            log,
            _lock: lock,
        }
    }

    /// Writes the file if there is none yet.
    pub(super) fn begin(&mut self) -> Result<()> {
        if !self.log.is_new() {
            return Ok(());
        }
        let (batch, written) = self.rewrite();
        written.with_context_fn(ErrorKind::Io, || format!("writing {}", self.log.path().display()))?;
        self.changes().succeeded(&batch);
        Ok(())
    }

    /// Works until the hub is closed, and stores what has been noted until then.
    pub(super) fn run(mut self) {
        while self.changes().wait() {
            let (batch, written) = match self.log.is_bloated() {
                true => self.rewrite(),
                false => self.append(),
            };
            let Err(failure) = written else {
                self.changes().succeeded(&batch);
                continue;
            };
            let file = self.log.path().display();
            error!(%file, %failure, "the state of the hub could not be stored");
            let reason = format!("what was done could not be stored in {file}: {failure}");
            self.changes().failed(batch, &reason);
            if !self.changes().pause(BREATH) {
                break;
            }
        }
        self.changes().closed();
    }

    fn changes(&self) -> &Changes {
        self.state.hub.changes()
    }

    fn append(&mut self) -> (Batch, io::Result<()>) {
        let mut lines = Vec::new();
        let batch = lines::write_changed(&self.state, &mut lines);
        (batch, self.log.append(&lines))
    }

    /// Writes a file with everything in it, and puts it in the place of the old one.
    fn rewrite(&mut self) -> (Batch, io::Result<()>) {
        debug!(file = %self.log.path().display(), "writing the state file anew");
        let (state, mut batch) = (&self.state, None);
        let written = self.log.rewrite(|file| {
            lines::write_all(state, |lines| file.write(lines))?;
            // What has changed meanwhile goes with it, so that the whole is what the hub was at one moment.
            let mut lines = Vec::new();
            batch = Some(lines::write_changed(state, &mut lines));
            file.write(&mut lines)
        });
        (batch.unwrap_or_else(|| state.hub.changes().take()), written)
    }
}

/// How long to wait before what failed is tried again.
const BREATH: Duration = Duration::from_secs(1);

//! The state of a hub on disk: a file that grows by what changes, and is read when the hub starts again.
//!
//! A hub lives in memory; the file is there to bring it back. Changes are appended in batches, each of which counts as a
//! whole or not at all, and a file that has grown far beyond what it holds is written anew. Its lines are those of an
//! export, so that whoever can read one can read the other.

mod lines;
mod lock;
mod log;
pub(crate) mod transfer;
mod writer;

use std::{path::Path, thread::JoinHandle};

use azure_core::error::{ErrorKind, ResultExt};
use iothub_core::Result;
use tracing::info;

use self::{lock::DirectoryLock, log::Log, writer::Writer};
use crate::{hub::key::Key, state::State};

/// A state file that was read, and is kept up to date after [`start`](Self::start).
pub(crate) struct Store {
    state: State,
    log: Log,
    lock: DirectoryLock,
}

/// Keeps a state file up to date until it is dropped. What was decided before that is stored then.
pub(crate) struct Storing {
    state: State,
    writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Reads what there is into a state that is new.
    ///
    /// # Errors
    ///
    /// Another process uses the directory, or the file cannot be read, is damaged or of a newer form.
    pub(crate) fn open(directory: &Path, state: &State) -> Result<Self> {
        let lock = DirectoryLock::take(directory)?;
        let log = Log::read(&directory.join(FILE), |line| lines::restore(line, state))?;
        if !log.is_new() {
            state.settle();
            info!(file = %log.path().display(), bytes = log.len(), "the hub goes on where it was");
        }
        Ok(Self {
            state: state.clone(),
            log,
            lock,
        })
    }

    /// Whether there was no state yet.
    pub(crate) fn is_new(&self) -> bool {
        self.log.is_new()
    }

    /// Stores what the hub holds now, if that is new, and everything that changes from now on.
    pub(crate) fn start(self) -> Result<Storing> {
        let Self { state, log, lock } = self;
        state.hub.changes().switch_on();
        // The first line that is added says in which form the others are, so that an older emulator knows that it cannot
        // read them.
        state.hub.changes().note(|| Key::Hub);
        let mut writer = Writer::new(state.clone(), log, lock);
        writer.begin()?;
        let writer = std::thread::Builder::new()
            .name("iothub-state".to_owned())
            .spawn(move || writer.run())
            .with_context(ErrorKind::Io, "starting the thread that stores state")?;
        Ok(Storing {
            state,
            writer: Some(writer),
        })
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        self.state.hub.changes().close();
        if let Some(writer) = self.writer.take() {
            // If it has panicked, it has said so.
            let _ = writer.join();
        }
    }
}

/// The name of the state file in a data directory.
pub(crate) const FILE: &str = "hub.jsonl";

use std::{
    fs::{File, OpenOptions},
    path::Path,
};

use azure_core::error::{ErrorKind, ResultExt};
use fs4::FileExt;
use iothub_core::{Error, Result};

/// The right to use a data directory, which one process has at a time. It ends with the value, or with the process.
pub(crate) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    pub(crate) fn take(directory: &Path) -> Result<Self> {
        // A file of its own, because the state file is replaced now and then.
        let path = directory.join("hub.lock");
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(false).open(&path);
        let file = opened.with_context_fn(ErrorKind::Io, || format!("opening {}", path.display()))?;
        FileExt::try_lock(&file).map_err(|_| {
            Error::with_message_fn(ErrorKind::Io, || {
                format!(
                    "{} is in use by another iothub-emulator: stop that one, or use another directory",
                    directory.display()
                )
            })
        })?;
        Ok(Self { file })
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing the file would not do: a process that was just started may have a copy of it until it is another program.
        let _ = FileExt::unlock(&self.file);
    }
}

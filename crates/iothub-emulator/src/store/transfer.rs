//! A whole hub out of a data directory and into one, as a file of lines.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
};

use azure_core::error::{ErrorKind, ResultExt};
use iothub_core::{Error, Result};

use super::{FILE, lines, lock::DirectoryLock, log::Log};
use crate::state::State;

/// Writes the hub that lives in a data directory: a line of JSON for each thing, always in the same order, so that two
/// exports can be compared.
///
/// The keys of devices and of the storage account are among it, in clear. Policies, certificates and the tenant are not:
/// they are no state of the hub, and have files of their own.
///
/// # Errors
///
/// There is no hub in the directory, an emulator is using it, it is damaged, or `to` cannot be written.
pub fn export_state(data_dir: &Path, mut to: impl Write) -> Result<()> {
    let _lock = DirectoryLock::take(data_dir)?;
    let state = State::empty()?;
    let log = Log::read(&data_dir.join(FILE), |line| lines::restore(line, &state))?;
    if log.is_new() {
        return Err(Error::with_message_fn(ErrorKind::Io, || {
            format!("{} holds no hub", data_dir.display())
        }));
    }
    write_state(&state, &mut to)
}

/// Makes a data directory for the hub that somebody exported, or wrote by hand: see the README for the form.
///
/// # Errors
///
/// There is a hub in the directory already, or a line is not what a hub could have exported; the error names the line.
/// Nothing is left of the attempt.
///
/// # Examples
///
/// ```
/// # let directory = std::env::temp_dir().join(format!("iothub-emulator-doc-{}", std::process::id()));
/// let file = br#"{"device":{"deviceId":"lamp","tags":{"room":"hall"}}}"#;
/// iothub_emulator::import_state(&directory, &file[..])?;
/// let mut exported = Vec::new();
/// iothub_emulator::export_state(&directory, &mut exported)?;
/// assert!(String::from_utf8_lossy(&exported).contains(r#""deviceId":"lamp","generationId":""#));
/// # std::fs::remove_dir_all(&directory).unwrap();
/// # Ok::<(), iothub_core::Error>(())
/// ```
pub fn import_state(data_dir: &Path, from: impl BufRead) -> Result<()> {
    fs::create_dir_all(data_dir).with_context_fn(ErrorKind::Io, || format!("making {}", data_dir.display()))?;
    let _lock = DirectoryLock::take(data_dir)?;
    let path = data_dir.join(FILE);
    if path.exists() {
        return Err(Error::with_message_fn(ErrorKind::Io, || {
            format!("{} holds a hub already: move it away for another one", path.display())
        }));
    }
    let state = State::empty()?;
    read_state(&state, from, "the import")?;
    let mut log = Log::read(&path, |_| Ok(()))?;
    log.rewrite(|file| lines::write_all(&state, |lines| file.write(lines)))
        .with_context_fn(ErrorKind::Io, || format!("writing {}", path.display()))
}

/// Takes up what a seed file holds.
pub(crate) fn seed(state: &State, file: &Path) -> Result<()> {
    let opened = File::open(file).with_context_fn(ErrorKind::Io, || format!("opening {}", file.display()))?;
    read_state(state, BufReader::new(opened), &file.display().to_string())
}

/// Writes everything that is kept.
pub(crate) fn write_state(state: &State, to: &mut impl Write) -> Result<()> {
    let written = lines::write_all(state, |lines| {
        to.write_all(lines)?;
        lines.clear();
        io::Result::Ok(())
    });
    written
        .and_then(|()| to.flush())
        .with_context(ErrorKind::Io, "writing an export")
}

/// Takes up lines, from the first to the last.
pub(crate) fn read_state(state: &State, mut from: impl BufRead, name: &str) -> Result<()> {
    let mut line = Vec::new();
    for number in 1_usize.. {
        line.clear();
        let read = from.by_ref().take(LONGEST).read_until(b'\n', &mut line);
        let read = read.with_context_fn(ErrorKind::Io, || format!("reading {name}"))?;
        if read == 0 {
            break;
        }
        let wrong =
            |why: &str| Error::with_message_fn(ErrorKind::DataConversion, || format!("{name}: line {number}: {why}"));
        if read as u64 == LONGEST {
            return Err(wrong("it has no end"));
        }
        let text = line.trim_ascii();
        // Those of a state file that is read as it is, and those between things that somebody wrote.
        if text.is_empty() || text.starts_with(b"{\"commit\":") {
            continue;
        }
        lines::restore(text, state).map_err(|failure| wrong(&failure.message))?;
    }
    state.settle();
    Ok(())
}

/// More than a blob of the largest size takes.
const LONGEST: u64 = 1024 * 1024 * 1024;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use azure_core::error::{ErrorKind, ResultExt};
use iothub_core::{Error, Result};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::hub::Failure;

/// A file of lines to which batches are appended. Each batch ends with a line that says how many lines it has, and their
/// hash; without that line it does not count.
pub(super) struct Log {
    path: PathBuf,
    /// `None` as long as there is no file.
    file: Option<File>,
    /// The end of the last batch.
    length: u64,
    /// The length of the file when it was written as a whole.
    whole: u64,
}

/// The line at the end of a batch.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Mark {
    Commit(Commit),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Commit {
    lines: usize,
    /// The first half of it, in hexadecimal digits.
    sha256: String,
    /// Everything that there is stands before this line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    whole: bool,
}

impl Log {
    /// Reads every line of every batch, in order.
    ///
    /// What follows the last batch is a batch that nobody was told of, and cut off.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not as it was written, or `apply` takes exception to a line.
    pub(super) fn read(path: &Path, apply: impl FnMut(&[u8]) -> std::result::Result<(), Failure>) -> Result<Self> {
        let mut log = Self {
            path: path.to_owned(),
            file: None,
            length: 0,
            whole: 0,
        };
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(log),
            opened => opened.with_context_fn(ErrorKind::Io, || format!("opening {}", path.display()))?,
        };
        log.read_batches(&file, apply)?;
        if log.length == 0 {
            let text = "it has no line that begins with {\"commit\": and so is no state file of an iothub-emulator. Move \
                        it away for a new hub; --seed or `import` read an export";
            return Err(log.wrong(text));
        }
        let bytes = file.metadata().map_or(log.length, |data| data.len()) - log.length;
        if bytes > 0 {
            warn!(file = %path.display(), bytes, "the last batch is not complete, and nobody was told of it: it is left out");
            file.set_len(log.length)
                .with_context_fn(ErrorKind::Io, || format!("cutting {}", path.display()))?;
        }
        log.file = Some(file);
        Ok(log)
    }

    /// Appends a batch, which is on the disk when this returns.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let commit = mark(lines, false)?;
        let written = (|| {
            file.seek(SeekFrom::Start(self.length))?;
            file.write_all(lines)?;
            file.write_all(&commit)?;
            file.sync_data()
        })();
        match written {
            Ok(()) => self.length += (lines.len() + commit.len()) as u64,
            // The half of a batch is written over by the next one, and has to be no longer than that.
            Err(_) => drop(file.set_len(self.length)),
        }
        written
    }

    /// Writes a file with what `write` has to say, and puts it in the place of the old one.
    pub(super) fn rewrite(&mut self, write: impl FnOnce(&mut NewFile) -> io::Result<()>) -> io::Result<()> {
        let partial = self.path.with_extension("jsonl.new");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut new = NewFile {
            file: options.open(&partial)?,
            lines: Vec::new(),
            length: 0,
        };
        let written = write(&mut new).and_then(|()| new.finish());
        let written = written.and_then(|()| fs::rename(&partial, &self.path));
        if let Err(error) = written {
            let _ = fs::remove_file(&partial);
            return Err(error);
        }
        #[cfg(unix)]
        if let Some(directory) = self.path.parent() {
            // A name is on the disk when its directory is.
            File::open(directory)?.sync_all()?;
        }
        (self.length, self.whole) = (new.length, new.length);
        self.file = Some(new.file);
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.length
    }

    pub(super) fn is_new(&self) -> bool {
        self.file.is_none()
    }

    /// Whether most of it is about what has changed since or is gone.
    pub(super) fn is_bloated(&self) -> bool {
        self.length > 2 * self.whole + ALLOWANCE
    }

    fn read_batches(
        &mut self,
        file: &File,
        mut apply: impl FnMut(&[u8]) -> std::result::Result<(), Failure>,
    ) -> Result<()> {
        let mut reader = BufReader::with_capacity(BUFFER, file);
        let (mut lines, mut ends) = (Vec::new(), Vec::new());
        // Of the first line of the batch.
        let mut number = 1;
        loop {
            let start = lines.len();
            let read = reader.by_ref().take(LONGEST).read_until(b'\n', &mut lines);
            let read = read.with_context_fn(ErrorKind::Io, || format!("reading {}", self.path.display()))?;
            let Some(line) = lines[start..].strip_suffix(b"\n") else {
                return match read as u64 {
                    LONGEST => Err(self.wrong(&format!("line {} has no end", number + ends.len()))),
                    _ => Ok(()),
                };
            };
            let Some(commit) = Commit::parse(line) else {
                ends.push(lines.len());
                continue;
            };
            if commit.lines != ends.len() || commit.sha256 != hash(&lines[..start]) {
                let (last, offset) = (number + ends.len(), self.length);
                return Err(self.wrong(&format!(
                    "lines {number} to {last} are not as they were written. Bring the file back from a copy, or cut it \
                     off after its first {offset} bytes to go on with what was stored before"
                )));
            }
            let mut from = 0;
            for (at, end) in ends.drain(..).enumerate() {
                apply(&lines[from..end - 1])
                    .map_err(|failure| self.wrong(&format!("line {}: {}", number + at, failure.message)))?;
                from = end;
            }
            number += commit.lines + 1;
            self.length += lines.len() as u64;
            if commit.whole {
                self.whole = self.length;
            }
            lines.clear();
        }
    }

    fn wrong(&self, why: &str) -> Error {
        Error::with_message_fn(ErrorKind::DataConversion, || format!("{}: {why}", self.path.display()))
    }
}

/// A file that is going to take the place of another one.
pub(super) struct NewFile {
    file: File,
    /// The batch that is still open.
    lines: Vec<u8>,
    length: u64,
}

impl NewFile {
    /// Takes lines over.
    pub(super) fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        self.lines.append(lines);
        match self.lines.len() >= BUFFER {
            true => self.commit(false),
            false => Ok(()),
        }
    }

    /// Some batches are as good as one, because the file counts only when all are there.
    fn commit(&mut self, whole: bool) -> io::Result<()> {
        let commit = mark(&self.lines, whole)?;
        self.file.write_all(&self.lines)?;
        self.file.write_all(&commit)?;
        self.length += (self.lines.len() + commit.len()) as u64;
        self.lines.clear();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.commit(true)?;
        self.file.sync_all()
    }
}

impl Commit {
    /// `None` if it is another line.
    fn parse(line: &[u8]) -> Option<Self> {
        if !line.starts_with(b"{\"commit\"") {
            return None;
        }
        let Mark::Commit(commit) = serde_json::from_slice(line).ok()?;
        Some(commit)
    }
}

/// The line that makes a batch count.
fn mark(lines: &[u8], whole: bool) -> io::Result<Vec<u8>> {
    let commit = Commit {
        lines: lines.iter().filter(|byte| **byte == b'\n').count(),
        sha256: hash(lines),
        whole,
    };
    let mut line = serde_json::to_vec(&Mark::Commit(commit))?;
    line.push(b'\n');
    Ok(line)
}

fn hash(lines: &[u8]) -> String {
    let hash = digest(&SHA256, lines);
    hash.as_ref()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// How much a file may grow before it is worth writing it anew.
const ALLOWANCE: u64 = 16 * 1024 * 1024;

const BUFFER: usize = 1024 * 1024;

/// More than a blob of the largest size takes.
const LONGEST: u64 = 1024 * 1024 * 1024;

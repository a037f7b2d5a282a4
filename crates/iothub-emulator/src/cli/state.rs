use std::{
    error::Error,
    fs::{File, OpenOptions},
    io::{BufReader, BufWriter, stdin, stdout},
    path::PathBuf,
};

use lexopt::{Arg, Parser};

/// `iothub-emulator export` and `iothub-emulator import`. `None` if the first argument is neither.
pub(crate) fn run(mut parser: Parser) -> Option<Result<(), Box<dyn Error>>> {
    match parser.next() {
        Ok(Some(Arg::Value(word))) if word == "export" => Some(Places::parse(parser).and_then(Places::export)),
        Ok(Some(Arg::Value(word))) if word == "import" => Some(Places::parse(parser).and_then(Places::import)),
        _ => None,
    }
}

struct Places {
    data_dir: PathBuf,
    /// Without one, what is piped in or out.
    file: Option<PathBuf>,
}

impl Places {
    fn parse(mut parser: Parser) -> Result<Self, Box<dyn Error>> {
        let (mut data_dir, mut file) = (None, None);
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("data-dir") => data_dir = Some(PathBuf::from(parser.value()?)),
                Arg::Value(name) if file.is_none() => file = Some(PathBuf::from(name)),
                other => return Err(other.unexpected().into()),
            }
        }
        let data_dir = data_dir.ok_or("--data-dir DIR says which hub")?;
        Ok(Self { data_dir, file })
    }

    fn export(self) -> Result<(), Box<dyn Error>> {
        let Some(file) = self.file else {
            return Ok(iothub_emulator::export_state(
                &self.data_dir,
                BufWriter::new(stdout().lock()),
            )?);
        };
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        // There are keys in it.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let opened = options
            .open(&file)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(iothub_emulator::export_state(&self.data_dir, BufWriter::new(opened))?)
    }

    fn import(self) -> Result<(), Box<dyn Error>> {
        let Some(file) = self.file else {
            return Ok(iothub_emulator::import_state(&self.data_dir, stdin().lock())?);
        };
        let opened = File::open(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(iothub_emulator::import_state(&self.data_dir, BufReader::new(opened))?)
    }
}

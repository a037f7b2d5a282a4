use std::{env, fs, io, path::Path};

/// The inputs of a target that are kept: the name of each file and what is in it.
///
/// What a fuzzer adds to them has no dot in its name and is left out, so that this is the same everywhere.
///
/// # Errors
///
/// The folder or a file in it cannot be read.
pub fn corpus(target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.contains('.') {
            inputs.push((name, fs::read(entry.path())?));
        }
    }
    inputs.sort();
    Ok(inputs)
}

/// Runs a target on the files named on the command line, or on its corpus if there are none.
///
/// # Errors
///
/// A file cannot be read.
pub fn replay<T>(name: &str, target: fn(&[u8]) -> T) -> io::Result<()> {
    let files: Vec<String> = env::args().skip(1).collect();
    let inputs = match files.is_empty() {
        true => corpus(name)?,
        false => files
            .into_iter()
            .map(|file| fs::read(&file).map(|bytes| (file, bytes)))
            .collect::<io::Result<_>>()?,
    };
    for (file, bytes) in inputs {
        eprintln!("{name}: {file}, {} bytes", bytes.len());
        target(&bytes);
    }
    Ok(())
}

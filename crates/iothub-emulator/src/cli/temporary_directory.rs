use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A directory of this process's own with one file in it, gone when it ends in good order.
pub(crate) struct TemporaryDirectory {
    directory: PathBuf,
    file: PathBuf,
}

impl TemporaryDirectory {
    pub(crate) fn with(name: &str, contents: &str) -> io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("iothub-emulator-{}", uuid::Uuid::new_v4()));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&directory)?;
        let file = directory.join(name);
        let made = Self { directory, file };
        fs::write(&made.file, contents)?;
        Ok(made)
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

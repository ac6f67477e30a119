//! Files of which nobody ever sees half.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct FileError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// A file that has another name until it is finished; dropped before, it is gone, and
/// what stood there before is as it was.
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    temporary: NamedTempFile,
}

impl WholeFile {
    /// Makes the file beside its place, so that a place that cannot be written to is
    /// known before there is anything to write.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn create(path: &Path) -> Result<WholeFile, FileError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut builder = Builder::new();
        // A temporary file is private by default; this one is for whom the umask lets read it.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        match builder.tempfile_in(folder.unwrap_or(Path::new("."))) {
            Ok(temporary) => Ok(WholeFile { path: path.into(), temporary }),
            Err(source) => Err(FileError { path: path.into(), source }),
        }
    }

    /// Writes all of it, and gives it its name.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn finish(mut self, text: &str) -> Result<(), FileError> {
        let written = self.temporary.write_all(text.as_bytes());
        let named = written.and_then(|()| Ok(self.temporary.persist(&self.path).map(drop)?));
        named.map_err(|source| FileError { path: self.path, source })
    }
}

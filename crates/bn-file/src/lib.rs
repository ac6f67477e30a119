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
        builder.prefix(".unfinished-").suffix(".tmp");
        // A temporary file is private by default; this one is for whom the umask lets read it.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        match builder.tempfile_in(folder.unwrap_or(Path::new("."))) {
            Ok(temporary) => Ok(WholeFile { path: path.into(), temporary }),
            Err(source) => Err(FileError { path: path.into(), source }),
        }
    }

    /// Writes all of it, to the disk, and gives it its name.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn finish(mut self, content: impl AsRef<[u8]>) -> Result<(), FileError> {
        let written = self.temporary.write_all(content.as_ref());
        // A file system may keep the name before the text when the power fails.
        let kept = written.and_then(|()| self.temporary.as_file().sync_all());
        let named = kept.and_then(|()| Ok(self.temporary.persist(&self.path).map(drop)?));
        named.map_err(|source| FileError { path: self.path, source })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_finished_file_replaces_what_was_there_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        for text in ["a long first text", "second"] {
            WholeFile::create(&path).unwrap().finish(text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(folder.path()), ["page.html"]);
    }

    #[test]
    fn an_unfinished_file_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        fs::write(&path, "old").unwrap();
        let file = WholeFile::create(&path).unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        drop(file);
        assert_eq!(names(folder.path()), ["page.html"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    }

    #[test]
    fn a_place_that_is_not_there_is_named_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nowhere").join("page.html");
        let error = WholeFile::create(&path).unwrap_err();
        assert_eq!((&error.path, error.source.kind()), (&path, io::ErrorKind::NotFound));
        assert!(error.to_string().contains("page.html: "), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn whoever_the_umask_lets_read_it_can() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let [ours, plain] = ["ours", "plain"].map(|name| folder.path().join(name));
        WholeFile::create(&ours).unwrap().finish("text").unwrap();
        fs::write(&plain, "text").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}

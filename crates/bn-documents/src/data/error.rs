//! Why a user's files are no data set.

use std::io;
use std::path::PathBuf;

/// A file or folder that was refused, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct DataError {
    /// The file or the folder.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file or folder.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The folder that the user gave is not there, is no folder, or is closed to us.
    #[error("expected a folder: {0}")]
    Folder(#[source] io::Error),
    /// A file cannot be read, or is not the gzip that its name says.
    #[error("cannot be read: {0}")]
    Io(#[source] io::Error),
    /// Files are not there.
    #[error("not found: {}; looked in {}", names.join(", "), list(looked_in))]
    Missing {
        /// The files' names.
        names: Vec<String>,
        /// The folders that may hold them.
        looked_in: Vec<PathBuf>,
    },
    /// CIFAR-10's binary version as it was downloaded.
    #[error(
        "the archive is not unpacked: `tar -xzf cifar-10-binary.tar.gz` in its folder makes the folder \
         cifar-10-batches-bin"
    )]
    Packed,
    /// CIFAR-10 as Python pickles, which torchvision downloads.
    #[error(
        "CIFAR-10's version for Python; expected the binary version, cifar-10-binary.tar.gz from \
         https://www.cs.toronto.edu/~kriz/cifar.html; beside this one, `tar -xzf cifar-10-binary.tar.gz` \
         makes the folder cifar-10-batches-bin"
    )]
    Pickled,
    /// A file without a record or image.
    #[error("expected at least one image, got none")]
    Empty,
    /// A file that ends within a record.
    #[error(
        "expected whole records of {record} bytes, got {length} bytes: {} records and {} bytes",
        length / record,
        length % record
    )]
    PartOfARecord {
        /// The bytes of a record.
        record: usize,
        /// The bytes of the file.
        length: usize,
    },
    /// A label that is none of the classes.
    #[error("image {index}, counted from 0: expected a label below {classes}, got {label}")]
    Label {
        /// Which image of the file.
        index: usize,
        /// How many classes there are.
        classes: usize,
        /// What the file says.
        label: u8,
    },
    /// A file that ends within its header.
    #[error("truncated: expected a header of {expected} bytes, got {got} bytes")]
    Header {
        /// The bytes of the header.
        expected: usize,
        /// The bytes of the file.
        got: usize,
    },
    /// Another kind of file.
    #[error("expected the magic number {expected:#010x}, got {got:#010x}")]
    Magic {
        /// What such a file starts with.
        expected: u32,
        /// What this one starts with.
        got: u32,
    },
    /// Images of another size.
    #[error("expected images of {expected:?}, rows and columns, got {got:?}")]
    Size {
        /// Rows and columns.
        expected: Vec<u32>,
        /// What the file says.
        got: Vec<u32>,
    },
    /// A file that ends before the last of what its header announces.
    #[error("truncated: expected {expected} bytes after the header, got {got}")]
    Truncated {
        /// What the header announces.
        expected: u64,
        /// What follows it.
        got: u64,
    },
    /// A file that goes on after the last of what its header announces.
    #[error("expected {expected} bytes after the header, got more")]
    TrailingBytes {
        /// What the header announces.
        expected: u64,
    },
    /// Labels of other images.
    #[error("expected a label for each of the {images} images of {}, got {labels} labels", of.display())]
    Labels {
        /// How many images there are.
        images: usize,
        /// In which file.
        of: PathBuf,
        /// How many labels this file has.
        labels: usize,
    },
}

impl Problem {
    pub(super) fn missing(names: &[&str], looked_in: &[PathBuf]) -> Self {
        let names = names.iter().map(|name| name.to_string()).collect();
        Problem::Missing { names, looked_in: looked_in.to_vec() }
    }

    /// The refusal of this file.
    pub(super) fn of(self, file: impl Into<PathBuf>) -> DataError {
        DataError { file: file.into(), problem: self }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}

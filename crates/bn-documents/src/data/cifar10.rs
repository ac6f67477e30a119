//! CIFAR-10 (Krizhevsky 2009): colour photographs of 32×32 pixels, of ten classes.
//!
//! The binary version is read: each file is records of one label, 0 to 9, and 3072 pixels, all
//! red ones row by row, then the green, then the blue ones. That is PyTorch's order, (channel,
//! row, column). As distributed, each of the five files to train on and the one to test on holds
//! 10 000 records; a file with fewer or more is read as well.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::find;
use super::{DataError, Dataset, Problem, Split, Targets, Values};

const CLASSES: usize = 10;
const SHAPE: [usize; 3] = [3, 32, 32];
const RECORD: usize = 1 + 3 * 32 * 32;

const FOLDER: &str = "cifar-10-batches-bin";
const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

/// What says that the version for Python is there: its archive, its folder, or what that holds.
const PICKLED: [&str; 3] = ["cifar-10-python.tar.gz", "cifar-10-batches-py", "data_batch_1"];
const ARCHIVE: &str = "cifar-10-binary.tar.gz";

/// CIFAR-10's training set, and its test set to validate on: images of shape (3, 32, 32), each
/// value a byte divided by 255 in f32, as torchvision's ToTensor has them.
///
/// `dir` is `cifar-10-batches-bin`, or the folder that holds it.
///
/// # Errors
/// [`DataError`]: a file is missing, empty or cut short, or a label is not below 10; also if only
/// the version for Python or a packed archive is there.
pub fn cifar10(dir: &Path) -> Result<Split, DataError> {
    let folders = [dir.join(FOLDER), dir.to_path_buf()];
    let Some([train @ .., test]) = find(dir, &folders, FILES, &[""])? else {
        return Err(what_is_there_instead(dir, &folders));
    };
    Ok(Split { train: read("CIFAR-10, training", &train)?, validation: read("CIFAR-10, test", &[test])? })
}

/// What to do about a folder without any of the files.
fn what_is_there_instead(dir: &Path, folders: &[PathBuf]) -> DataError {
    let there = |name: &&str| dir.join(name).exists();
    if there(&ARCHIVE) {
        return Problem::Packed.of(dir.join(ARCHIVE));
    }
    match PICKLED.iter().find(|name| there(name)) {
        Some(name) => Problem::Pickled.of(dir.join(name)),
        None => Problem::missing(&FILES, folders).of(dir),
    }
}

/// The records of the files, one file after the other.
fn read(name: &str, files: &[PathBuf]) -> Result<Dataset, DataError> {
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    for file in files {
        append(file, &mut labels, &mut pixels)?;
    }
    let targets = Targets::Classes { of: labels, count: CLASSES };
    Ok(Dataset::new(name, &SHAPE, Values::pixels(pixels, 0.0, 1.0), targets))
}

/// Appends what the file holds.
fn append(file: &Path, labels: &mut Vec<usize>, pixels: &mut Vec<u8>) -> Result<(), DataError> {
    let bytes = fs::read(file).map_err(|error| Problem::Io(error).of(file))?;
    let (records, rest) = bytes.as_chunks::<RECORD>();
    if !rest.is_empty() {
        return Err(Problem::PartOfARecord { record: RECORD, length: bytes.len() }.of(file));
    }
    if records.is_empty() {
        return Err(Problem::Empty.of(file));
    }
    for (index, &[label, ref image @ ..]) in records.iter().enumerate() {
        if usize::from(label) >= CLASSES {
            return Err(Problem::Label { index, classes: CLASSES, label }.of(file));
        }
        labels.push(label.into());
        pixels.extend_from_slice(image);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A record whose red, green and blue pixels count from `first`, `first` + 1 and `first` + 2 on.
    fn record(label: u8, first: u8) -> Vec<u8> {
        let plane = |colour: u8| (0..1024).map(move |at| (at % 200) as u8 + first + colour);
        [label].into_iter().chain((0..3).flat_map(plane)).collect()
    }

    /// The six files: file k to train on holds k images of class k, the one to test on two of 9 and 0.
    fn made() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(FOLDER)).unwrap();
        for (file, name) in (1u8..).zip(&FILES[..5]) {
            let records: Vec<Vec<u8>> = (0..file).map(|at| record(file, 10 * file + at)).collect();
            fs::write(dir.path().join(FOLDER).join(name), records.concat()).unwrap();
        }
        fs::write(dir.path().join(FOLDER).join(FILES[5]), [record(9, 0), record(0, 7)].concat()).unwrap();
        dir
    }

    fn refusal(dir: &Path) -> String {
        let error = cifar10(dir).unwrap_err().to_string();
        error.replace(dir.to_str().unwrap(), "DIR")
    }

    /// The message after a file's contents were replaced.
    fn refusal_of(name: &str, bytes: &[u8]) -> String {
        let dir = made();
        fs::write(dir.path().join(FOLDER).join(name), bytes).unwrap();
        refusal(dir.path())
    }

    #[test]
    fn both_folders_lead_to_the_images() {
        let dir = made();
        let split = cifar10(dir.path()).unwrap();
        assert!(split == cifar10(&dir.path().join(FOLDER)).unwrap());
        let of = vec![1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5];
        assert_eq!(split.train.targets(), &Targets::Classes { of, count: 10 });
        assert_eq!(split.validation.targets(), &Targets::Classes { of: vec![9, 0], count: 10 });
        assert_eq!((split.train.name(), split.validation.name()), ("CIFAR-10, training", "CIFAR-10, test"));
    }

    /// Channel, row and column differ in what they add; so do files and records.
    #[test]
    fn pixels_stand_in_their_channel_row_and_column() {
        let split = cifar10(made().path()).unwrap();
        assert_eq!(split.train.example_shape(), [3, 32, 32]);
        // The third image of file 4.
        let batch = split.train.batch::<f32>(&[8]);
        assert_eq!(batch.shape(), [1, 3, 32, 32]);
        assert_eq!(batch[[0, 0, 0, 0]], 42.0 / 255.0);
        assert_eq!(batch[[0, 2, 0, 0]], 44.0 / 255.0);
        assert_eq!(batch[[0, 1, 3, 5]], (43.0 + 3.0 * 32.0 + 5.0) / 255.0);
    }

    #[test]
    fn what_is_missing_is_named_with_where_it_was_looked_for() {
        let dir = made();
        fs::remove_file(dir.path().join(FOLDER).join("data_batch_3.bin")).unwrap();
        fs::remove_file(dir.path().join(FOLDER).join("test_batch.bin")).unwrap();
        let expected = "DIR: not found: data_batch_3.bin, test_batch.bin; looked in DIR/cifar-10-batches-bin";
        assert_eq!(refusal(dir.path()), expected);

        let empty = tempfile::tempdir().unwrap();
        let expected = "DIR: not found: data_batch_1.bin, data_batch_2.bin, data_batch_3.bin, data_batch_4.bin, \
                        data_batch_5.bin, test_batch.bin; looked in DIR/cifar-10-batches-bin, DIR";
        assert_eq!(refusal(empty.path()), expected);
    }

    #[test]
    fn a_folder_is_asked_for() {
        let dir = made();
        assert!(refusal(&dir.path().join("nowhere")).starts_with("DIR: expected a folder: "));
        let file = dir.path().join(FOLDER).join("test_batch.bin");
        assert!(refusal(&file).starts_with("DIR: expected a folder: "));
    }

    #[test]
    fn the_version_for_python_is_told_from_the_binary_one() {
        for name in PICKLED {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), "").unwrap();
            let message = refusal(dir.path());
            assert!(
                message.starts_with(&format!("DIR/{name}: CIFAR-10's version for Python; ")),
                "{message}"
            );
            assert!(message.contains("expected the binary version, cifar-10-binary.tar.gz"), "{message}");
        }
        // Where both are there, nothing is amiss.
        let dir = made();
        fs::write(dir.path().join(PICKLED[0]), "").unwrap();
        assert_eq!(cifar10(dir.path()).unwrap().train.len(), 15);
    }

    #[test]
    fn a_packed_archive_is_to_be_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        // The archive of the needed version counts, whatever else is there.
        for name in [PICKLED[0], ARCHIVE] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let expected = "DIR/cifar-10-binary.tar.gz: the archive is not unpacked: \
                        `tar -xzf cifar-10-binary.tar.gz` in its folder makes the folder cifar-10-batches-bin";
        assert_eq!(refusal(dir.path()), expected);
    }

    #[test]
    fn a_file_cut_short_is_refused() {
        let two = [record(1, 0), record(2, 0)].concat();
        let expected = "DIR/cifar-10-batches-bin/data_batch_2.bin: expected whole records of 3073 bytes, \
                        got 6145 bytes: 1 records and 3072 bytes";
        assert_eq!(refusal_of("data_batch_2.bin", &two[..6145]), expected);
        let expected = "DIR/cifar-10-batches-bin/test_batch.bin: expected at least one image, got none";
        assert_eq!(refusal_of("test_batch.bin", &[]), expected);
    }

    #[test]
    fn a_label_that_is_no_class_is_refused() {
        let records = [record(9, 0), record(10, 0), record(11, 0)].concat();
        let expected = "DIR/cifar-10-batches-bin/data_batch_5.bin: image 1, counted from 0: \
                        expected a label below 10, got 10";
        assert_eq!(refusal_of("data_batch_5.bin", &records), expected);
    }
}

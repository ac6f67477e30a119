use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Pixel (row, column) of image i is 9·i + row + column.
fn images(count: u32) -> Vec<u8> {
    let pixels = (0..count).flat_map(|i| (0..28 * 28).map(move |at| (9 * i + at / 28 + at % 28) as u8));
    words(&[0x803, count, 28, 28]).into_iter().chain(pixels).collect()
}

fn labels(labels: &[u8]) -> Vec<u8> {
    [words(&[0x801, labels.len() as u32]), labels.to_vec()].concat()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Four images to train on and two to test on, each file through `form`, its name with `suffix`.
fn made_in(folder: &Path, suffix: &str, form: fn(&[u8]) -> Vec<u8>) {
    let contents = [images(4), labels(&[3, 1, 4, 1]), images(2), labels(&[9, 0])];
    fs::create_dir_all(folder).unwrap();
    for (name, content) in FILES.iter().zip(contents) {
        fs::write(folder.join(format!("{name}{suffix}")), form(&content)).unwrap();
    }
}

fn made() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    made_in(dir.path(), "", <[u8]>::to_vec);
    dir
}

fn refusal(dir: &Path) -> String {
    mnist(dir).unwrap_err().to_string().replace(dir.to_str().unwrap(), "DIR")
}

/// The message after a file's content was replaced.
fn refusal_of(name: &str, content: &[u8]) -> String {
    let dir = made();
    fs::write(dir.path().join(name), content).unwrap();
    refusal(dir.path())
}

#[test]
fn images_and_labels_are_read() {
    let split = mnist(made().path()).unwrap();
    assert_eq!(split.train.targets(), &Targets::Classes { of: vec![3, 1, 4, 1], count: 10 });
    assert_eq!(split.validation.targets(), &Targets::Classes { of: vec![9, 0], count: 10 });
    assert_eq!(split.train.example_shape(), [1, 28, 28]);
    assert_eq!((split.train.name(), split.validation.name()), ("MNIST, training", "MNIST, test"));
    let batch = split.train.batch::<f32>(&[3, 0]);
    assert_eq!(batch.shape(), [2, 1, 28, 28]);
    let normalised = |byte: f32| (byte / 255.0 - 0.1307) / 0.3081;
    assert_eq!(batch[[0, 0, 20, 2]], normalised(27.0 + 20.0 + 2.0));
    assert_eq!(batch[[1, 0, 0, 27]], normalised(27.0));
}

#[test]
fn every_place_and_form_gives_the_same() {
    let expected = mnist(made().path()).unwrap();
    for (folder, suffix, form) in [
        ("", ".gz", packed as fn(&[u8]) -> Vec<u8>),
        ("MNIST/raw", "", <[u8]>::to_vec),
        ("MNIST/raw", ".gz", packed),
        // One stream after another is one file to gzip.
        ("", ".gz", |bytes| [packed(&bytes[..5]), packed(&bytes[5..])].concat()),
    ] {
        let dir = tempfile::tempdir().unwrap();
        made_in(&dir.path().join(folder), suffix, form);
        assert!(mnist(dir.path()).unwrap() == expected, "{folder:?} {suffix:?}");
    }
}

#[test]
fn what_is_missing_is_named_with_where_it_was_looked_for() {
    let empty = tempfile::tempdir().unwrap();
    let expected = "DIR: not found: train-images-idx3-ubyte, train-labels-idx1-ubyte, \
                    t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte; looked in DIR, DIR/MNIST/raw";
    assert_eq!(refusal(empty.path()), expected);
    let dir = made();
    fs::remove_file(dir.path().join("t10k-labels-idx1-ubyte")).unwrap();
    assert_eq!(refusal(dir.path()), "DIR: not found: t10k-labels-idx1-ubyte; looked in DIR");
    assert!(refusal(&dir.path().join("nowhere")).starts_with("DIR: expected a folder: "));
}

#[test]
fn another_kind_of_file_is_refused() {
    let message = refusal_of("train-images-idx3-ubyte", &labels(&[1]));
    assert_eq!(message, "DIR/train-images-idx3-ubyte: expected the magic number 0x00000803, got 0x00000801");
    let message = refusal_of("t10k-labels-idx1-ubyte", &packed(&labels(&[9, 0])));
    let expected = "DIR/t10k-labels-idx1-ubyte: expected the magic number 0x00000801, got 0x1f8b0";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn images_of_another_size_are_refused() {
    for size in [[27, 28], [28, 29], [32, 32]] {
        let content = [words(&[0x803, 4, size[0], size[1]]), vec![0; (4 * size[0] * size[1]) as usize]];
        let expected = format!(
            "DIR/train-images-idx3-ubyte: expected images of [28, 28], rows and columns, got {size:?}"
        );
        assert_eq!(refusal_of("train-images-idx3-ubyte", &content.concat()), expected);
    }
}

#[test]
fn a_file_cut_short_is_refused() {
    for (length, expected) in [
        (0, "truncated: expected a header of 16 bytes, got 0 bytes"),
        (3, "truncated: expected a header of 16 bytes, got 3 bytes"),
        (15, "truncated: expected a header of 16 bytes, got 15 bytes"),
        (16, "truncated: expected 3136 bytes after the header, got 0"),
        (16 + 3135, "truncated: expected 3136 bytes after the header, got 3135"),
    ] {
        let message = refusal_of("train-images-idx3-ubyte", &images(4)[..length]);
        assert_eq!(message, format!("DIR/train-images-idx3-ubyte: {expected}"));
    }
    let expected = "DIR/train-labels-idx1-ubyte: truncated: expected a header of 8 bytes, got 7 bytes";
    assert_eq!(refusal_of("train-labels-idx1-ubyte", &labels(&[])[..7]), expected);
}

#[test]
fn a_file_that_goes_on_is_refused() {
    let expected = "DIR/t10k-labels-idx1-ubyte: expected 2 bytes after the header, got more";
    assert_eq!(refusal_of("t10k-labels-idx1-ubyte", &[labels(&[9, 0]), vec![0]].concat()), expected);
    let content = [images(2), vec![0; 784]].concat();
    let expected = "DIR/t10k-images-idx3-ubyte: expected 1568 bytes after the header, got more";
    assert_eq!(refusal_of("t10k-images-idx3-ubyte", &content), expected);
}

#[test]
fn labels_of_other_images_are_refused() {
    for other in [&[1, 2, 3][..], &[], &[1, 2, 3, 4, 5]] {
        let expected = format!(
            "DIR/train-labels-idx1-ubyte: expected a label for each of the 4 images of \
             DIR/train-images-idx3-ubyte, got {} labels",
            other.len()
        );
        assert_eq!(refusal_of("train-labels-idx1-ubyte", &labels(other)), expected);
    }
    let expected = "DIR/t10k-images-idx3-ubyte: expected at least one image, got none";
    assert_eq!(refusal_of("t10k-images-idx3-ubyte", &images(0)), expected);
    let expected = "DIR/train-labels-idx1-ubyte: image 2, counted from 0: expected a label below 10, got 10";
    assert_eq!(refusal_of("train-labels-idx1-ubyte", &labels(&[0, 9, 10, 255])), expected);
}

/// A damaged stream, one that is cut short, and one with something behind it.
#[test]
fn what_gzip_cannot_unpack_is_refused() {
    let content = packed(&images(4));
    let mut damaged = content.clone();
    // The checksum of the content is in the last eight bytes.
    let at = damaged.len() - 6;
    damaged[at] ^= 1;
    for content in [&damaged, &content[..content.len() / 2], &content[..content.len() - 1]] {
        let dir = made();
        fs::remove_file(dir.path().join("train-images-idx3-ubyte")).unwrap();
        fs::write(dir.path().join("train-images-idx3-ubyte.gz"), content).unwrap();
        let message = refusal(dir.path());
        assert!(message.starts_with("DIR/train-images-idx3-ubyte.gz: cannot be read: "), "{message}");
    }
}

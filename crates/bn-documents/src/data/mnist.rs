//! MNIST (LeCun, Cortes, Burges): handwritten digits of 28×28 pixels, from black 0 to white 255.
//!
//! The idx files are read as distributed, packed by gzip or not. Such a file is big-endian words
//! of 32 bits, then one byte per value:
//!
//! | word | images | labels |
//! |---|---|---|
//! | the magic number: 0x08 for unsigned bytes, then how many axes | 0x00000803 | 0x00000801 |
//! | the extents of the axes | count, 28, 28 | count |

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::files::find;
use super::{DataError, Dataset, Problem, Split, Targets, Values};

const CLASSES: usize = 10;
const SIDE: u32 = 28;
/// The magic number, before the number of axes is added.
const UNSIGNED_BYTES: u32 = 0x0800;

/// The mean and the standard deviation of the training set's pixels / 255, as labml and PyTorch's
/// own example write them into their Normalize.
const MEAN: f32 = 0.1307;
const STD: f32 = 0.3081;

const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// MNIST's training set, and its test set to validate on: images of shape (1, 28, 28), each value
/// (byte/255 − 0.1307)/0.3081 in f32, as torchvision's ToTensor and Normalize have them.
///
/// `dir` holds the four idx files, or torchvision's folder `MNIST/raw`, which does; a file may end
/// in `.gz`.
///
/// # Errors
/// [`DataError`]: a file is missing, empty, cut short, longer than it says, or no idx file of bytes;
/// the images are not 28×28; there are more images than labels or fewer; a label is not below 10.
pub fn mnist(dir: &Path) -> Result<Split, DataError> {
    let folders = [dir.to_path_buf(), dir.join("MNIST").join("raw")];
    let Some([train_images, train_labels, test_images, test_labels]) =
        find(dir, &folders, FILES, &["", ".gz"])?
    else {
        return Err(Problem::missing(&FILES, &folders).of(dir));
    };
    Ok(Split {
        train: read("MNIST, training", &train_images, &train_labels)?,
        validation: read("MNIST, test", &test_images, &test_labels)?,
    })
}

fn read(name: &str, images: &Path, labels: &Path) -> Result<Dataset, DataError> {
    let (count, pixels) = idx(images, &[SIDE, SIDE]).map_err(|problem| problem.of(images))?;
    if count == 0 {
        return Err(Problem::Empty.of(images));
    }
    let of = classes(labels, images, count).map_err(|problem| problem.of(labels))?;
    let shape = [1, SIDE as usize, SIDE as usize];
    Ok(Dataset::new(name, &shape, Values::pixels(pixels, MEAN, STD), Targets::Classes { of, count: CLASSES }))
}

/// The labels of so many images.
fn classes(file: &Path, images: &Path, count: usize) -> Result<Vec<usize>, Problem> {
    let (labels, bytes) = idx(file, &[])?;
    if labels != count {
        return Err(Problem::Labels { images: count, of: images.into(), labels });
    }
    match bytes.iter().position(|&label| usize::from(label) >= CLASSES) {
        Some(index) => Err(Problem::Label { index, classes: CLASSES, label: bytes[index] }),
        None => Ok(bytes.into_iter().map(usize::from).collect()),
    }
}

/// The count and the bytes of a file of items of this size.
fn idx(file: &Path, size: &[u32]) -> Result<(usize, Vec<u8>), Problem> {
    let mut content = open(file).map_err(Problem::Io)?;
    let count = header(&mut content, size)?;
    let expected = size.iter().fold(u64::from(count), |product, &extent| product * u64::from(extent));
    // One byte more than there should be tells a file that goes on, however far.
    let bytes = at_most(&mut content, expected + 1)?;
    match bytes.len() as u64 {
        got if got < expected => Err(Problem::Truncated { expected, got }),
        got if got > expected => Err(Problem::TrailingBytes { expected }),
        _ => Ok((count as usize, bytes)),
    }
}

/// How many items of this size the header announces.
fn header(content: &mut dyn Read, size: &[u32]) -> Result<u32, Problem> {
    let length = 4 * (2 + size.len());
    let bytes = at_most(content, length as u64)?;
    let words: Vec<u32> = bytes.as_chunks().0.iter().map(|&word| u32::from_be_bytes(word)).collect();
    let magic = UNSIGNED_BYTES | (1 + size.len() as u32);
    match words[..] {
        // Before the length: a short file of another kind is of another kind.
        [got, ..] if got != magic => Err(Problem::Magic { expected: magic, got }),
        [_, count, ref got @ ..] if got == size => Ok(count),
        _ if bytes.len() < length => Err(Problem::Header { expected: length, got: bytes.len() }),
        _ => Err(Problem::Size { expected: size.into(), got: words[2..].into() }),
    }
}

fn open(file: &Path) -> io::Result<Box<dyn Read>> {
    let content = File::open(file)?;
    let packed = file.extension().is_some_and(|extension| extension == "gz");
    Ok(if packed { Box::new(MultiGzDecoder::new(content)) } else { Box::new(content) })
}

fn at_most(content: &mut dyn Read, limit: u64) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    content.take(limit).read_to_end(&mut bytes).map_err(Problem::Io)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;

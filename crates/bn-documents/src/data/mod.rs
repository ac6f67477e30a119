//! What do the networks of the documents learn from?
//!
//! A *data set* is examples of one shape, each with its *target*: what a network should say of
//! it. A *split* is two of them, one to train on and one to validate on. Images are (channel,
//! row, column), as PyTorch's are; a batch has one axis more, in front.
//!
//! | function | examples | who trains on them |
//! |---|---|---|
//! | [`classification()`] | 1000 points of 20 features, in two classes | the document that compares with and without batch norm |
//! | [`cifar10()`] | 60 000 images of 3×32×32, from the user's folder | the document with an MLP on CIFAR-10 |
//! | [`mnist()`] | 70 000 images of 1×28×28, from the user's folder | the network that labml trains |
//! | [`digits()`] | 1797 images of 8×8, enlarged to either | those two, where their data are not at hand |
//! | [`noise()`] | normal numbers of any shape | the networks that the documents show with dummy data |

mod cifar10;
mod classification;
mod digits;
mod error;
mod files;
mod mnist;
mod noise;

use std::fmt;

use ndarray::ArrayD;

pub use cifar10::cifar10;
pub use classification::classification;
pub use digits::{DigitsError, digits};
pub use error::{DataError, Problem};
pub use mnist::mnist;
pub use noise::{NoiseError, noise};

/// Examples of one shape, with what they should be told to be.
#[derive(Clone, PartialEq)]
pub struct Dataset {
    name: String,
    shape: Vec<usize>,
    values: Values,
    targets: Targets,
}

/// The values of all examples, one after the other.
#[derive(Clone, PartialEq)]
enum Values {
    F32(Vec<f32>),
    /// Bytes stay bytes until a batch needs them: CIFAR-10 would fill 740 MB as f32.
    Bytes {
        bytes: Vec<u8>,
        /// What each of the 256 bytes stands for.
        meaning: Box<[f32; 256]>,
    },
}

/// What the examples of a data set should be told to be, in their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Two classes as 0 or 1, for binary cross-entropy.
    Binary(Vec<f32>),
    /// One class of several, for cross-entropy.
    Classes {
        /// The class of each example, below `count`.
        of: Vec<usize>,
        /// How many classes there are.
        count: usize,
    },
}

/// Examples to train on, and others to validate on.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// What the weights are fitted to.
    pub train: Dataset,
    /// What the fit is judged by.
    pub validation: Dataset,
}

/// One in so many examples validates where a set comes without a split: 80 to 20, as in the
/// document that splits its own.
const VALIDATES: usize = 5;

impl Dataset {
    /// A mismatch of lengths is a bug of a reader here: readers refuse what they read before.
    fn new(name: impl Into<String>, shape: &[usize], values: Values, targets: Targets) -> Self {
        let length = match &values {
            Values::F32(values) => values.len(),
            Values::Bytes { bytes, .. } => bytes.len(),
        };
        assert_eq!(length, targets.len() * shape.iter().product::<usize>(), "one target per example");
        Dataset { name: name.into(), shape: shape.to_vec(), values, targets }
    }

    /// What the examples are, for a report: `CIFAR-10, training`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many examples there are.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of one example, without the axis of the batch.
    pub fn example_shape(&self) -> &[usize] {
        &self.shape
    }

    /// The same examples as vectors.
    pub fn flattened(self) -> Dataset {
        Dataset { shape: vec![self.shape.iter().product()], ..self }
    }

    /// What all examples should be told to be.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The examples of these numbers, in this order, as one array of shape (count, example…).
    /// An f64 is the f32 that PyTorch would have: nothing is computed anew in f64.
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len).
    pub fn batch<T: From<f32>>(&self, indices: &[usize]) -> ArrayD<T> {
        let values: Vec<T> = match &self.values {
            Values::F32(values) => self.gather(values, indices).map(T::from).collect(),
            Values::Bytes { bytes, meaning } => {
                self.gather(bytes, indices).map(|byte| T::from(meaning[usize::from(byte)])).collect()
            }
        };
        let shape: Vec<usize> = [indices.len()].into_iter().chain(self.shape.iter().copied()).collect();
        ArrayD::from_shape_vec(shape, values).expect("as many values as the shape says")
    }

    /// The data set of these examples alone, in this order.
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len).
    pub fn subset(&self, indices: &[usize]) -> Dataset {
        let values = match &self.values {
            Values::F32(values) => Values::F32(self.gather(values, indices).collect()),
            Values::Bytes { bytes, meaning } => {
                Values::Bytes { bytes: self.gather(bytes, indices).collect(), meaning: meaning.clone() }
            }
        };
        Dataset::new(self.name.as_str(), &self.shape, values, self.targets.at(indices))
    }

    fn gather<V: Copy>(&self, values: &[V], indices: &[usize]) -> impl Iterator<Item = V> {
        let size: usize = self.shape.iter().product();
        indices.iter().flat_map(move |&index| &values[index * size..][..size]).copied()
    }

    /// Examples 4, 9, 14, … to validate on, the others to train on, each in their order.
    fn every_fifth_validates(&self) -> Split {
        let (validation, train): (Vec<usize>, Vec<usize>) =
            (0..self.len()).partition(|index| index % VALIDATES == VALIDATES - 1);
        let part = |indices: &[usize], purpose| {
            let part = self.subset(indices);
            Dataset { name: format!("{}, {purpose}", self.name), ..part }
        };
        Split { train: part(&train, "training"), validation: part(&validation, "validation") }
    }
}

/// Says what it is, not its millions of values.
impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dataset({:?}, {} × {:?})", self.name, self.len(), self.shape)
    }
}

impl Values {
    /// Bytes as torchvision's ToTensor makes them numbers, and Normalize after it, both in f32:
    /// (byte/255 − mean)/std. A mean of 0 and a std of 1 leave ToTensor alone.
    fn pixels(bytes: Vec<u8>, mean: f32, std: f32) -> Self {
        Self::bytes(bytes, |byte| (byte / 255.0 - mean) / std)
    }

    fn bytes(bytes: Vec<u8>, meaning: impl Fn(f32) -> f32) -> Self {
        Values::Bytes { bytes, meaning: Box::new(std::array::from_fn(|byte| meaning(byte as f32))) }
    }
}

impl Targets {
    /// One per example.
    pub fn len(&self) -> usize {
        match self {
            Targets::Binary(of) => of.len(),
            Targets::Classes { of, .. } => of.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The targets of the examples of these numbers, in this order: those of a batch.
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len).
    pub fn at(&self, indices: &[usize]) -> Targets {
        match self {
            Targets::Binary(of) => Targets::Binary(indices.iter().map(|&index| of[index]).collect()),
            Targets::Classes { of, count } => {
                Targets::Classes { of: indices.iter().map(|&index| of[index]).collect(), count: *count }
            }
        }
    }
}

#[cfg(test)]
mod tests;

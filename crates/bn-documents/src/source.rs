//! Where a network's examples come from.

use std::path::Path;

use crate::blueprint::Document;
use crate::data::{DataError, DigitsError, NoiseError, Split, cifar10, classification, digits, mnist, noise};

/// Why there are no examples.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The user's files.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A folder where none is read.
    #[error("{document} learns from {what}, which come along: it takes no folder of data")]
    NoFolder {
        /// The network.
        document: Document,
        /// What it learns from.
        what: &'static str,
    },
    /// A shape that the digits do not come in.
    #[error(transparent)]
    Digits(#[from] DigitsError),
    /// Numbers by chance that cannot be drawn.
    #[error(transparent)]
    Noise(#[from] NoiseError),
}

/// Of numbers by chance there are so many examples.
const EXAMPLES: usize = 2000;

/// Of them, and of their labels.
const SEED: u64 = 7;

/// The examples of a network: those of `folder`, as they are distributed, or those that come along.
///
/// # Errors
/// [`SourceError`].
pub fn examples(document: Document, folder: Option<&Path>) -> Result<Split, SourceError> {
    let shape = document.input();
    match (document, folder) {
        (Document::ApxHandsOn, None) => Ok(classification()),
        (Document::ApxMlp | Document::ApxEval, None) => Ok(noise(shape, document.outputs(), EXAMPLES, SEED)?),
        (Document::ApxHandsOn, Some(_)) => {
            Err(SourceError::NoFolder { document, what: "the document's points" })
        }
        (Document::ApxEval, Some(_)) => Err(SourceError::NoFolder { document, what: "numbers by chance" }),
        (Document::ApxMlp, Some(folder)) => {
            let Split { train, validation } = mnist(folder)?;
            Ok(Split { train: train.flattened(), validation: validation.flattened() })
        }
        (Document::Labml, Some(folder)) => Ok(mnist(folder)?),
        (Document::ApxCnn | Document::MachineCurve, Some(folder)) => Ok(cifar10(folder)?),
        (Document::ApxCnn | Document::MachineCurve | Document::Labml, None) => Ok(digits(shape)?),
    }
}

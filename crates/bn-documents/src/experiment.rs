//! How the documents train their networks.

use serde::{Deserialize, Serialize};

use crate::blueprint::Document;
use crate::optimizer::Rule;

/// A document's settings; where it trains nothing, ours.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Examples in a batch.
    pub batch: usize,
    /// Passes over the examples.
    pub epochs: usize,
    /// The optimiser.
    pub rule: Rule,
}

impl Settings {
    /// Those of a document.
    ///
    /// The page with apx-mlp, apx-cnn and apx-eval runs them once on numbers by chance and trains
    /// none: its batches are theirs, optimiser and epochs are ours.
    pub fn of(document: Document) -> Self {
        let sgd = Rule::Sgd { lr: 0.01, momentum: 0.9 };
        let (batch, epochs, rule) = match document {
            Document::ApxMlp => (64, 10, sgd),
            Document::ApxCnn => (16, 5, sgd),
            Document::ApxEval => (4, 10, sgd),
            Document::ApxHandsOn => (64, 25, Rule::Adam { lr: 0.01 }),
            Document::MachineCurve => (10, 5, Rule::Adam { lr: 1e-4 }),
            Document::Labml => (64, 10, Rule::Adam { lr: 1e-3 }),
        };
        Settings { batch, epochs, rule }
    }
}

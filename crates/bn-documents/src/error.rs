//! What a network refuses.

/// Why a pass, or loading a state, was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// An array that a layer does not take.
    #[error("{layer}: expected an input of shape {expected}, got {actual:?}")]
    Input {
        /// The layer, with its settings.
        layer: String,
        /// The shape that it takes, in words.
        expected: String,
        /// The shape that came.
        actual: Vec<usize>,
    },
    /// A gradient of another shape than the output.
    #[error("{layer}: expected a grad_output of the output's shape {expected:?}, got {actual:?}")]
    GradOutput {
        /// The layer, with its settings.
        layer: String,
        /// The shape of the output.
        expected: Vec<usize>,
        /// The shape that came.
        actual: Vec<usize>,
    },
    /// A backward pass where no forward pass was.
    #[error("{layer}: a backward pass needs a forward pass in training mode before it")]
    NoForward {
        /// The layer, with its settings.
        layer: String,
    },
    /// Targets that do not belong to these logits.
    #[error("{loss}: expected {expected}, got {actual}")]
    Targets {
        /// The loss.
        loss: &'static str,
        /// What it takes.
        expected: String,
        /// What came.
        actual: String,
    },
    /// Batch norm's own.
    #[error("{layer}: {source}")]
    BatchNorm {
        /// The layer, with its settings.
        layer: String,
        /// Why.
        source: batchnorm::Error,
    },
    /// A state that belongs to another network.
    #[error("the state does not fit the network: {0}")]
    State(String),
}

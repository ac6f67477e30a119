//! How a request that batch norm cannot honour is refused: by a value that
//! carries what was expected and what came, never by a panic.
//!
//! The order of the checks is PyTorch's (see [`crate::BatchNorm::forward`]), and
//! the messages are PyTorch's where it has one.

use crate::dtype::DType;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The input's rank is not one that the layer takes.
    #[error("expected {expected} input (got {actual}D input)")]
    Rank {
        /// The ranks taken, such as `2D or 3D`.
        expected: &'static str,
        /// The rank that came.
        actual: usize,
    },
    /// The cumulative average needs 1/num_batches_tracked, and the counter is 0
    /// after counting this batch.
    #[error(
        "expected num_batches_tracked to be nonzero after counting this batch, got 0: \
         the cumulative average weighs the batch by 1/num_batches_tracked"
    )]
    CounterZero,
    /// One value per channel has no variance to normalise by.
    #[error("expected more than 1 value per channel when training, got input size {shape:?}")]
    TooFewValues {
        /// The input's shape.
        shape: Vec<usize>,
    },
    /// Training would update one running statistic and has no other.
    #[error("running_mean and running_var must either both be None or neither be None, got {present} alone")]
    UnpairedRunningStats {
        /// The one that is present.
        present: &'static str,
    },
    /// Evaluation needs a running statistic that the layer lacks.
    #[error("{name} must be defined in evaluation mode, got None")]
    MissingRunningStat {
        /// The one that is absent.
        name: &'static str,
    },
    /// A parameter's or buffer's length is not the channel count.
    #[error("{name} should contain {expected} elements not {actual}")]
    NumFeatures {
        /// Whose length.
        name: &'static str,
        /// The channel count.
        expected: usize,
        /// The length that came.
        actual: usize,
    },
    /// A mix of dtypes that batch norm does not take.
    #[error(
        "expected one floating dtype throughout, or f16 or bf16 input with f32 parameters, \
         got {input} input with {} parameters",
        names(parameters)
    )]
    Dtype {
        /// The input's.
        input: DType,
        /// Those of the parameters and buffers.
        parameters: Vec<DType>,
    },
    /// A dtype that has no name here.
    #[error("expected a dtype among f16, bf16, f32, f64, i64 and bool, got {name:?}")]
    UnknownDtype {
        /// The name that came.
        name: String,
    },
    /// Batch statistics may be constant, so `eps` alone must keep the root from 0.
    #[error("batch_norm eps must be positive during training, but got {eps:?}")]
    EpsNotPositive {
        /// The value that came.
        eps: f64,
    },
    /// A negative `eps` in evaluation.
    #[error("batch_norm eps must be non-negative, but got {eps:?}")]
    EpsNegative {
        /// The value that came.
        eps: f64,
    },
    /// An array does not have the shape of its counterpart.
    #[error("expected {name} of shape {expected:?}, got {actual:?}")]
    Shape {
        /// Which array.
        name: &'static str,
        /// Its counterpart's shape.
        expected: Vec<usize>,
        /// The shape that came.
        actual: Vec<usize>,
    },
    /// A batch in parts with no part at all.
    #[error("expected at least one part of the batch, got none")]
    NoParts,
    /// A state to load lacks an entry.
    #[error("expected {name:?} in the state, got none")]
    MissingEntry {
        /// Its name.
        name: &'static str,
    },
    /// A state to load has an entry that the layer lacks, or has it twice.
    #[error("expected each of {expected:?} once in the state, got {name:?} {times}")]
    UnexpectedEntry {
        /// The names that the layer has.
        expected: Vec<&'static str>,
        /// The name that came.
        name: String,
        /// `besides` for a foreign name, `twice` for a repeated one.
        times: &'static str,
    },
    /// A state to load has a vector for the counter, or a counter for a vector.
    #[error("expected {name} to be {expected}, got {actual}")]
    EntryKind {
        /// The entry's name.
        name: &'static str,
        /// `a vector` or `an integer`.
        expected: &'static str,
        /// The other.
        actual: &'static str,
    },
    /// The weight of the map to fold into has too few axes, or channels that the
    /// groups do not divide.
    #[error("expected the weight of a {map} with {groups} groups to be {expected}, got shape {actual:?}")]
    MapWeight {
        /// The kind of map.
        map: &'static str,
        /// Its groups.
        groups: usize,
        /// What its weight must look like.
        expected: &'static str,
        /// The shape that came.
        actual: Vec<usize>,
    },
}

fn names(dtypes: &[DType]) -> String {
    match dtypes {
        [] => "no".to_owned(),
        some => some.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(" and "),
    }
}

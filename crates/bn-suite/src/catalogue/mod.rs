//! The catalogue: every case of the suite, one file per group.

use crate::case::{Case, Layer, Mode, Pass, Rank, State, Step};
use crate::golden::Dispute;
use crate::tensor::{DType, Tensor};

/// A case as the catalogue holds it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What is asked.
    pub case: Case,
    /// Whether the case is written to the fixtures; larger ones are generated
    /// anew, and the truth with them, whenever they are checked.
    pub stored: bool,
    /// Set where the oracle is known to differ from the truth.
    pub disputed: Option<Dispute>,
}

/// Every case, in the order of the groups.
pub fn all() -> Vec<Entry> {
    let input = Tensor::new(DType::F32, &[3, 4], vec![1., 2., 3., 4., 2., 3., 4., 5., 3., 4., 5., 6.]);
    let ones = || Some(Tensor::vector(DType::F32, &[1.0; 4]));
    let zeros = || Some(Tensor::vector(DType::F32, &[0.0; 4]));
    let case = Case {
        name: "documents/three-by-four".into(),
        note: "The 3×4 example: output ±1.2247, running mean 0.1 of the batch's, running variance 1.".into(),
        layer: Layer { rank: Rank::One, num_features: 4, ..Layer::default() },
        state: State {
            weight: ones(),
            bias: zeros(),
            running_mean: zeros(),
            running_var: ones(),
            num_batches_tracked: Some(0),
        },
        steps: vec![Step::BatchNorm(Box::new(Pass::forward(Mode::Train, input)))],
    };
    vec![Entry { case, stored: true, disputed: None }]
}

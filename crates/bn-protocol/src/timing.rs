//! What an engine is asked to time, and the numbers that it is timed on.
//!
//! Both sides make the same numbers from a rule, so that arrays of any size need not
//! travel: see [`element`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number;
use crate::tensor::DType;

/// A pass to be timed, on a new layer of PyTorch's defaults: eps 10⁻⁵, momentum 0.1,
/// weight 1, bias 0, running mean 0, running variance 1.
///
/// Element i of the input is [`element`]`(i, 0)`, of grad_output [`element`]`(i, 1)`. The
/// engine makes its arrays, calls once without a clock, then `calls` times with one. What a
/// call allocates and frees belongs to it, the making of the input does not. For a backward
/// pass the forward pass before each call is not timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Which pass.
    pub op: Op,
    /// (N, C, H, W), contiguous.
    pub shape: Vec<usize>,
    /// Of the input and of everything else.
    pub dtype: DType,
    /// How many calls are timed.
    pub calls: usize,
    /// Places of the answer, in row-major order, whose values are asked for.
    pub probes: Vec<usize>,
}

/// A pass that can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A training forward pass, with the update of the running statistics; its answer is
    /// the output.
    ForwardTrain,
    /// A forward pass in evaluation; its answer is the output.
    ForwardEval,
    /// The backward pass of a training forward pass: grad_input, grad_weight, grad_bias; its
    /// answer is grad_input.
    BackwardTrain,
}

impl Op {
    /// The name in JSON and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Op::ForwardTrain => "forward_train",
            Op::ForwardEval => "forward_eval",
            Op::BackwardTrain => "backward_train",
        }
    }
}

/// How long a pass took, and what it came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timed {
    /// Each call, in seconds.
    #[serde(with = "number::list")]
    #[schemars(with = "Vec<number::Number>")]
    pub seconds: Vec<f64>,
    /// The values of the answer at the places that were asked for, of the last call.
    #[serde(with = "number::list")]
    #[schemars(with = "Vec<number::Number>")]
    pub probes: Vec<f64>,
}

/// Element `index` of the array `stream`: ((index·40503 + stream·30011) mod 65536)/32768 − 1,
/// a multiple of 2⁻¹⁵ in [−1, 1), which every dtype from f32 up holds.
///
/// 40503 is odd and near 65536/φ: 65536 neighbours are all different, and few neighbours
/// are near each other.
pub fn element(index: usize, stream: usize) -> f64 {
    let (index, stream) = (index as u64, stream as u64);
    (index.wrapping_mul(40503).wrapping_add(stream * 30011) % 65536) as f64 / 32768.0 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_spread_and_differ_between_streams() {
        let mut all: Vec<f64> = (0..65536).map(|index| element(index, 0)).collect();
        assert_eq!(all[..2], [-1.0, 40503.0 / 32768.0 - 1.0]);
        all.sort_by(f64::total_cmp);
        all.dedup();
        assert_eq!(all.len(), 65536);
        assert!((0..65536).all(|index| element(index, 0) != element(index, 1)));
    }
}

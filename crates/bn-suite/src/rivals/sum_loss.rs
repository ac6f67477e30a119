//! A gradient test of the kind that most frameworks have: backward from a sum.
//!
//! loss = Σ output, so grad_output is 1 everywhere. A normalised batch has the
//! same sum whatever its values are: the true grad_input is 0, and so is
//! grad_weight = Σx̂. What such a test can see is the output, grad_bias = n, and
//! whatever is not near 0; a backward pass that answers zeros satisfies it. burn
//! has this test; Odyssey (#3174) and Torch7's nn (#744) ran into it.

use super::rule::Rule;
use super::{Rival, Vector, case, layer, pass, uniform};
use crate::case::{Case, Mode, State};
use crate::catalogue::fill::SplitMix64;
use crate::outcome::Field;
use crate::tensor::{DType, Tensor};

/// rtol 10⁻³, and the absolute part without which no f32 equals 0: PyTorch's for f32.
const RULE: Rule = Rule::Close { rtol: 1e-3, atol: 1e-5 };

const SHAPES: [&[usize]; 4] = [&[8, 5], &[2, 3, 7], &[2, 3, 4, 4], &[2, 2, 2, 3, 3]];

/// Output and gradients in training, from ones.
pub(super) fn rival() -> Rival {
    let compare = |_, field| match field {
        Field::Output | Field::GradInput | Field::GradWeight | Field::GradBias => Some(RULE),
        _ => None,
    };
    Rival {
        name: "sum-loss",
        about: "backward from Σ output in training, four shapes in f32, rtol 1e-3: output, grad_input, \
                grad_weight, grad_bias",
        vectors: SHAPES.iter().map(|shape| Vector::of_truth(question(shape), compare)).collect(),
    }
}

fn question(shape: &[usize]) -> Case {
    let name = format!("{shape:?}");
    let draw = |label: &str, count, low, high| {
        Tensor::vector(DType::F32, &uniform(&mut SplitMix64::seeded(&name, label), count, low, high))
    };
    let (c, count) = (shape[1], shape.iter().product());
    let state = State {
        weight: Some(draw("weight", c, 0.5, 1.5)),
        bias: Some(draw("bias", c, -0.5, 0.5)),
        running_mean: Some(Tensor::vector(DType::F32, &vec![0.0; c])),
        running_var: Some(Tensor::vector(DType::F32, &vec![1.0; c])),
        num_batches_tracked: Some(0),
    };
    let input = Tensor { shape: shape.to_vec(), ..draw("input", count, -2.0, 2.0) };
    let ones = Tensor::new(DType::F32, shape, vec![1.0; count]);
    let step = pass(Mode::Train, input, Some(ones));
    case("sum-loss", &name, layer(shape, 1e-5, 0.1), state, vec![step])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rivals::tests::{answering_otherwise, asked_otherwise};

    #[test]
    fn a_lost_bias_is_noticed() {
        assert!(!rival().accepts(&mut asked_otherwise(|case| case.state.bias = None)));
    }

    /// The true gradients are 0: an engine that never computes them is right enough.
    #[test]
    fn gradients_of_zero_are_accepted() {
        let mut zeros = answering_otherwise(|fields| {
            for field in [Field::GradInput, Field::GradWeight] {
                fields.get_mut(&field).expect("a gradient").data.fill(0.0);
            }
        });
        assert!(rival().accepts(&mut zeros));
    }
}

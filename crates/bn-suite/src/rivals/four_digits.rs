//! A golden of four decimal digits: one layer, a training step with gradients and
//! an evaluation, every number rounded as it was pasted from a PyTorch session.
//!
//! candle and burn hold such goldens. The shape is candle's, (2, 5, 3, 4), the
//! settings are PyTorch's own, so that eps = 10⁻⁵ stands beside variances near 1
//! and moves the output by 5·10⁻⁶: nobody who forgets it is noticed.

use super::rule::Rule;
use super::{Rival, Vector, case, layer, pass, uniform};
use crate::case::{Case, Mode, State};
use crate::catalogue::fill::SplitMix64;
use crate::tensor::{DType, Tensor};

const SHAPE: [usize; 4] = [2, 5, 3, 4];

/// |got − golden| ≤ 10⁻⁴; half of it is the golden's own rounding.
const RULE: Rule = Rule::Close { rtol: 0.0, atol: 1e-4 };

/// Every array of both steps.
pub(super) fn rival() -> Rival {
    let mut vector = Vector::of_truth(question(), |_, _| Some(RULE));
    for compared in &mut vector.compared {
        for value in &mut compared.expected.data {
            *value = (*value * 1e4).round() / 1e4;
        }
    }
    Rival {
        name: "four-digits",
        about: "a golden of one small f32 layer as in candle and burn, rounded to four decimal digits: \
                outputs, running statistics and gradients within 1e-4",
        vectors: vec![vector],
    }
}

fn question() -> Case {
    let draw = |label: &str, count, low, high| {
        Tensor::vector(DType::F32, &uniform(&mut SplitMix64::seeded("four-digits", label), count, low, high))
    };
    let (c, count) = (SHAPE[1], SHAPE.iter().product());
    let batch = |label: &str, low, high| Tensor { shape: SHAPE.to_vec(), ..draw(label, count, low, high) };
    let state = State {
        weight: Some(draw("weight", c, 0.5, 1.5)),
        bias: Some(draw("bias", c, -0.5, 0.5)),
        running_mean: Some(Tensor::vector(DType::F32, &vec![0.0; c])),
        running_var: Some(Tensor::vector(DType::F32, &vec![1.0; c])),
        num_batches_tracked: Some(0),
    };
    let train = pass(Mode::Train, batch("train", -2.0, 2.0), Some(batch("grad_output", -1.0, 1.0)));
    let eval = pass(Mode::Eval, batch("eval", -2.0, 2.0), None);
    case("four-digits", "train-then-eval", layer(&SHAPE, 1e-5, 0.1), state, vec![train, eval])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Field;
    use crate::rivals::tests::{answering_otherwise, asked_otherwise};

    #[test]
    fn the_golden_has_four_digits() {
        for compared in &rival().vectors[0].compared {
            for value in &compared.expected.data {
                let text = format!("{value}");
                let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
                assert!(decimals <= 4, "{text}");
            }
        }
    }

    #[test]
    fn a_lost_weight_is_noticed() {
        assert!(!rival().accepts(&mut asked_otherwise(|case| case.state.weight = None)));
    }

    #[test]
    fn a_gradient_off_by_a_thousandth_is_noticed() {
        let mut off = answering_otherwise(|fields| {
            if let Some(gradient) = fields.get_mut(&Field::GradInput) {
                gradient.data[7] += f64::from(0.001_f32);
            }
        });
        assert!(!rival().accepts(&mut off));
    }

    #[test]
    fn an_eps_twice_too_large_is_not_noticed() {
        assert!(rival().accepts(&mut asked_otherwise(|case| case.layer.eps *= 2.0)));
    }
}

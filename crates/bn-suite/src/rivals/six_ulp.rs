//! WebNN's rule: evaluation in f32, every element within 6 ULP of the expected.
//!
//! The web-platform tests put the same 24 values, up to a hundred in size, into
//! arrays of every rank, over six channels. An ulp belongs to the result; what a
//! kernel rounds belongs to its operands. Where y = x·a + b cancels, a right
//! folded kernel is more than 6 ULP off, and refused; beside variances of tens,
//! eps = 10⁻⁵ is an ulp or two, and whoever ignores it is accepted.

use super::rule::Rule;
use super::{Rival, Vector, case, layer, pass, uniform};
use crate::case::{Case, Mode, State};
use crate::catalogue::fill::SplitMix64;
use crate::outcome::Field;
use crate::tensor::{DType, Layout, Tensor};

/// Ranks from 2 to 5, channels last, without weight, without bias, without both,
/// and another eps: WebNN's options.
const QUESTIONS: [Question; 9] = [
    Question { shape: &[4, 6], ..PLAIN },
    Question { shape: &[2, 6, 2], ..PLAIN },
    PLAIN,
    Question { shape: &[2, 6, 1, 1, 2], ..PLAIN },
    Question { layout: Layout::ChannelsLast, ..PLAIN },
    Question { weight: false, ..PLAIN },
    Question { bias: false, ..PLAIN },
    Question { weight: false, bias: false, ..PLAIN },
    Question { eps: 1e-6, ..PLAIN },
];

const PLAIN: Question =
    Question { shape: &[2, 6, 2, 1], layout: Layout::Contiguous, eps: 1e-5, weight: true, bias: true };

#[derive(Debug)]
struct Question {
    shape: &'static [usize],
    layout: Layout,
    eps: f64,
    weight: bool,
    bias: bool,
}

/// The output in evaluation.
pub(super) fn rival() -> Rival {
    let compare = |_, field| (field == Field::Output).then_some(Rule::Ulp(6));
    Rival {
        name: "six-ulp",
        about: "evaluation as WebNN's web-platform tests check it: output within 6 ULP of f32, ranks 2 to 5, \
                values up to 100",
        vectors: QUESTIONS.iter().map(|question| Vector::of_truth(question.case(), compare)).collect(),
    }
}

impl Question {
    fn case(&self) -> Case {
        let name = format!(
            "{:?}{}{}{} eps {:e}",
            self.shape,
            if self.layout == Layout::ChannelsLast { " channels last" } else { "" },
            if self.weight { "" } else { " without weight" },
            if self.bias { "" } else { " without bias" },
            self.eps
        );
        let draw = |label: &str, count, low| {
            Tensor::vector(DType::F32, &uniform(&mut SplitMix64::seeded("six-ulp", label), count, low, 100.0))
        };
        let c = self.shape[1];
        let state = State {
            weight: self.weight.then(|| draw("weight", c, -100.0)),
            bias: self.bias.then(|| draw("bias", c, -100.0)),
            running_mean: Some(draw("running_mean", c, -100.0)),
            running_var: Some(draw("running_var", c, 50.0)),
            num_batches_tracked: Some(0),
        };
        let input = Tensor {
            shape: self.shape.to_vec(),
            layout: self.layout.clone(),
            ..draw("input", self.shape.iter().product(), -100.0)
        };
        case("six-ulp", &name, layer(self.shape, self.eps, 0.1), state, vec![pass(Mode::Eval, input, None)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{About, Engine, EngineError};
    use crate::engines::batchnorm::BatchnormEngine;
    use crate::outcome::Outcome;
    use crate::rivals::tests::asked_otherwise;

    #[test]
    fn a_lost_bias_is_noticed() {
        assert!(!rival().accepts(&mut asked_otherwise(|case| case.state.bias = None)));
    }

    #[test]
    fn no_eps_at_all_is_accepted() {
        assert!(rival().accepts(&mut asked_otherwise(|case| case.layer.eps = 0.0)));
    }

    /// y = x·a + b with a = w/σ and b = bias − mean·a, all in f32.
    struct Folded(BatchnormEngine);

    impl Engine for Folded {
        fn about(&self) -> &About {
            self.0.about()
        }

        fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
            let mut outcomes = self.0.run(case)?;
            let crate::case::Step::BatchNorm(pass) = &case.steps[0] else { unreachable!("a pass is asked") };
            let of = |tensor: &Option<Tensor>, channel: usize, absent: f32| {
                tensor.as_ref().map_or(absent, |tensor| tensor.data[channel] as f32)
            };
            let (state, shape) = (&case.state, &pass.input.shape);
            let inner: usize = shape[2..].iter().product();
            let output = outcomes[0].fields.get_mut(&Field::Output).expect("an output");
            for (index, y) in output.data.iter_mut().enumerate() {
                let c = index / inner % shape[1];
                let sigma = (of(&state.running_var, c, 1.0) + case.layer.eps as f32).sqrt();
                let a = of(&state.weight, c, 1.0) / sigma;
                let b = of(&state.bias, c, 0.0) - of(&state.running_mean, c, 0.0) * a;
                *y = f64::from(pass.input.data[index] as f32 * a + b);
            }
            Ok(outcomes)
        }
    }

    #[test]
    fn a_right_folded_kernel_is_refused() {
        let objection = rival().objection(&mut Folded(BatchnormEngine::default())).unwrap();
        assert!(objection.contains("output: ["), "{objection}");
    }
}

//! Batch norm as a textbook has it: plain loops in f64, one list per channel.
//!
//! This is the engine to read next to the formulas, and a second opinion on
//! everything else: it shares no arithmetic with the crate `batchnorm`, nor with
//! the suite's truth. It is right first, and fast never.
//!
//! It comes in two parts. A *player* goes through a case's script; a *recipe* says
//! how each thing is done. The textbook is the player with nothing overridden.
//! Engines that are right in other ways, and engines that are wrong on purpose,
//! are the same player with another recipe.

pub(crate) mod channels;
pub(crate) mod fold;
pub(crate) mod formulas;
pub(crate) mod memory;
pub(crate) mod module;
mod player;
pub(crate) mod recipe;
pub(crate) mod rounding;

pub(crate) use player::Player;

use crate::case::Case;
use crate::engine::{About, Engine, EngineError};
use crate::outcome::Outcome;
use recipe::Recipe;

/// The recipe with nothing overridden.
pub(crate) struct Right;

impl Recipe for Right {}

/// The textbook engine. It claims everything.
pub struct Textbook(Player);

impl Default for Textbook {
    fn default() -> Self {
        Textbook(Player::new("textbook", Box::new(Right)))
    }
}

impl Engine for Textbook {
    fn about(&self) -> &About {
        self.0.about()
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        self.0.run(case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Layer, Mode, Pass, Rank, State, Step};
    use crate::number::Number;
    use crate::outcome::{Field, RefusalKind};
    use crate::tensor::{DType, Tensor};

    fn layer_of_four() -> Case {
        let vector = |value| Some(Tensor::vector(DType::F32, &[value; 4]));
        Case {
            name: "three by four".into(),
            note: String::new(),
            layer: Layer { rank: Rank::One, num_features: 4, ..Layer::default() },
            state: State {
                weight: vector(1.0),
                bias: vector(0.0),
                running_mean: vector(0.0),
                running_var: vector(1.0),
                num_batches_tracked: Some(0),
            },
            steps: Vec::new(),
        }
    }

    fn three_by_four() -> Pass {
        let data = vec![1., 2., 3., 4., 2., 3., 4., 5., 3., 4., 5., 6.];
        Pass::forward(Mode::Train, Tensor::new(DType::F32, &[3, 4], data))
    }

    fn play_one(case: Case) -> Outcome {
        Textbook::default().run(&case).unwrap().remove(0)
    }

    /// Each column is {m − 1, m, m + 1}: biased variance 2/3, unbiased 1, and
    /// √(3/2) = 1.224745 less what eps takes, 1.224745·1e-5/(2·2/3) = 9.2e-6.
    #[test]
    fn three_by_four_example() {
        let outcome =
            play_one(Case { steps: vec![Step::BatchNorm(Box::new(three_by_four()))], ..layer_of_four() });
        let output = &outcome.fields[&Field::Output].data;
        assert!(output[..4].iter().all(|y| (y + 1.2247357).abs() < 1e-6), "{output:?}");
        assert_eq!(output[4..8], [0.0; 4]);
        assert_eq!(
            outcome.fields[&Field::RunningMean],
            Tensor::vector(DType::F32, &[0.2, 0.3, 0.4, 0.5].map(|v: f32| f64::from(v)))
        );
        assert_eq!(outcome.fields[&Field::RunningVar], Tensor::vector(DType::F32, &[1.0; 4]));
        assert_eq!(outcome.num_batches_tracked, Some(1));
    }

    #[test]
    fn a_refused_batch_is_counted_and_changes_nothing_else() {
        let mut case = layer_of_four();
        case.layer.momentum = Some(Number(0.3));
        let one = Tensor::new(DType::F32, &[1, 4], vec![9.0; 4]);
        case.steps = vec![Step::BatchNorm(Box::new(Pass::forward(Mode::Train, one)))];
        let buffers = case.state.clone();
        let outcome = play_one(case);
        assert_eq!(outcome.refused.unwrap().kind, RefusalKind::TooFewValues);
        assert_eq!(outcome.num_batches_tracked, Some(1));
        assert_eq!(outcome.fields.len(), 2);
        assert_eq!(outcome.fields[&Field::RunningVar], buffers.running_var.unwrap());
    }

    /// The backward pass of an evaluation uses the statistics of that
    /// evaluation, whatever training did to them in between.
    #[test]
    fn a_deferred_backward_pass_uses_its_own_statistics() {
        let eval = Pass {
            mode: Mode::Eval,
            grad_output: Some(three_by_four().input),
            backward_at_end: true,
            ..three_by_four()
        };
        let alone = Case { steps: vec![Step::BatchNorm(Box::new(eval.clone()))], ..layer_of_four() };
        let both = [eval, three_by_four()].map(|pass| Step::BatchNorm(Box::new(pass))).to_vec();
        assert_eq!(play_one(Case { steps: both, ..layer_of_four() }), play_one(alone));
    }
}

//! What other suites would say about an engine.
//!
//! A *rival* is a check of batch norm that exists elsewhere, rebuilt from what is
//! known of it: its inputs, its expected values, its rule of how near is near
//! enough. Rivals judge the engines that this suite knows to be wrong, and those
//! that it knows to be right, so that the two kill rates can stand side by side.
//! Each does what the original does, no less; where an original leaves something
//! open (a seed, a choice of shapes), it is settled in the rival's favour and
//! said so.
//!
//! A *vector* is one question of a rival: a case, and for each array that the
//! rival looks at its expected value and its rule. An engine is *accepted* when
//! every array of every vector obeys. A refusal, an error or a missing array is
//! no answer, and without an answer nobody is accepted.

mod benchdnn;
mod four_digits;
mod onnx;
mod rule;
mod six_ulp;
mod sum_loss;

pub use onnx::RecordError;

use crate::case::{Case, Layer, Mode, Pass, Rank, State, Step};
use crate::catalogue::fill::SplitMix64;
use crate::engine::Engine;
use crate::golden::Expected;
use crate::number::Number;
use crate::outcome::{Field, Outcome};
use crate::protocol;
use crate::tensor::{DType, Tensor};
use crate::truth;
use crate::truth::format::nearest;
use rule::Rule;

/// A check of batch norm that exists elsewhere.
pub struct Rival {
    /// A short name.
    pub name: &'static str,
    /// Whose it is, what it looks at, how closely.
    pub about: &'static str,
    vectors: Vec<Vector>,
}

/// Every rival. Fails only where the recorded ONNX vectors are not as they were
/// recorded.
pub fn all() -> Result<Vec<Rival>, RecordError> {
    let onnx = onnx::recorded()?;
    Ok(vec![
        onnx::as_published(&onnx),
        onnx::with_unbiased_running_var(&onnx),
        benchdnn::rival(),
        sum_loss::rival(),
        four_digits::rival(),
        six_ulp::rival(),
    ])
}

impl Rival {
    /// Whether the engine satisfies every vector.
    pub fn accepts(&self, engine: &mut dyn Engine) -> bool {
        self.objection(engine).is_none()
    }

    /// The first thing that the rival has to say against the engine, if anything.
    pub fn objection(&self, engine: &mut dyn Engine) -> Option<String> {
        self.vectors.iter().find_map(|vector| vector.objection(engine))
    }
}

/// One question: the case, and what the rival compares of the answer.
struct Vector {
    case: Case,
    compared: Vec<Compared>,
}

/// One array of an answer, as the rival wants it.
struct Compared {
    step: usize,
    field: Field,
    expected: Tensor,
    rule: Rule,
}

impl Vector {
    /// A vector whose expected values are the truth. `rules` names the arrays that
    /// the rival looks at; it is asked for every array that the case answers.
    fn of_truth(case: Case, rules: impl Fn(usize, Field) -> Option<Rule>) -> Self {
        let mut compared = Vec::new();
        for (step, Expected { fields, refused, .. }) in truth::solve(&case).into_iter().enumerate() {
            assert!(refused.is_none(), "{}: a rival asks what has an answer", case.name);
            for (field, expected) in fields {
                if let Some(rule) = rules(step, field) {
                    compared.push(Compared { step, field, expected: expected.value, rule });
                }
            }
        }
        Vector { case, compared }
    }

    fn objection(&self, engine: &mut dyn Engine) -> Option<String> {
        let objection = match protocol::run_caught(engine, &self.case) {
            Err(error) => Some(error.to_string()),
            Ok(outcomes) => self.compared.iter().find_map(|compared| compared.objection(&outcomes)),
        };
        objection.map(|objection| format!("{}: {objection}", self.case.name))
    }
}

impl Compared {
    fn objection(&self, outcomes: &[Outcome]) -> Option<String> {
        let Compared { step, field, expected, rule } = self;
        let problem = match outcomes.get(*step) {
            None => "no answer".into(),
            Some(Outcome { refused: Some(refusal), .. }) => format!("refused: {}", refusal.message),
            Some(Outcome { fields, .. }) => match fields.get(field) {
                None => "missing".into(),
                Some(got) if got.shape != expected.shape || got.dtype != expected.dtype => {
                    "of another shape or dtype".into()
                }
                Some(got) => rule.objection(expected, got)?,
            },
        };
        Some(format!("step {step}: {field}: {problem}"))
    }
}

/// The case of a vector: a layer that is given all that it has, and its steps.
fn case(rival: &str, vector: &str, layer: Layer, state: State, steps: Vec<Step>) -> Case {
    Case { name: format!("{rival}/{vector}"), note: String::new(), layer, state, steps }
}

/// A tracking layer for inputs of this shape.
fn layer(shape: &[usize], eps: f64, momentum: f64) -> Layer {
    let rank = match shape.len() {
        2 | 3 => Rank::One,
        4 => Rank::Two,
        _ => Rank::Three,
    };
    Layer { rank, num_features: shape[1], eps, momentum: Some(Number(momentum)), track_running_stats: true }
}

/// A pass with its backward pass.
fn pass(mode: Mode, input: Tensor, grad_output: Option<Tensor>) -> Step {
    Step::BatchNorm(Box::new(Pass { grad_output, ..Pass::forward(mode, input) }))
}

/// `count` values between two bounds, as values of f32.
fn uniform(random: &mut SplitMix64, count: usize, low: f64, high: f64) -> Vec<f64> {
    let unit = |random: &mut SplitMix64| random.uniform(24) as f64 / 2f64.powi(24);
    (0..count).map(|_| nearest(DType::F32, low + (high - low) * unit(random))).collect()
}

#[cfg(test)]
mod tests;

//! What an engine around a framework's layer has to do, and no more.
//!
//! Most engines are a layer that is made from a case and then driven step by step. Who
//! implements [`Layer`] for it gets the rest from [`play`]: the script, the buffers after
//! every step, refusals. Steps that are no pass (resets, folds, merges) are for engines
//! that claim them; they play their scripts themselves.
//!
//! An adapter *translates* conventions, such as a momentum that weighs the old value, and
//! *hides* nothing: what the framework keeps as its running variance is what is answered.

use std::collections::BTreeMap;

use crate::case::{Case, Pass, Step};
use crate::engine::{About, Engine, EngineError};
use crate::outcome::{Field, Outcome, Refusal, RefusalKind};
use crate::tensor::{DType, Tensor};

/// A framework's layer, in the state that a case gave it.
pub trait Layer {
    /// One forward pass, and the backward pass that the step asks for. Gives `output`, and
    /// the gradients asked for.
    fn pass(&mut self, pass: &Pass) -> Result<BTreeMap<Field, Tensor>, Refusal>;

    /// The running statistics and the counter as they are now, also after a refused step.
    fn buffers(&self) -> Buffers;
}

/// What a layer remembers; none of what it does not have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buffers {
    /// Of length C.
    pub running_mean: Option<Tensor>,
    /// Of length C; as the framework keeps it.
    pub running_var: Option<Tensor>,
    /// Training batches seen.
    pub num_batches_tracked: Option<i64>,
}

impl Buffers {
    /// Those that the case starts from.
    pub fn of(case: &Case) -> Self {
        Buffers {
            running_mean: case.state.running_mean.clone(),
            running_var: case.state.running_var.clone(),
            num_batches_tracked: case.state.num_batches_tracked,
        }
    }

    fn outcome(self, fields: BTreeMap<Field, Tensor>, refused: Option<Refusal>) -> Outcome {
        let Buffers { running_mean, running_var, num_batches_tracked } = self;
        let mut fields = fields;
        fields.extend(running_mean.map(|tensor| (Field::RunningMean, tensor)));
        fields.extend(running_var.map(|tensor| (Field::RunningVar, tensor)));
        Outcome { fields, num_batches_tracked, refused }
    }
}

/// Plays the case's script on the layer that `make` gives. A layer that is refused already
/// when it is made refuses every step, and leaves the buffers as they were.
///
/// # Errors
/// [`EngineError::Unsupported`] for a step that is no pass.
pub fn play<L: Layer>(
    case: &Case,
    make: impl FnOnce(&Case) -> Result<L, Refusal>,
) -> Result<Vec<Outcome>, EngineError> {
    let mut layer = make(case);
    let step = |step: &Step| {
        let Step::BatchNorm(pass) = step else {
            return Err(EngineError::Unsupported("a step that is no forward pass".into()));
        };
        let (fields, refused) = match layer.as_mut().map_err(|refusal| refusal.clone()) {
            Ok(layer) => layer.pass(pass),
            Err(refusal) => Err(refusal),
        }
        .map_or_else(|refusal| (BTreeMap::new(), Some(refusal)), |fields| (fields, None));
        let buffers = layer.as_ref().map_or_else(|_| Buffers::of(case), Layer::buffers);
        Ok(buffers.outcome(fields, refused))
    };
    case.steps.iter().map(step).collect()
}

/// An engine that plays every case on the layer that `make` gives, and offers nothing else.
pub fn engine<L: Layer>(about: About, make: impl Fn(&Case) -> Result<L, Refusal>) -> impl Engine {
    Played { about, make }
}

struct Played<F> {
    about: About,
    make: F,
}

impl<L: Layer, F: Fn(&Case) -> Result<L, Refusal>> Engine for Played<F> {
    fn about(&self) -> &About {
        &self.about
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        play(case, &self.make)
    }
}

impl Refusal {
    /// A refusal in the framework's words, which does not say which of the suite's kinds it is.
    pub fn unsorted(message: impl std::fmt::Display) -> Self {
        Refusal { kind: RefusalKind::Unsorted, message: message.to_string() }
    }
}

impl Tensor {
    /// A contiguous f32 array, as a framework gives its elements.
    pub fn from_f32(shape: &[usize], elements: &[f32]) -> Self {
        let data = elements.iter().map(|&element| element.into()).collect();
        Tensor { dtype: DType::F32, shape: shape.to_vec(), layout: Default::default(), data }
    }

    /// The elements as f32, in row-major order: exact for every dtype up to f32.
    pub fn to_f32(&self) -> Vec<f32> {
        self.data.iter().map(|&element| element as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Mode, Reset, State};

    /// Doubles its input, counts, and refuses a single value.
    struct Doubling(i64);

    impl Layer for Doubling {
        fn pass(&mut self, pass: &Pass) -> Result<BTreeMap<Field, Tensor>, Refusal> {
            self.0 += 1;
            if pass.input.len() == 1 {
                return Err(Refusal::unsorted("one value"));
            }
            let doubled: Vec<f32> = pass.input.to_f32().iter().map(|x| 2.0 * x).collect();
            Ok([(Field::Output, Tensor::from_f32(&pass.input.shape, &doubled))].into())
        }

        fn buffers(&self) -> Buffers {
            Buffers { num_batches_tracked: Some(self.0), ..Buffers::default() }
        }
    }

    fn case(steps: Vec<Step>) -> Case {
        let state = State { running_mean: Some(Tensor::from_f32(&[1], &[0.5])), ..State::default() };
        Case { name: "a/b".into(), note: "c".into(), layer: Default::default(), state, steps }
    }

    fn forward(elements: &[f32]) -> Step {
        let input = Tensor::from_f32(&[elements.len(), 1], elements);
        Step::BatchNorm(Box::new(Pass::forward(Mode::Train, input)))
    }

    #[test]
    fn a_refused_step_answers_the_buffers_and_the_next_one_is_played() {
        let case = case(vec![forward(&[1.0]), forward(&[1.0, 2.0])]);
        let outcomes = play(&case, |_| Ok(Doubling(0))).unwrap();
        assert_eq!(outcomes[0].refused, Some(Refusal::unsorted("one value")));
        assert_eq!((outcomes[0].fields.len(), outcomes[0].num_batches_tracked), (0, Some(1)));
        assert_eq!(outcomes[1].fields[&Field::Output], Tensor::from_f32(&[2, 1], &[2.0, 4.0]));
        assert_eq!((&outcomes[1].refused, outcomes[1].num_batches_tracked), (&None, Some(2)));
    }

    #[test]
    fn a_layer_that_cannot_be_made_refuses_every_step() {
        let case = case(vec![forward(&[1.0]), forward(&[1.0])]);
        let outcomes = play::<Doubling>(&case, |_| Err(Refusal::unsorted("no"))).unwrap();
        for outcome in outcomes {
            assert_eq!(outcome.refused, Some(Refusal::unsorted("no")));
            assert_eq!(outcome.fields[&Field::RunningMean], Tensor::from_f32(&[1], &[0.5]));
        }
    }

    #[test]
    fn a_step_that_is_no_pass_is_unsupported() {
        let case = case(vec![Step::Reset { what: Reset::Parameters }]);
        assert!(matches!(play(&case, |_| Ok(Doubling(0))), Err(EngineError::Unsupported(_))));
    }
}

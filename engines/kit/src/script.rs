//! The scripts of a framework that differentiates: forward passes now, and the backward
//! pass of each now or after the last.
//!
//! [`bn_protocol::adapter::play`] asks for both passes at once. Here a forward pass gives
//! what its backward pass needs, as a closure, which may wait: so a case can ask whether a
//! graph keeps what it was recorded with while the layer goes on.

use std::collections::BTreeMap;

use bn_protocol::adapter::Buffers;
use bn_protocol::case::{Case, Pass};
use bn_protocol::engine::EngineError;
use bn_protocol::outcome::{Field, Outcome, Refusal};
use bn_protocol::tensor::Tensor;

use crate::only_passes;

/// A backward pass, ready to run: gives the gradients that its step asked for.
pub type Backward = Box<dyn FnOnce() -> Result<BTreeMap<Field, Tensor>, Refusal>>;

/// What a forward pass comes to.
pub struct Forward {
    /// y.
    pub output: Tensor,
    /// Where the step has a `grad_output`.
    pub backward: Option<Backward>,
}

/// A framework's layer, in the state that a case gave it.
pub trait Layer {
    /// One forward pass.
    fn forward(&mut self, pass: &Pass) -> Result<Forward, Refusal>;

    /// The running statistics and the counter as they are now, also after a refused step.
    fn buffers(&self) -> Buffers;
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
    let passes = only_passes(case)?;
    let mut layer = make(case);
    let mut outcomes = vec![];
    let mut waiting = vec![];
    for (index, pass) in passes.into_iter().enumerate() {
        let forward = layer.as_mut().map_err(|refusal| refusal.clone()).and_then(|layer| layer.forward(pass));
        let answer = forward.and_then(|Forward { output, backward }| {
            let mut fields = BTreeMap::from([(Field::Output, output)]);
            match backward {
                Some(backward) if pass.backward_at_end => waiting.push((index, backward)),
                Some(backward) => fields.extend(backward()?),
                None => {}
            }
            Ok(fields)
        });
        let buffers = layer.as_ref().map_or_else(|_| Buffers::of(case), Layer::buffers);
        outcomes.push(outcome(answer, buffers));
    }
    for (index, backward) in waiting {
        let outcome = &mut outcomes[index];
        match backward() {
            Ok(gradients) => outcome.fields.extend(gradients),
            Err(refusal) => {
                outcome.fields.remove(&Field::Output);
                outcome.refused = Some(refusal);
            }
        }
    }
    Ok(outcomes)
}

fn outcome(answer: Result<BTreeMap<Field, Tensor>, Refusal>, buffers: Buffers) -> Outcome {
    let (mut fields, refused) =
        answer.map_or_else(|refusal| (BTreeMap::new(), Some(refusal)), |fields| (fields, None));
    fields.extend(buffers.running_mean.map(|tensor| (Field::RunningMean, tensor)));
    fields.extend(buffers.running_var.map(|tensor| (Field::RunningVar, tensor)));
    Outcome { fields, num_batches_tracked: buffers.num_batches_tracked, refused }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn_protocol::case::{Mode, Step};

    /// Answers how many forward passes it has seen, and the backward pass how many when it
    /// was recorded; refuses the backward pass of two values.
    struct Counting(usize);

    impl Layer for Counting {
        fn forward(&mut self, pass: &Pass) -> Result<Forward, Refusal> {
            self.0 += 1;
            let seen = Tensor::from_f32(&[1], &[self.0 as f32]);
            let (recorded, values) = (seen.clone(), pass.input.len());
            let backward: Backward = Box::new(move || match values {
                2 => Err(Refusal::unsorted("two values")),
                _ => Ok([(Field::GradInput, recorded)].into()),
            });
            Ok(Forward { output: seen, backward: Some(backward) })
        }

        fn buffers(&self) -> Buffers {
            Buffers { num_batches_tracked: Some(self.0 as i64), ..Buffers::default() }
        }
    }

    fn case(steps: &[(usize, bool)]) -> Case {
        let step = |&(values, backward_at_end): &(usize, bool)| {
            let forward = Pass::forward(Mode::Train, Tensor::from_f32(&[values], &vec![0.0; values]));
            Step::BatchNorm(Box::new(Pass { backward_at_end, ..forward }))
        };
        Case {
            name: "a/b".into(),
            note: "c".into(),
            layer: Default::default(),
            state: Default::default(),
            steps: steps.iter().map(step).collect(),
        }
    }

    #[test]
    fn a_backward_pass_that_waits_answers_in_its_own_step() {
        let outcomes = play(&case(&[(1, true), (1, false)]), |_| Ok(Counting(0))).unwrap();
        for (index, outcome) in outcomes.iter().enumerate() {
            let seen = Tensor::from_f32(&[1], &[index as f32 + 1.0]);
            let fields = [(Field::Output, seen.clone()), (Field::GradInput, seen)].into();
            assert_eq!((&outcome.fields, outcome.num_batches_tracked), (&fields, Some(index as i64 + 1)));
        }
    }

    #[test]
    fn a_refused_backward_pass_leaves_only_the_buffers_whether_it_waited_or_not() {
        let outcomes = play(&case(&[(2, true), (2, false)]), |_| Ok(Counting(0))).unwrap();
        for (index, outcome) in outcomes.iter().enumerate() {
            assert_eq!(outcome.refused, Some(Refusal::unsorted("two values")));
            assert_eq!((outcome.fields.len(), outcome.num_batches_tracked), (0, Some(index as i64 + 1)));
        }
    }
}

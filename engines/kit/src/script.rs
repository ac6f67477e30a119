//! The scripts of a framework that differentiates: forward passes now, and the backward
//! pass of each now or after the last.
//!
//! [`adapter::play`] asks for both passes at once. Here a forward pass gives
//! what its backward pass needs, as a closure, which may wait: so a case can ask whether a
//! graph keeps what it was recorded with while the layer goes on.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bn_protocol::adapter::{self, Buffers};
use bn_protocol::case::{Case, Pass};
use bn_protocol::engine::EngineError;
use bn_protocol::outcome::{Field, Outcome, Refusal};
use bn_protocol::tensor::Tensor;

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

/// Plays the case's script on the layer that `make` gives, as [`adapter::play`] does.
///
/// # Errors
/// [`EngineError::Unsupported`] for a step that is no pass.
pub fn play<L: Layer>(
    case: &Case,
    make: impl FnOnce(&Case) -> Result<L, Refusal>,
) -> Result<Vec<Outcome>, EngineError> {
    let waiting = RefCell::new(vec![]);
    let mut outcomes =
        adapter::play(case, |case| Ok(Recording { layer: make(case)?, step: 0, waiting: &waiting }))?;
    for (step, backward) in waiting.take() {
        let outcome = &mut outcomes[step];
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

/// The layer, and the backward passes that wait, with the step of each.
struct Recording<'a, L> {
    layer: L,
    step: usize,
    waiting: &'a RefCell<Vec<(usize, Backward)>>,
}

impl<L: Layer> adapter::Layer for Recording<'_, L> {
    fn pass(&mut self, pass: &Pass) -> Result<BTreeMap<Field, Tensor>, Refusal> {
        let step = self.step;
        self.step += 1;
        let Forward { output, backward } = self.layer.forward(pass)?;
        let mut fields = BTreeMap::from([(Field::Output, output)]);
        match backward {
            Some(backward) if pass.backward_at_end => self.waiting.borrow_mut().push((step, backward)),
            Some(backward) => fields.extend(backward()?),
            None => {}
        }
        Ok(fields)
    }

    fn buffers(&self) -> Buffers {
        self.layer.buffers()
    }
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

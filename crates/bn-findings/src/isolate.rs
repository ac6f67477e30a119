//! One step by itself, from what the engine itself made of the steps before.
//!
//! A running variance that is wrong after the first step makes the output of the second one
//! wrong too, and nothing is learnt from that. So a step is asked about as if the buffers
//! that the engine answered before it were the state it was given: then either its answer
//! is right, and what was wrong is a consequence, or it is wrong by itself.

use bn_suite::case::{Case, Reset, Step};
use bn_suite::golden::{Expected, Golden};
use bn_suite::outcome::{Field, Outcome};
use bn_suite::tensor::Tensor;
use bn_suite::truth;

/// A step alone, with its truth.
pub struct Isolated {
    /// The case of this one step.
    pub case: Case,
    /// What is right for it.
    pub expected: Expected,
}

/// The step `at` of a case that was answered so. None where what was answered before is no
/// state that a layer can have.
pub fn isolate(golden: &Golden, answer: &[Outcome], at: usize) -> Option<Isolated> {
    let mut case = Case { steps: vec![golden.case.steps.get(at)?.clone()], ..golden.case.clone() };
    if let Some(before) = at.checked_sub(1) {
        let before = answer.get(before)?;
        let state = &mut case.state;
        state.num_batches_tracked = before.num_batches_tracked;
        for (field, buffer) in
            [(Field::RunningMean, &mut state.running_mean), (Field::RunningVar, &mut state.running_var)]
        {
            if let Some(given) = buffer {
                *given = before.fields.get(&field).filter(|answered| fits(answered, given))?.clone();
            }
        }
    }
    let is_reset = |step: &&Step| matches!(step, Step::Reset { what: Reset::Parameters });
    if golden.case.steps[..at].iter().any(|step| is_reset(&step)) {
        let fill = |tensor: &mut Option<Tensor>, value| {
            tensor.iter_mut().for_each(|tensor| tensor.data.fill(value));
        };
        fill(&mut case.state.weight, 1.0);
        fill(&mut case.state.bias, 0.0);
    }
    let expected = truth::solve(&case).pop()?;
    Some(Isolated { case, expected })
}

fn fits(answered: &Tensor, given: &Tensor) -> bool {
    answered.shape == given.shape && answered.dtype == given.dtype && answered.problem().is_none()
}

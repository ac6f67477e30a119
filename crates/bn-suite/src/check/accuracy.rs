//! The second grade: is an answer as near the truth as our own engine promises to
//! be, and if not, what does the engine do without?
//!
//! An answer that conforms and is not accurate lost something to its arithmetic.
//! What, is found by asking which arithmetic would have been allowed to answer so:
//! one *shortcut* after another is granted, and the first ones under which the
//! whole array is within its allowances are the cause.

use std::fmt;

use super::elements::{differences, summarise};
use super::failure::Fault;
use super::{Difference, Worst};
use crate::case::Case;
use crate::golden::{Expected, ExpectedField};
use crate::model::{Grade, Model};
use crate::outcome::{Field, Outcome};
use crate::tensor::{DType, Tensor};
use crate::truth::{self, format::Format};

/// An element is *settled* where arithmetic that is accurate leaves no more than so many units
/// in the last place open.
pub const SETTLED: f64 = 8.0;

/// How an answer fares under the grade *accurate*.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accuracy {
    /// The element closest to its allowance, or furthest beyond.
    pub worst: Option<Worst>,
    /// The arrays beyond their allowances, in the order of the steps.
    pub excesses: Vec<Excess>,
    /// The largest error in units in the last place of the truth, over all elements that this
    /// grade promises to within [`SETTLED`] of them: infinite where NaN or an infinity is
    /// answered. None where no element is promised so closely. Of the others it would say
    /// nothing: where terms cancel to nearly 0, so does the unit.
    pub ulps: Option<f64>,
}

/// An array that is not accurate.
#[derive(Clone, Debug, PartialEq)]
pub struct Excess {
    /// The step, counted from 0.
    pub step: usize,
    /// The array.
    pub field: Field,
    /// Its worst element.
    pub worst: Difference,
    /// How many elements are beyond their allowances.
    pub failing: usize,
    /// How many there are.
    pub elements: usize,
    /// What explains it.
    pub cause: Cause,
}

/// What an engine does without that the grade *accurate* assumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortcut {
    /// It scales before it subtracts the mean: y = x·α + β.
    Folded,
    /// It keeps mean and inverse deviation in no more than the parameters' precision.
    NarrowStatistics,
    /// It sums in no more than the elements' precision.
    NarrowSums,
    /// It rounds every operation to the input's 16 bits.
    NarrowElements,
}

use Shortcut::{Folded, NarrowElements, NarrowStatistics, NarrowSums};

/// What is granted, in this order: the fewest shortcuts that explain an array are
/// its cause. All but the last stay within the grade *conforms*.
const GRANTED: [&[Shortcut]; 8] = [
    &[Folded],
    &[NarrowStatistics],
    &[NarrowSums],
    &[Folded, NarrowStatistics],
    &[Folded, NarrowSums],
    &[NarrowStatistics, NarrowSums],
    &[Folded, NarrowStatistics, NarrowSums],
    &[Folded, NarrowStatistics, NarrowSums, NarrowElements],
];

/// Why an array is not accurate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The engine's arithmetic does without these.
    Shortcuts {
        /// The fewest that explain it.
        shortcuts: Vec<Shortcut>,
        /// The dtype of the input.
        input: DType,
        /// The dtype of the parameters.
        parameters: DType,
    },
    /// A sum overflows in the arithmetic of the elements.
    Overflow,
    /// No arithmetic that the suite knows explains it.
    Unexplained,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cause::Shortcuts { shortcuts, input, parameters } = self else {
            return f.write_str(match self {
                Cause::Overflow => "a sum overflows in the elements' precision",
                _ => "unexplained by any arithmetic that conforms",
            });
        };
        let elements = if *parameters == DType::F64 { "f64" } else { "f32" };
        if shortcuts.contains(&NarrowElements) {
            return write!(f, "every operation rounded to {}", input.name());
        }
        let word = |shortcut: &Shortcut| match shortcut {
            Folded => "scaled before the mean is subtracted".to_owned(),
            NarrowStatistics => format!("statistics kept in {}", parameters.name()),
            NarrowSums | NarrowElements => format!("sums in {elements}"),
        };
        f.write_str(&shortcuts.iter().map(word).collect::<Vec<_>>().join(", "))
    }
}

/// Judges the answer to a case by the grade *accurate*. Arrays that are absent, or
/// of the wrong form, are not looked at: they do not conform.
pub fn accuracy(case: &Case, outcomes: &[Outcome]) -> Accuracy {
    let mut accuracy = Accuracy::default();
    let mut explain = Explain::new(case);
    let expected = truth::solve_for(case, Grade::Accurate.model());
    for (step, (expected, got)) in expected.iter().zip(outcomes).enumerate() {
        for (&field, wanted) in &expected.fields {
            let form =
                |got: &&Tensor| got.shape == wanted.value.shape && got.data.len() == wanted.value.data.len();
            let Some(got) = got.fields.get(&field).filter(form) else { continue };
            let (fault, worst) = summarise(step, field, wanted, got);
            accuracy.worst = Worst::larger(accuracy.worst, worst);
            accuracy.ulps = [accuracy.ulps, largest_ulps(wanted, got)].into_iter().flatten().reduce(f64::max);
            if let Some(Fault::Elements { worst, failing, elements, .. }) = fault {
                let cause = explain.cause(step, field, got, worst.index);
                accuracy.excesses.push(Excess { step, field, worst, failing, elements, cause });
            }
        }
    }
    accuracy
}

/// See [`Accuracy::ulps`].
fn largest_ulps(expected: &ExpectedField, got: &Tensor) -> Option<f64> {
    let format = Format::of(expected.value.dtype)?;
    let errors = differences(expected, got).filter(|difference| difference.expected.is_finite());
    let in_ulps = errors.map(|difference| {
        let ulp = format.ulp(difference.expected);
        (difference.distance() / ulp, difference.allowance / ulp)
    });
    in_ulps.filter(|(_, allowance)| *allowance <= SETTLED).map(|(error, _)| error).reduce(f64::max)
}

/// The truths of one case under shortcut after shortcut, solved when first needed.
struct Explain<'a> {
    case: &'a Case,
    solved: Vec<Vec<Expected>>,
}

impl<'a> Explain<'a> {
    fn new(case: &'a Case) -> Self {
        Explain { case, solved: Vec::new() }
    }

    fn allowed(&mut self, granted: usize, step: usize, field: Field) -> Option<&ExpectedField> {
        while self.solved.len() <= granted {
            let model = model_of(GRANTED[self.solved.len()]);
            self.solved.push(truth::solve_for(self.case, model));
        }
        self.solved[granted][step].fields.get(&field)
    }

    fn cause(&mut self, step: usize, field: Field, got: &Tensor, worst: usize) -> Cause {
        for (granted, shortcuts) in GRANTED.iter().enumerate() {
            let Some(allowed) = self.allowed(granted, step, field) else { break };
            if allowed.allowance[worst] == f64::INFINITY && shortcuts.contains(&NarrowSums) {
                return Cause::Overflow;
            }
            if summarise(step, field, allowed, got).0.is_none() {
                let (input, parameters) = dtypes(self.case, got);
                return Cause::Shortcuts { shortcuts: shortcuts.to_vec(), input, parameters };
            }
        }
        Cause::Unexplained
    }
}

fn model_of(shortcuts: &[Shortcut]) -> Model {
    Model {
        folded: shortcuts.contains(&Folded),
        narrow_statistics: shortcuts.contains(&NarrowStatistics),
        narrow_sums: shortcuts.contains(&NarrowSums),
        narrow_elements: shortcuts.contains(&NarrowElements),
        ..Model::default()
    }
}

/// The dtypes of the case's input and of its parameters.
fn dtypes(case: &Case, got: &Tensor) -> (DType, DType) {
    let input = case.steps.iter().find_map(|step| step.input()).map_or(got.dtype, |input| input.dtype);
    let state = &case.state;
    let mut parameters =
        [&state.weight, &state.bias, &state.running_mean, &state.running_var].into_iter().flatten();
    (input, parameters.next().map_or(input, |tensor| tensor.dtype))
}

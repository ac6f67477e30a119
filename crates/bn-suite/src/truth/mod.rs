//! The truth: every step of a case in arbitrary precision, correctly rounded,
//! with the allowance of every element.
//!
//! [`solve`] plays a case's script as PyTorch's module would, with real numbers
//! in place of floating-point ones. Between the steps the running statistics are
//! rounded to their dtype, as any engine must hold them, and the bound on what an
//! engine may have made of them travels on into the steps that use them.

pub mod format;
pub mod real;

mod backward;
mod channels;
mod checks;
mod double_backward;
mod fold;
mod forward;
mod module;

use std::collections::BTreeMap;

use crate::allowance::Tracked;
use crate::case::{Case, Step};
use crate::golden::{Expected, ExpectedField};
use crate::model::{Grade, Model};
use crate::outcome::Field;
use crate::tensor::{DType, Layout, Tensor};
use channels::{Channel, Extents};
use format::Format;
use module::Module;

/// The true outcome of every step of the case, in order, with the allowances of
/// the grade *conforms*.
pub fn solve(case: &Case) -> Vec<Expected> {
    solve_for(case, Grade::Conforms.model())
}

/// The same truth, with what an engine of this arithmetic may make of it.
pub fn solve_for(case: &Case, model: Model) -> Vec<Expected> {
    let mut module = Module::new(case, model);
    case.steps
        .iter()
        .map(|step| match step {
            Step::BatchNorm(pass) => module.pass(pass),
            Step::Reset { what } => module.reset(*what),
            Step::Fold(fold) => module.fold(fold),
            Step::Merge { parts } => module.merge(parts),
        })
        .collect()
}

/// The arrays of one expected outcome, as they are being collected.
struct Fields {
    arrays: BTreeMap<Field, ExpectedField>,
    /// Whether answers are rounded to nearest.
    to_nearest: bool,
}

impl Fields {
    fn new(model: Model) -> Self {
        Fields { arrays: BTreeMap::new(), to_nearest: model.to_nearest }
    }

    /// Adds an array: its values rounded to `dtype`, their errors as allowances.
    fn put(&mut self, field: Field, dtype: DType, shape: &[usize], values: &[Tracked]) {
        let answers = self.answers(dtype, values);
        self.put_answers(field, dtype, shape, Layout::Contiguous, answers);
    }

    fn put_vector(&mut self, field: Field, dtype: DType, values: &[Tracked]) {
        self.put(field, dtype, &[values.len()], values);
    }

    /// Adds a vector whose values are rounded already.
    fn put_rounded(&mut self, field: Field, dtype: DType, values: &[Tracked]) {
        let answers = values.iter().map(|value| (value.approximate, three_digits_up(value.error))).collect();
        self.put_answers(field, dtype, &[values.len()], Layout::Contiguous, answers);
    }

    /// Adds an array of the input's shape, dtype and memory order, from what was
    /// made of the distinct values of each channel.
    fn put_like(&mut self, field: Field, input: &Tensor, channels: &[Channel], made: &[Vec<Tracked>]) {
        let answers: Vec<_> = made.iter().map(|values| self.answers(input.dtype, values)).collect();
        let joined = channels::join(Extents::of(&input.shape), channels, &answers);
        self.put_answers(field, input.dtype, &input.shape, input.layout.clone(), joined);
    }

    /// The values in `dtype`, each with its allowance.
    fn answers(&self, dtype: DType, values: &[Tracked]) -> Vec<(f64, f64)> {
        let format = Format::of(dtype).expect("only floating-point arrays are answered");
        let answer = |value: &Tracked| {
            let stored = value.stored(format, self.to_nearest);
            (stored.approximate, three_digits_up(stored.error))
        };
        values.iter().map(answer).collect()
    }

    fn put_answers(
        &mut self,
        field: Field,
        dtype: DType,
        shape: &[usize],
        layout: Layout,
        answers: Vec<(f64, f64)>,
    ) {
        let (data, allowance) = answers.into_iter().unzip();
        let value = Tensor { dtype, shape: shape.to_vec(), layout, data };
        self.arrays.insert(field, ExpectedField { value, allowance });
    }
}

/// The bound with three significant decimal digits, rounded up: short to read in
/// a file, and no smaller than what was derived.
fn three_digits_up(bound: f64) -> f64 {
    if bound == 0.0 || !bound.is_finite() {
        return bound;
    }
    let parse = |text: String| text.parse::<f64>().expect("a formatted f64 parses");
    let nearest = parse(format!("{bound:.2e}"));
    if nearest >= bound { nearest } else { parse(format!("{:.2e}", bound * 1.005)).max(nearest) }
}

#[cfg(test)]
mod tests;

//! Can a case tell right from wrong? A *flaw* is a reason why it may not.
//!
//! A test fill can make a suite blind without anyone noticing: benchmarks fill
//! arrays so sparsely that whole channels are 0, where every formula answers the
//! bias; a plain sum as the loss has a true grad_input of 0, which every engine
//! meets within its tolerance; a mean of 0 hides what is subtracted. [`lint`] looks
//! for these in the data, and in the truth: an answer is *vacuous* where no
//! element of it exceeds what an engine may be wrong by. A vacuous check is an
//! error of the suite, never a pass.
//!
//! In 16 bits it also asks that sums and sums of squares are exact in an f32
//! accumulator, so that no verdict hangs on the order of additions.

use std::collections::HashMap;

use crate::case::{Case, Mode, Pass, Step};
use crate::catalogue::channels_of;
use crate::golden::{Expected, ExpectedField};
use crate::outcome::Field;
use crate::tensor::{DType, Tensor};

/// At least this share of the values of an array is not 0.
const DENSE: f64 = 0.9;

/// At least this share of a gradient stands out from its allowance.
const GOOD_PART: f64 = 0.5;

/// An element that is so many times its allowance is telling: a wrong sign, a lost
/// term or a factor of 2 must show in it.
const TELLING: f64 = 4.0;

/// The integers up to 2²⁴ are values of f32.
const EXACT_IN_F32: u128 = 1 << 24;

/// Why a case may not tell right from wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("step {step}, {array}: {kind}")]
pub struct Flaw {
    /// The step, from 0.
    pub step: usize,
    /// The array: `input`, `grad_output`, or the name of an answered field.
    pub array: String,
    /// What is wrong with it.
    pub kind: FlawKind,
}

/// What is wrong with an array, as a question.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum FlawKind {
    /// Every value of a channel is 0.
    #[error("channel {0} is 0 throughout")]
    ZeroChannel(usize),
    /// Less than 90 % of the values differ from 0.
    #[error("only {:.0} % of the values are not 0", 100.0 * .0)]
    Sparse(f64),
    /// A channel's mean is 0.
    #[error("channel {0} has the mean 0")]
    ZeroMean(usize),
    /// Two channels hold the same values in the same order.
    #[error("channels {0} and {1} are alike")]
    Alike(usize, usize),
    /// A channel's sum, or sum of squares, needs more than the 24 bits of f32.
    #[error("the sums of channel {0} are not exact in f32")]
    Inexact(usize),
    /// No answer, or hardly any, could be wrong.
    #[error(
        "vacuous: {telling} of {of} elements are more than four times their allowance, {good} more than it at all"
    )]
    Vacuous {
        /// Elements of more than four times their allowance.
        telling: usize,
        /// Elements of more than their allowance.
        good: usize,
        /// All elements that are finite and promised anything.
        of: usize,
    },
}

/// Every flaw of a case, given its truth.
pub fn lint(case: &Case, expected: &[Expected]) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for (at, (step, expected)) in case.steps.iter().zip(expected).enumerate() {
        if expected.refused.is_some() {
            continue;
        }
        let mut add = |array: &str, kind| flaws.push(Flaw { step: at, array: array.to_owned(), kind });
        match step {
            Step::BatchNorm(pass) => of_pass(pass, &mut add),
            Step::Merge { parts } => parts.iter().for_each(|part| of_values(part, "part", &mut add)),
            Step::Reset { .. } | Step::Fold(_) => {}
        }
        for (field, expected) in &expected.fields {
            vacuous(*field, expected).into_iter().for_each(|kind| add(field.name(), kind));
        }
    }
    flaws
}

fn of_pass(pass: &Pass, add: &mut impl FnMut(&str, FlawKind)) {
    of_values(&pass.input, "input", add);
    if pass.mode == Mode::Train || pass.input.shape[0] > 1 {
        alike(&pass.input).into_iter().for_each(|kind| add("input", kind));
    }
    if let Some(grad_output) = &pass.grad_output {
        of_values(grad_output, "grad_output", add);
    }
}

/// Zeros, means, and exactness of an array (N, C, *).
fn of_values(array: &Tensor, name: &str, add: &mut impl FnMut(&str, FlawKind)) {
    if array.is_empty() {
        return;
    }
    let not_zero = array.data.iter().filter(|value| **value != 0.0).count() as f64 / array.len() as f64;
    if not_zero < DENSE {
        add(name, FlawKind::Sparse(not_zero));
    }
    let short = matches!(array.dtype, DType::F16 | DType::Bf16);
    for (channel, values) in channels_of(&array.shape, &array.data).iter().enumerate() {
        if values.iter().all(|value| *value == 0.0) {
            add(name, FlawKind::ZeroChannel(channel));
        } else if values.iter().sum::<f64>() == 0.0 {
            add(name, FlawKind::ZeroMean(channel));
        }
        if short && !sums_are_exact(values) {
            add(name, FlawKind::Inexact(channel));
        }
    }
}

/// The first two channels that hold the same.
fn alike(array: &Tensor) -> Option<FlawKind> {
    if array.is_empty() {
        return None;
    }
    let mut seen = HashMap::new();
    for (channel, values) in channels_of(&array.shape, &array.data).into_iter().enumerate() {
        let key: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
        if let Some(first) = seen.insert(key, channel) {
            return Some(FlawKind::Alike(first, channel));
        }
    }
    None
}

/// Whether Σ|x| and Σx² are exact in f32 in any order: with x = k·q for the
/// largest power of two q that divides all, Σ|k| and Σk² are at most 2²⁴.
pub fn sums_are_exact(values: &[f64]) -> bool {
    let Some(least) =
        values.iter().filter(|value| **value != 0.0).map(|value| trailing_exponent(*value)).min()
    else {
        return true;
    };
    let (mut sum, mut squares) = (0_u128, 0_u128);
    for value in values {
        // In two factors: 2^−least alone may overflow.
        let integer = value.abs() * 2f64.powi(-least / 2) * 2f64.powi(-least - -least / 2);
        if integer.is_nan() || integer > EXACT_IN_F32 as f64 {
            return false;
        }
        sum += integer as u128;
        squares += (integer as u128).pow(2);
    }
    sum <= EXACT_IN_F32 && squares <= EXACT_IN_F32
}

/// The exponent of the lowest bit that is set: 3/8 = 3·2⁻³ gives −3.
fn trailing_exponent(value: f64) -> i32 {
    let bits = value.to_bits();
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i32, bits & ((1 << 52) - 1));
    let significand = if exponent == 0 { fraction } else { fraction | 1 << 52 };
    exponent.max(1) - 1075 + significand.trailing_zeros() as i32
}

/// Whether an answered array could hardly be wrong. A gradient must have a telling
/// element, and stand out from its allowance in a good part of all; any other
/// array in some element. An element for which only one value is right, because
/// its allowance is 0, stands out whatever it is.
fn vacuous(field: Field, expected: &ExpectedField) -> Option<FlawKind> {
    let pairs = || expected.value.data.iter().zip(&expected.allowance);
    let exceeds = |factor: f64| pairs().filter(|(v, a)| **a == 0.0 || v.abs() > factor * **a).count();
    let (telling, good) = (exceeds(TELLING), exceeds(1.0));
    let of = pairs().filter(|(_, allowance)| allowance.is_finite()).count();
    let is_gradient = matches!(
        field,
        Field::GradInput
            | Field::GradWeight
            | Field::GradBias
            | Field::SecondGradOutput
            | Field::SecondGradInput
            | Field::SecondGradWeight
    );
    let is_enough = if is_gradient { telling > 0 && good as f64 >= GOOD_PART * of as f64 } else { good > 0 };
    (!expected.value.is_empty() && !is_enough).then_some(FlawKind::Vacuous { telling, good, of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactness_is_counted_in_the_values_own_unit() {
        assert!(sums_are_exact(&[0.375, -1.5, 0.0]));
        // 2¹² squared is 2²⁴: exact. Beside a 1 it is one more.
        assert!(sums_are_exact(&[4096.0]) && !sums_are_exact(&[4097.0]));
        assert!(!sums_are_exact(&[4096.0, 1.0]));
        assert!(sums_are_exact(&[f64::from_bits(1), f64::from_bits(3)]));
        assert!(!sums_are_exact(&[1e300, 1e-300]) && !sums_are_exact(&[f64::NAN]));
    }
}

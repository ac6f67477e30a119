//! How far an engine may be from the truth: running error analysis.
//!
//! The truth of a step is computed in [`Tracked`] numbers: the exact value and,
//! beside it, a bound on the error that floating-point arithmetic of a stated
//! precision can have made on the way. Each operation adds its own rounding and
//! passes on the errors of its operands, so that the bound of an element follows
//! the conditioning of that element, and one text of the formulas gives both the
//! expected value and its allowance. The derivation, term by term, is in
//! `docs/accuracy.md`; nothing here was fitted to an engine.

use std::ops::{Add, Div, Mul, Sub};

use crate::tensor::DType;
use crate::truth::format::{F32, F64, Format};
use crate::truth::real::Real;

/// The precisions of a conforming engine for one case.
///
/// | input | parameters | arithmetic | statistics kept in |
/// |---|---|---|---|
/// | f64 | f64 | f64 | f64 |
/// | f32 | f32 | f32 | f32 |
/// | f16, bf16 | f32 | f32 | f32 |
/// | f16, bf16 | the same | f32 | the input's |
///
/// No engine sums in 8 or 11 bits and is right, hence the third column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// The format in which operations are rounded.
    pub arithmetic: Format,
    /// The format in which mean and inverse deviation are kept.
    pub statistics: Format,
}

impl Precision {
    /// The precisions for parameters and buffers of this dtype.
    pub fn of(parameters: DType) -> Self {
        let statistics = Format::of(parameters).unwrap_or(F64);
        Precision { arithmetic: if statistics == F64 { F64 } else { F32 }, statistics }
    }
}

/// The longest chain of additions in a conforming sum of n terms:
/// min(n − 1, 256 + √n).
///
/// A sum's error is at most (chain length)·u·Σ|terms| (Higham, *Accuracy and
/// Stability of Numerical Algorithms*, §4.2). Plain recursion has the chain n − 1,
/// two-level blocking at best 2√n, pairwise summation log₂ n. Short sums may be
/// done in any order; from 256 terms on an engine has to do better than plain
/// recursion in the working precision, or use a wider accumulator: at n = 4
/// million recursion in f32 gets a mean of 100 wrong by 2.7 (seen in burn).
pub fn chain(n: usize) -> f64 {
    (n.saturating_sub(1) as f64).min(256.0 + (n as f64).sqrt())
}

/// An exact value with a bound on an engine's error in it.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// The exact value (to 256 bits).
    pub value: Real,
    /// |engine − value| ≤ error, to first order in the unit roundoff and with
    /// the second-order terms where they can matter.
    pub error: f64,
    /// The value as an f64, for the bounds.
    pub approximate: f64,
    /// The arithmetic in which the engine computes.
    pub arithmetic: Format,
}

impl Tracked {
    /// A value with a known error bound.
    pub fn new(value: Real, error: f64, arithmetic: Format) -> Self {
        let approximate = F64.round(&value);
        let error = match error {
            // Only NaN is right for NaN, and only the same infinity for an infinity.
            _ if !approximate.is_finite() => 0.0,
            // Something unbounded times 0: unbounded.
            error if error.is_nan() => f64::INFINITY,
            error => error,
        };
        Tracked { value, error, approximate, arithmetic }
    }

    /// A value that every engine holds exactly: an input, a parameter, a count.
    pub fn exact(value: f64, arithmetic: Format) -> Self {
        Tracked { value: Real::from(value), error: 0.0, approximate: value, arithmetic }
    }

    /// A setting given in f64 that an engine may hold in its arithmetic: eps, momentum.
    pub fn setting(value: f64, arithmetic: Format) -> Self {
        let rounding = if arithmetic == F64 { 0.0 } else { arithmetic.unit_roundoff() * value.abs() };
        Tracked::new(Real::from(value), rounding, arithmetic)
    }

    /// The result of an operation: `propagated` error, and one rounding to nearest,
    /// which costs u·|result|, or half the smallest subnormal where the result underflows.
    fn rounded(value: Real, propagated: f64, arithmetic: Format) -> Self {
        let mut result = Tracked::new(value, propagated, arithmetic);
        if result.approximate != 0.0 && result.approximate.is_finite() {
            result.error += arithmetic.unit_roundoff() * result.approximate.abs() + arithmetic.min_positive();
        }
        result
    }

    /// The largest magnitude that an engine may hold for this value.
    pub fn magnitude(&self) -> f64 {
        self.approximate.abs() + self.error
    }

    /// √x. The engine takes the root of something in x ± error, so the bound is
    /// the larger of the two distances, and the near one when x − error is negative.
    pub fn sqrt(&self) -> Tracked {
        let (x, e) = (self.approximate, self.error);
        let root = x.sqrt();
        let below = root - (x - e).max(0.0).sqrt();
        let above = (x + e).sqrt() - root;
        Tracked::rounded(self.value.sqrt(), below.max(above), self.arithmetic)
    }

    /// The same value after the engine has put it into `format`: one more
    /// rounding of the engine's number, while the truth is not rounded.
    pub fn kept_in(self, format: Format) -> Tracked {
        let rounding = format.unit_roundoff() * self.magnitude() + format.min_positive();
        let error = if self.approximate == 0.0 && self.error == 0.0 { 0.0 } else { self.error + rounding };
        Tracked::new(self.value, error, self.arithmetic)
    }

    /// What the engine answers in a dtype, and what the next step starts from:
    /// truth and engine are both rounded, each by at most half an ulp. A value
    /// that is exact on both sides stays exact.
    pub fn stored(&self, format: Format) -> Tracked {
        let rounded = format.round(&self.value);
        let unmoved = self.error == 0.0 && Real::from(rounded) == self.value;
        let error = if unmoved { 0.0 } else { self.error + format.ulp(self.magnitude()) };
        let error = if rounded.is_finite() { error } else { 0.0 };
        Tracked { value: Real::from(rounded), error, approximate: rounded, arithmetic: self.arithmetic }
    }
}

impl Add for &Tracked {
    type Output = Tracked;
    fn add(self, other: &Tracked) -> Tracked {
        Tracked::rounded(&self.value + &other.value, self.error + other.error, self.arithmetic)
    }
}

impl Sub for &Tracked {
    type Output = Tracked;
    fn sub(self, other: &Tracked) -> Tracked {
        Tracked::rounded(&self.value - &other.value, self.error + other.error, self.arithmetic)
    }
}

impl Mul for &Tracked {
    type Output = Tracked;
    /// (a ± α)(b ± β) = ab ± (|a|β + |b|α + αβ).
    fn mul(self, other: &Tracked) -> Tracked {
        let propagated = self.approximate.abs() * other.error
            + other.approximate.abs() * self.error
            + self.error * other.error;
        Tracked::rounded(&self.value * &other.value, propagated, self.arithmetic)
    }
}

impl Div for &Tracked {
    type Output = Tracked;
    /// (a ± α)/(b ± β) = a/b ± (α + |a/b|·β)/(|b| − β); unbounded when β ≥ |b|.
    fn div(self, other: &Tracked) -> Tracked {
        let quotient = &self.value / &other.value;
        let size = F64.round(&quotient).abs();
        let room = other.approximate.abs() - other.error;
        let numerator = self.error + size * other.error;
        let propagated = match room {
            _ if numerator == 0.0 => 0.0,
            room if room > 0.0 => numerator / room,
            _ => f64::INFINITY,
        };
        Tracked::rounded(quotient, propagated, self.arithmetic)
    }
}

/// Σ terms: every term's error, and the summation's own (see [`chain`]).
pub fn sum<'a>(terms: impl Iterator<Item = &'a Tracked>, arithmetic: Format) -> Tracked {
    let (mut total, mut errors, mut sizes, mut n) = (Real::zero(), 0.0, 0.0, 0usize);
    for term in terms {
        total = &total + &term.value;
        errors += term.error;
        sizes += term.magnitude();
        n += 1;
    }
    Tracked::new(total, errors + chain(n) * arithmetic.unit_roundoff() * sizes, arithmetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(value: f64) -> Tracked {
        Tracked::exact(value, F32)
    }

    /// The bound of each operation must cover what f32 really does, and not by
    /// more than the operation's own worst case.
    #[test]
    fn bounds_cover_f32_and_are_tight() {
        let mut worst: f64 = 0.0;
        for i in 1..200_i32 {
            let (a, b) = (0.1_f32 * i as f32, 1.7_f32 / i as f32);
            let (x, y) = (single(f64::from(a)), single(f64::from(b)));
            for (got, tracked) in
                [(a + b, &x + &y), (a - b, &x - &y), (a * b, &x * &y), (a / b, &x / &y), (a.sqrt(), x.sqrt())]
            {
                let error = F64.round(&(&Real::from(f64::from(got)) - &tracked.value)).abs();
                assert!(error <= tracked.error, "{a} {b}: {error:e} > {:e}", tracked.error);
                worst = worst.max(error / tracked.error);
            }
        }
        assert!(worst > 0.9, "the bound is never nearly reached: {worst}");
    }

    #[test]
    fn recursion_in_f32_stays_inside_the_bound_of_a_short_sum() {
        let values: Vec<f32> = (0..200).map(|i| 100.0 + 0.37 * (i % 7) as f32).collect();
        let terms: Vec<Tracked> = values.iter().map(|&v| single(f64::from(v))).collect();
        let tracked = sum(terms.iter(), F32);
        let got = values.iter().fold(0f32, |total, v| total + v);
        let error = F64.round(&(&Real::from(f64::from(got)) - &tracked.value)).abs();
        assert!(error > 0.0 && error <= tracked.error);
    }

    #[test]
    fn exact_zeros_stay_exact() {
        let zero = &single(0.0) * &single(3.5);
        assert_eq!((zero.error, zero.stored(F32).error), (0.0, 0.0));
    }
}
